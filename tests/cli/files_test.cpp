// Bad files named on the command line: one line that names the file, within seconds.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class Files : public CliTest {
 protected:
  fs::path make(const std::string& name, std::string_view bytes) {
    write_file(folder_ / name, bytes);
    return folder_ / name;
  }
};

TEST_F(Files, BadModelFilesAreRefusedByEveryCommand) {
  const std::string good = read_file(tiny_model());
  std::vector<fs::path> paths{
      make("empty.gguf", ""),
      make("short.gguf", good.substr(0, 3)),
      make("header.gguf", good.substr(0, 20)),
      make("truncated.gguf", good.substr(0, good.size() / 2)),
      make("lfs.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:" +
                           std::string(64, 'a') + "\nsize 12345\n"),
      make("page.gguf", "<!DOCTYPE html><html><body>Not found</body></html>"),
      make("zip.gguf", "PK\x03\x04" + std::string(100, 'x')),
      make("version.gguf", std::string("GGUF\x09\0\0\0", 8) + std::string(64, '\0')),
      make("counts.gguf", std::string("GGUF\x03\0\0\0", 8) + std::string(16, '\xff')),
      make("noise.gguf", std::string(5000, '\x1b')),
      folder_ / "missing.gguf",
      folder_ / "folder.gguf",
      folder_ / "fifo.gguf",
      folder_ / "socket.gguf",
      folder_ / "dangling.gguf",
      folder_ / "loop.gguf",
      folder_ / "zero.gguf",
  };
  fs::create_directory(folder_ / "folder.gguf");
  ASSERT_EQ(::mkfifo((folder_ / "fifo.gguf").c_str(), 0600), 0);
  fs::create_symlink(folder_ / "nowhere", folder_ / "dangling.gguf");
  fs::create_symlink(folder_ / "loop.gguf", folder_ / "loop.gguf");
  fs::create_symlink("/dev/zero", folder_ / "zero.gguf");
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = (folder_ / "socket.gguf").string();
  ASSERT_LT(name.size(), sizeof address.sun_path);
  name.copy(address.sun_path, name.size());
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);

  for (const fs::path& path : paths) {
    write_file(folder_ / "Modelfile", "FROM " + path.string() + "\n");
    const std::vector<std::vector<std::string>> commands{
        {"show", path.string()},
        {"run", path.string(), "hello"},
        {"create", "bad", "-f", (folder_ / "Modelfile").string()},
        {"bench", path.string()},
        {"debug", "tokenize", path.string(), "x"},
        {"debug", "logits", path.string(), "--ids", "1"},
        {"debug", "tensor", path.string(), "output.weight"}};
    for (const auto& words : commands) {
      const Finished result = run(words, {.timeout = std::chrono::seconds(30)});
      EXPECT_FALSE(result.timed_out) << path;
      EXPECT_CODE(result, 1);
      EXPECT_EQ(error_lines(result.err).size(), 1u)
          << fmt::format("{}\n{}", fmt::join(words, " "), result.err);
      EXPECT_NE(result.err.find(path.filename().string()), std::string::npos) << result.err;
      EXPECT_FALSE(has_control_bytes(result.err));
    }
  }
  ::close(socket);
  EXPECT_EQ(run({"list"}).out, "NAME    ID    SIZE    MODIFIED\n");
}

TEST_F(Files, AnyTruncationOfAModelIsAnError) {
  const std::string good = read_file(tiny_model());
  for (int i = 1; i < 20; ++i) {
    const std::size_t length = good.size() * static_cast<std::size_t>(i) / 20;
    const fs::path path = make("cut.gguf", std::string_view(good).substr(0, length));
    const Finished result = run({"debug", "logits", path.string(), "--ids", "1,2"});
    EXPECT_CODE(result, 1);
    EXPECT_EQ(error_lines(result.err).size(), 1u) << result.err;
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(Files, BadModelfilesNameTheLine) {
  struct Case {
    std::string text;
    std::string says;
  };
  const std::string from = "FROM " + tiny_model().string() + "\n";
  const std::vector<Case> cases{
      {"", "no FROM"},
      {"# nothing but a comment\n", "no FROM"},
      {"FROM\n", "line 1"},
      {from + "FROBNICATE yes\n", "line 2"},
      {from + "\n\nPARAMETER temperature\n", "line 4"},
      {from + "PARAMETER temperature hot\n", "line 2"},
      {from + "PARAMETER temperature -1\n", "temperature"},
      {from + "PARAMETER top_p 3\n", "top_p"},
      {from + "PARAMETER warmth 3\n", "warmth"},
      {from + "PARAMETER num_ctx 0\n", "num_ctx"},
      {from + "PARAMETER num_ctx 1.5\n", "num_ctx"},
      {from + "PARAMETER stop\n", "line 2"},
      {from + "MESSAGE narrator hello\n", "line 2"},
      {from + "SYSTEM \"\"\"never closed\nand more\n", "line 2"},
      {from + "SYSTEM \"never closed\n", "unexpected EOF"},
      {from + "SYSTEM \"closed\" and more\n", "line 2"},
      {from + "ADAPTER ./lora.gguf\n", "ADAPTER"},
      {from + "SYSTEM a" + std::string(1, '\0') + "b\n", "NUL"},
      {from + "TEMPLATE \"{% if %}\"\n", "TEMPLATE"},
      {"FROM ./missing.gguf\n", "missing.gguf"},
      {"FROM /dev/zero\n", "/dev/zero"},
      {"FROM a b c\n", "a b c"},
      {from + "FROM other\n", "FROM"},
  };
  for (const Case& c : cases) {
    const fs::path path = make("Modelfile", c.text);
    const Finished result =
        run({"create", "m", "-f", path.string()}, {.timeout = std::chrono::seconds(60)});
    EXPECT_TRUE(result.exit_code == 1 || result.exit_code == 2) << c.text << result.err;
    EXPECT_EQ(error_lines(result.err).size(), 1u) << c.text << result.err;
    EXPECT_NE(result.err.find(c.says), std::string::npos) << c.text << "\n" << result.err;
  }
  EXPECT_EQ(run({"list", "-q"}).out, "");
}

TEST_F(Files, ModelfilesThatAreNoFiles) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  const fs::path big = make("big", std::string((4u << 20) + 1, 'x'));
  for (const std::string& path :
       {(folder_ / "fifo").string(), folder_.string(), (folder_ / "none").string(), big.string(),
        std::string("/dev/zero")}) {
    const Finished result = run({"create", "m", "-f", path}, {.timeout = std::chrono::seconds(30)});
    EXPECT_FALSE(result.timed_out) << path;
    EXPECT_CODE(result, 1);
    EXPECT_NE(result.err.find(path), std::string::npos) << result.err;
    EXPECT_EQ(line_count(result.err), 1u) << result.err;
  }
}

TEST_F(Files, WarningsForRetiredParameters) {
  const fs::path path = make("Modelfile", "FROM " + tiny_model().string() +
                                              "\nPARAMETER mirostat 2\nPARAMETER low_vram true\n");
  const Finished result = run({"create", "m", "-f", path.string()});
  EXPECT_CODE(result, 0);
  EXPECT_NE(result.err.find("Warning: "), std::string::npos);
  EXPECT_NE(result.err.find("mirostat"), std::string::npos);
  EXPECT_EQ(run({"show", "m", "--parameters"}).out, "");
}

}  // namespace LM_FILE
}  // namespace lm::test
