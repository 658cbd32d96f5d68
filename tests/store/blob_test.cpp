// Blobs: where they come from, what they look like on disk, which of their chunks are damaged.
#include <sys/stat.h>
#include <unistd.h>

#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

class BlobTest : public StoreTest {};

TEST_F(BlobTest, BlobsAreReadOnlyFiles) {
  Store store = open();
  ASSERT_OK(store.add_bytes("x"));
  struct stat st{};
  ASSERT_EQ(::stat(store.blob_path(sha256("x")).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777u, 0444u);
}

TEST_F(BlobTest, AdoptsAFileWithoutTouchingIt) {
  Store store = open();
  const fs::path file = folder_.path() / "model.gguf";
  write_file(file, std::string(3'000'000, 'g'));
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
  std::vector<std::uint64_t> steps;
  const Layer layer = store
                          .add_file(file,
                                    [&](std::uint64_t done, std::uint64_t total) {
                                      EXPECT_EQ(total, 3'000'000u);
                                      steps.push_back(done);
                                      return true;
                                    })
                          .value();
  EXPECT_EQ(layer.digest, sha256(std::string(3'000'000, 'g')));
  EXPECT_EQ(layer.size_bytes, 3'000'000u);
  EXPECT_EQ(layer.file_name, "model.gguf");
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
  EXPECT_EQ(steps.back(), 3'000'000u);
  struct stat own{};
  struct stat blob{};
  ASSERT_EQ(::stat(file.c_str(), &own), 0);
  ASSERT_EQ(::stat(store.blob_path(layer.digest).c_str(), &blob), 0);
  EXPECT_EQ(own.st_mode & 0777u, 0600u) << "the owner's mode is not ours to change";
  if (own.st_nlink == 1) {
    EXPECT_EQ(blob.st_mode & 0777u, 0444u) << "a reflink or a copy is our own file";
  } else {
    EXPECT_EQ(own.st_ino, blob.st_ino);
  }
  ASSERT_OK(store.put(manifest_of("a:1", {layer})));
  ASSERT_OK(store.remove("a:1"));
  EXPECT_EQ(fs::file_size(file), 3'000'000u);
  EXPECT_TRUE(files_in(home() / "tmp").empty());
}

TEST_F(BlobTest, CopiesAFileFromAnotherFileSystem) {
  const fs::path elsewhere = fs::temp_directory_path();
  struct stat here{};
  struct stat there{};
  if (::stat(folder_.path().c_str(), &here) != 0 || ::stat(elsewhere.c_str(), &there) != 0 ||
      here.st_dev == there.st_dev) {
    GTEST_SKIP() << "no second file system here";
  }
  const fs::path file = elsewhere / ("lm-store-test-" + std::to_string(::getpid()));
  write_file(file, std::string(2'500'000, 'z'));
  Store store = open();
  const auto layer = store.add_file(file);
  fs::remove(file);
  ASSERT_OK(layer);
  EXPECT_EQ(store.verify_blob(layer->digest, 2'500'000).value().state, BlobCheck::State::good);
}

TEST_F(BlobTest, RefusesWhatIsNoFile) {
  Store store = open();
  EXPECT_ERROR(store.add_file(folder_.path() / "none"), ErrorCode::not_found);
  EXPECT_ERROR(store.add_file(folder_.path()), ErrorCode::invalid_argument);
  EXPECT_ERROR(store.add_file("/dev/zero"), ErrorCode::invalid_argument);
  const fs::path fifo = folder_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_ERROR(store.add_file(fifo), ErrorCode::invalid_argument);
  EXPECT_ERROR(store.add_reference("/dev/zero"), ErrorCode::invalid_argument);
  EXPECT_TRUE(files_in(home() / "tmp").empty());
}

TEST_F(BlobTest, StopsHashingWhenAskedTo) {
  Store store = open();
  const fs::path file = folder_.path() / "model.gguf";
  write_file(file, std::string(3'000'000, 'g'));
  EXPECT_ERROR(store.add_file(file, [](std::uint64_t, std::uint64_t) { return false; }),
               ErrorCode::interrupted);
  EXPECT_TRUE(files_in(home() / "tmp").empty());
  EXPECT_TRUE(files_in(home() / "blobs").empty());
}

TEST_F(BlobTest, RefersToAFileUntilItChanges) {
  Store store = open();
  const fs::path file = folder_.path() / "model.gguf";
  write_file(file, "weights");
  const Layer layer = store.add_reference(file).value();
  ASSERT_OK(store.put(manifest_of("a:1", {layer})));
  const OpenModel model = store.open_model("a:1").value();
  EXPECT_EQ(model.model_paths[0], file);
  EXPECT_EQ(files_in(home() / "blobs"),
            (std::set<std::string>{layer.digest.blob_name() + ".ref",
                                   layer.digest.blob_name() + ".chunks"}));
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 0u);
  EXPECT_OK(store.open_model("a:1"));

  write_file(file, "weighty");
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(5));
  const auto changed = store.open_model("a:1");
  EXPECT_ERROR(changed, ErrorCode::corrupt);
  EXPECT_EQ(changed.error().subject, file.native());
  ASSERT_OK(store.remove("a:1"));
  EXPECT_TRUE(files_in(home() / "blobs").empty());
  EXPECT_EQ(read_file(file), "weighty");
}

TEST_F(BlobTest, FindsTheDamagedChunks) {
  Store store = open();
  std::string bytes(static_cast<std::size_t>(kChunkBytes * 2 + 1000), 'a');
  const Digest digest = sha256(bytes);
  std::vector<std::uint64_t> sums;
  for (std::size_t at = 0; at < bytes.size(); at += kChunkBytes) {
    sums.push_back(
        chunk_hash(std::as_bytes(std::span(std::string_view(bytes).substr(at, kChunkBytes)))));
  }
  write_file(store.partial_path(digest), bytes);
  ASSERT_OK(store.commit_partial(digest, bytes.size(), {.chunk_sums = sums}));
  EXPECT_EQ(store.verify_blob(digest, bytes.size()).value().state, BlobCheck::State::good);

  fs::permissions(store.blob_path(digest), fs::perms::owner_all);
  bytes[kChunkBytes + 5] ^= 1;
  bytes[2 * kChunkBytes + 999] ^= 1;
  write_file(store.blob_path(digest), bytes);
  BlobCheck check = store.verify_blob(digest, bytes.size()).value();
  EXPECT_EQ(check.state, BlobCheck::State::wrong_bytes);
  EXPECT_EQ(check.bad_chunks, (std::vector<std::uint64_t>{1, 2}));
  fs::resize_file(store.blob_path(digest), 1000);
  check = store.verify_blob(digest, bytes.size()).value();
  EXPECT_EQ(check.state, BlobCheck::State::wrong_size);
  EXPECT_EQ(check.found_bytes, 1000u);
  fs::remove(store.blob_path(digest));
  EXPECT_EQ(store.verify_blob(digest, bytes.size()).value().state, BlobCheck::State::missing);
}

}  // namespace LM_FILE
}  // namespace lm::store
