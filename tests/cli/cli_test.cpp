#include "tests/cli/cli_test.h"

#include <cstdlib>
#include <thread>

#include <fmt/format.h>

namespace lm::test {

void CliTest::SetUp() {
  std::string path = (fs::temp_directory_path() / "lm-cli-XXXXXX").string();
  ASSERT_NE(::mkdtemp(path.data()), nullptr);
  folder_ = path;
  fs::create_directory(folder_ / "home");
  environment_ = {
      {"PATH", "/usr/bin:/bin"},
      {"HOME", (folder_ / "home").string()},
      {"LM_HOME", (folder_ / "store").string()},
      {"HF_ENDPOINT", "http://127.0.0.1:9"},  // nothing listens there: no test reaches the real hub
      {"LC_ALL", "C.UTF-8"}};
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "TMPDIR"}) {
    if (const char* value = std::getenv(name); value != nullptr) {
      environment_[name] = value;
    }
  }
}

void CliTest::TearDown() {
  hub_.reset();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::vector<std::string> CliTest::command(const std::vector<std::string>& arguments) const {
  std::vector<std::string> words{std::string(LM_BINARY_DIR) + "/lm"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

void CliTest::start_hub(const fs::path& root, const std::vector<std::string>& more) {
  const fs::path port_file = folder_ / "hub.port";
  fs::remove(port_file);
  std::vector<std::string> words{std::string(LM_BINARY_DIR) + "/lm_test_hub_server",
                                 "--root",
                                 root.string(),
                                 "--port-file",
                                 port_file.string(),
                                 "--log",
                                 hub_log().string()};
  words.insert(words.end(), more.begin(), more.end());
  hub_.reset();
  hub_ = std::make_unique<Background>(words, environment_);
  for (int i = 0; i < 1000 && !fs::exists(port_file); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::string endpoint = read_file(port_file);
  ASSERT_FALSE(endpoint.empty()) << "the test hub did not start";
  endpoint.pop_back();
  environment_["HF_ENDPOINT"] = endpoint;
}

fs::path CliTest::tiny_model_with_bos() const {
  std::string bytes = read_file(tiny_model());
  const std::string key = "tokenizer.ggml.add_bos_token";
  const std::size_t at = bytes.find(key);
  EXPECT_NE(at, std::string::npos);
  bytes[at + key.size() + 4] = 1;  // behind the key: type (u32), then one byte
  const fs::path path = folder_ / "with-bos.gguf";
  write_file(path, bytes);
  return path;
}

void CliTest::create(const std::string& name, const std::string& more) {
  const fs::path modelfile = folder_ / "Modelfile";
  write_file(modelfile, fmt::format("FROM {}\n{}", tiny_model().string(), more));
  const Finished made = run({"create", name, "-f", modelfile.string()});
  ASSERT_CODE(made, 0);
}

std::vector<std::string> error_lines(const std::string& text) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Error: ")) {
      found.push_back(line);
    }
  }
  return found;
}

bool has_control_bytes(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f;
  });
}

}  // namespace lm::test
