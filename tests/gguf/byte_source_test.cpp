#include "runtime/gguf/byte_source.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/gguf/gguf_file.h"
#include "tests/support/gguf_writer.h"

namespace lm {
namespace LM_FILE {

namespace fs = std::filesystem;

class ByteSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "lm-gguf-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  fs::path folder_;
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_F(ByteSourceTest, MapsARegularFile) {
  const fs::path path = write("a", "0123456789");
  const auto source = open_mapped(path);
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ((*source)->name(), path.string());
  EXPECT_EQ((*source)->size(), 10u);
  EXPECT_GE((*source)->fd(), 0);
  EXPECT_EQ(text_of((*source)->mapping()), "0123456789");
  EXPECT_EQ(text_of(*(*source)->view(3, 4)), "3456");
  EXPECT_EQ(text_of(*(*source)->view(10, 0)), "");
  EXPECT_NE(::fcntl((*source)->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(ByteSourceTest, RefusesViewsPastTheEnd) {
  const auto source = open_mapped(write("a", "0123456789"));
  ASSERT_TRUE(source.has_value());
  for (const auto& [offset, length] : {std::pair<std::uint64_t, std::uint64_t>{0, 11},
                                       {10, 1},
                                       {11, 0},
                                       {1, UINT64_MAX},
                                       {UINT64_MAX, 1},
                                       {UINT64_MAX, UINT64_MAX}}) {
    const auto view = (*source)->view(offset, length);
    ASSERT_FALSE(view.has_value());
    EXPECT_EQ(view.error().code, ErrorCode::truncated);
  }
}

TEST_F(ByteSourceTest, MapsAnEmptyFile) {
  const auto source = open_mapped(write("empty", ""));
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ((*source)->size(), 0u);
  EXPECT_TRUE((*source)->mapping().empty());
}

TEST_F(ByteSourceTest, RefusesWhatIsNotARegularFileAtOnce) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  const int sock = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder_ / "socket").c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(sock, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  for (const fs::path& path : {folder_, folder_ / "fifo", folder_ / "socket", fs::path("/dev/zero"),
                               fs::path("/dev/random"), fs::path("/dev/null")}) {
    const auto source = open_mapped(path);
    ASSERT_FALSE(source.has_value()) << path;
    EXPECT_EQ(source.error().code, ErrorCode::not_a_file) << path;
    EXPECT_EQ(source.error().subject, path.string());
    const auto file = GgufFile::open(path);
    ASSERT_FALSE(file.has_value()) << path;
    EXPECT_EQ(file.error().code, ErrorCode::not_a_file) << path;
  }
  ::close(sock);
}

TEST_F(ByteSourceTest, FollowsALinkAndRefusesDanglingAndLoopingOnes) {
  fs::create_symlink(write("target", "text"), folder_ / "good");
  EXPECT_TRUE(open_mapped(folder_ / "good").has_value());
  fs::create_symlink(folder_ / "nowhere", folder_ / "dangling");
  fs::create_symlink(folder_ / "loop", folder_ / "loop");
  const auto dangling = open_mapped(folder_ / "dangling");
  ASSERT_FALSE(dangling.has_value());
  EXPECT_EQ(dangling.error().os_error, ENOENT);
  const auto loop = open_mapped(folder_ / "loop");
  ASSERT_FALSE(loop.has_value());
  EXPECT_EQ(loop.error().os_error, ELOOP);
  EXPECT_EQ(loop.error().code, ErrorCode::io);
}

TEST_F(ByteSourceTest, AMissingFileSaysSo) {
  const auto source = open_mapped(folder_ / "absent.gguf");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::io);
  EXPECT_EQ(source.error().os_error, ENOENT);
  EXPECT_NE(source.error().problem.find("No such file"), std::string::npos);
  EXPECT_FALSE(source.error().hint.empty());
}

TEST_F(ByteSourceTest, MapsADescriptorThatStaysTheCallers) {
  const fs::path path = write("a", "text");
  const int fd = ::open(path.c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  {
    const auto source = map_fd(fd, "model");
    ASSERT_TRUE(source.has_value());
    EXPECT_EQ((*source)->name(), "model");
    EXPECT_NE((*source)->fd(), fd);
    EXPECT_EQ(text_of((*source)->mapping()), "text");
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD) & ~FD_CLOEXEC, 0);
  ::close(fd);
  EXPECT_FALSE(map_fd(fd, "model").has_value());
  EXPECT_FALSE(map_fd(-1, "model").has_value());
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const auto piped = map_fd(pipe_fds[0], "pipe");
  ASSERT_FALSE(piped.has_value());
  EXPECT_EQ(piped.error().code, ErrorCode::not_a_file);
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST_F(ByteSourceTest, AnUnlinkedFileStaysReadable) {
  test::GgufWriter w;
  w.add_string("general.architecture", "llama").add_random("a", DType::f32, {64}, 1);
  ASSERT_TRUE(w.save(folder_ / "a.gguf"));
  const auto file = GgufFile::open(folder_ / "a.gguf");
  ASSERT_TRUE(file.has_value());
  fs::remove(folder_ / "a.gguf");
  EXPECT_EQ(file->data(file->tensors()[0])->size(), 256u);
}

/// Serves a text in ranges and writes down what was asked for.
struct FakeRemote {
  std::string text;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> requests;

  RangedSource::Fetch fetch() {
    return [this](std::uint64_t offset, std::uint64_t length) -> Result<std::vector<std::byte>> {
      requests.emplace_back(offset, length);
      const auto bytes = std::as_bytes(std::span(text)).subspan(offset, length);
      return std::vector<std::byte>(bytes.begin(), bytes.end());
    };
  }
};

TEST(RangedSourceTest, FetchesWholeStepsOnceAndJoinsThem) {
  FakeRemote remote;
  for (int i = 0; i < 105; ++i) {
    remote.text += static_cast<char>('0' + i % 10);
  }
  RangedSource source("remote", remote.text.size(), remote.fetch(), 10);
  const auto first = source.view(3, 4);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(text_of(*first), "3456");
  EXPECT_EQ(source.fetched_bytes(), 10u);
  EXPECT_EQ(text_of(*source.view(30, 5)), "01234");
  EXPECT_EQ(text_of(*source.view(5, 45)), remote.text.substr(5, 45));
  EXPECT_EQ(text_of(*first), "3456");
  EXPECT_EQ(text_of(*source.view(99, 6)), "901234");
  EXPECT_EQ(source.fetched_bytes(), 65u);
  using Requests = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
  EXPECT_EQ(remote.requests, (Requests{{0, 10}, {30, 10}, {10, 20}, {40, 10}, {90, 15}}));
  EXPECT_EQ(text_of(*source.view(0, 105)), remote.text);
  EXPECT_EQ(source.fetched_bytes(), 105u);
  EXPECT_FALSE(source.view(100, 6).has_value());
  EXPECT_TRUE(source.mapping().empty());
  EXPECT_EQ(source.fd(), -1);
}

TEST(RangedSourceTest, PassesOnErrorsAndRefusesWrongLengths) {
  int calls = 0;
  const auto flaky = [&](std::uint64_t, std::uint64_t length) -> Result<std::vector<std::byte>> {
    ++calls;
    if (calls == 1) {
      return fail(ErrorCode::io, "remote", "connection reset");
    }
    if (calls == 2) {
      return std::vector<std::byte>(static_cast<std::size_t>(length) - 1);
    }
    if (calls == 3) {
      return std::vector<std::byte>(static_cast<std::size_t>(length) + 1);
    }
    return std::vector<std::byte>(static_cast<std::size_t>(length));
  };
  RangedSource source("remote", 100, flaky, 50);
  EXPECT_EQ(source.view(0, 10).error().code, ErrorCode::io);
  EXPECT_EQ(source.view(0, 10).error().code, ErrorCode::truncated);
  EXPECT_EQ(source.view(0, 10).error().code, ErrorCode::truncated);
  EXPECT_EQ(source.fetched_bytes(), 0u);
  EXPECT_TRUE(source.view(0, 10).has_value());
  EXPECT_EQ(source.fetched_bytes(), 50u);
}

TEST(RangedSourceTest, AnAbsurdClaimedSizeIsAnError) {
  const auto fetch = [](std::uint64_t, std::uint64_t length) -> Result<std::vector<std::byte>> {
    return std::vector<std::byte>(static_cast<std::size_t>(length));
  };
  for (const std::uint64_t size : {UINT64_MAX, std::uint64_t{1} << 62}) {
    RangedSource source("remote", size, fetch, 4096);
    EXPECT_FALSE(source.view(0, 10).has_value());
  }
}

TEST(RangedSourceTest, ManyThreadsMayRead) {
  FakeRemote remote;
  remote.text = std::string(100'000, 'x');
  RangedSource source("remote", remote.text.size(), remote.fetch(), 1000);
  std::vector<std::jthread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&source, t] {
      for (std::uint64_t i = 0; i < 500; ++i) {
        const auto view = source.view((i * 7919 + t * 31) % 90'000, 5'000);
        EXPECT_TRUE(view.has_value());
        EXPECT_EQ(view->front(), std::byte{'x'});
      }
    });
  }
  threads.clear();
  EXPECT_EQ(source.fetched_bytes(), 95'000u);
}

}  // namespace LM_FILE
}  // namespace lm
