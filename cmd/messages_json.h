/// Conversations written as JSON.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cmd/report.h"
#include "runtime/chat/message.h"

namespace lm::cmd {

/// Parses a JSON text of at most 128 levels. Errors: bad_value naming `subject` and the position.
Result<nlohmann::ordered_json> parse_json(std::string_view text, const std::string& subject);

/// An array of {role, content, thinking?, tool_calls?, tool_name?, tool_call_id?}, or an object
/// with it as "messages". Content may be null or a list of text parts. Errors name the message by
/// its index.
Result<std::vector<Message>> parse_messages(std::string_view text, const std::string& subject);

}  // namespace lm::cmd
