// What lm does not enforce, as the README of the grammar folder lists it.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/grammar/schema_language.h"

namespace lm::test {

/// The keyword that a warning names, and of `format` which one: "format date".
inline std::string refused_keyword(const nlohmann::json& schema, const std::string& pointer) {
  const auto at = nlohmann::json::json_pointer(pointer);
  const std::string keyword = at.back();
  if (at.parent_pointer() != nlohmann::json::json_pointer("") &&
      at.parent_pointer().back() == "patternProperties") {
    return "patternProperties";
  }
  return keyword == "format" ? "format " + schema.at(at).get<std::string>() : keyword;
}

/// Rows "| `format` date | … | 2 |" of the README: keyword, and schemas of the shared data.
inline std::map<std::string, int> listed_refusals() {
  std::map<std::string, int> out;
  std::ifstream in(std::filesystem::path(LM_SOURCE_DIR) / "runtime/grammar/README.md");
  bool in_table = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("| refused |")) {
      in_table = true;
    } else if (!line.starts_with("|")) {
      in_table = false;
    } else if (in_table && line.starts_with("| `")) {
      const std::size_t name_end = line.find(" | ");
      std::string name = line.substr(2, name_end - 2);
      std::erase(name, '`');
      out[name] = std::stoi(line.substr(line.rfind(" | ") + 3));
    }
  }
  return out;
}

}  // namespace lm::test
