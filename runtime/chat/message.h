/// Messages of a conversation, as every API translates them.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace lm {

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments_json;  ///< an object, as text, key order kept
};

struct Message {
  std::string role;  ///< "system", "user", "assistant", "tool"
  std::string content;
  std::string thinking = {};
  std::vector<ToolCall> tool_calls = {};
  std::string tool_name = {};
  std::string tool_call_id = {};
};

}  // namespace lm
