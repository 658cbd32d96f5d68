#include "runtime/chat/offered_tools.h"

#include <nlohmann/json.hpp>

#include "runtime/chat/json_scanner.h"

namespace lm {

OfferedTools::OfferedTools(std::string_view tools_json) : any_(!tools_json.empty()) {
  const std::size_t begin = std::min(tools_json.find_first_not_of(" \t\r\n"), tools_json.size());
  const std::string_view text = tools_json.substr(begin);
  if (!text.starts_with('[') || json_end(text) == std::string_view::npos) {
    return;
  }
  const auto tools = nlohmann::json::parse(text, nullptr, false);
  if (!tools.is_array()) {
    return;
  }
  for (const auto& tool : tools) {
    if (!tool.is_object()) {
      continue;
    }
    const auto inner = tool.find("function");
    const auto& function = inner != tool.end() && inner->is_object() ? *inner : tool;
    const auto name = function.find("name");
    if (name == function.end() || !name->is_string()) {
      continue;
    }
    auto& strings = names_[name->get<std::string>()];
    for (const char* key : {"parameters", "input_schema"}) {
      const auto schema = function.find(key);
      if (schema == function.end() || !schema->is_object() || !schema->contains("properties") ||
          !(*schema)["properties"].is_object()) {
        continue;
      }
      for (const auto& [parameter, rule] : (*schema)["properties"].items()) {
        if (rule.is_object() && rule.contains("type") && rule["type"] == "string") {
          strings.insert(parameter);
        }
      }
    }
  }
}

bool OfferedTools::knows(std::string_view name) const {
  return any_ && (names_.empty() || names_.contains(name));
}

bool OfferedTools::begins_name(std::string_view prefix) const {
  const auto at = names_.lower_bound(prefix);
  return at != names_.end() && std::string_view(at->first).starts_with(prefix);
}

bool OfferedTools::is_string(std::string_view tool, std::string_view parameter) const {
  const auto found = names_.find(tool);
  return found != names_.end() && found->second.contains(parameter);
}

}  // namespace lm
