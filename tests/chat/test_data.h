/// Where the chat tests find real templates, and how they compare renderings.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/chat/chat_template.h"

namespace lm::test {

using Json = nlohmann::ordered_json;

inline std::filesystem::path data_folder() {
  const char* set = std::getenv("LM_TEST_DATA");
  return set ? std::filesystem::path(set) : std::filesystem::path(LM_SOURCE_DIR) / "../shared/data";
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline std::string joined(const Prompt& prompt) {
  std::string text;
  for (const PromptSegment& segment : prompt) {
    text += segment.text;
  }
  return text;
}

/// The clock of the reference renderings.
inline std::int64_t pinned_now() {
  return *parse_now("2025-07-10T12:00:00");
}

inline Result<Prompt> render(const std::string& source, const std::string& context = "{}",
                             bool trim = true, bool lstrip = true) {
  RawRenderOptions options;
  options.trim_blocks = trim;
  options.lstrip_blocks = lstrip;
  options.now_unix = pinned_now();
  return render_template(source, context, options);
}

/// The rendered text, or "Error: …".
inline std::string shown(const Result<Prompt>& result) {
  return result ? joined(*result) : "Error: " + result.error().problem;
}

}  // namespace lm::test
