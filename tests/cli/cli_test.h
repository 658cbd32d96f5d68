/// What every black-box test starts from: a folder of its own, an empty store in it, a bare
/// environment.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/cli/process.h"
#include "tests/support/test_data.h"

namespace lm::test {

namespace fs = std::filesystem;

inline std::string read_file(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

inline void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

class CliTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  std::vector<std::string> command(const std::vector<std::string>& arguments) const;
  Finished run(const std::vector<std::string>& arguments, const RunOptions& options = {}) const {
    return run_process(command(arguments), environment_, options);
  }
  /// Starts the hub over `root` (user/repo/files) and points the environment at it.
  void start_hub(const fs::path& root, const std::vector<std::string>& more = {});
  fs::path hub_log() const { return folder_ / "hub.log"; }

  /// A tiny model with random weights that is always there.
  static fs::path tiny_model() { return golden_data() / "arch" / "llama-gqa.gguf"; }
  /// A copy whose vocabulary wants BOS in front.
  fs::path tiny_model_with_bos() const;
  /// Makes a stored model of `tiny_model`.
  void create(const std::string& name, const std::string& more = {});

  fs::path folder_;
  Environment environment_;
  std::unique_ptr<Background> hub_;
};

/// Exit code and nothing that only belongs on a terminal; prints both streams when it is another.
#define EXPECT_CODE(result, code)                                                        \
  EXPECT_EQ((result).exit_code, (code)) << "signal " << (result).signal << "\nstdout:\n" \
                                        << (result).out << "\nstderr:\n"                 \
                                        << (result).err
#define ASSERT_CODE(result, code)                                                        \
  ASSERT_EQ((result).exit_code, (code)) << "signal " << (result).signal << "\nstdout:\n" \
                                        << (result).out << "\nstderr:\n"                 \
                                        << (result).err

/// Number of lines.
inline std::size_t line_count(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// Lines that begin with "Error: ".
std::vector<std::string> error_lines(const std::string& text);

/// Whether a text holds a control byte that does not belong into a pipe.
bool has_control_bytes(const std::string& text);

}  // namespace lm::test
