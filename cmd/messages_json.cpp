#include "cmd/messages_json.h"

#include <stdexcept>

#include <fmt/format.h>

namespace lm::cmd {
namespace {

using nlohmann::ordered_json;

constexpr int kMaxDepth = 128;

std::unexpected<Failure> bad(std::string subject, std::string problem) {
  return failure("bad_value", std::move(subject), std::move(problem));
}

/// A string member, or empty when it is absent or null.
Result<std::string> text_member(const ordered_json& object, const char* key,
                                const std::string& subject) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) {
    return std::string();
  }
  if (!it->is_string()) {
    return bad(subject, fmt::format("'{}' is no string", key));
  }
  return it->get<std::string>();
}

/// A string, null, or text parts put together.
Result<std::string> content_of(const ordered_json& object, const std::string& subject) {
  const auto it = object.find("content");
  if (it == object.end() || !it->is_array()) {
    return text_member(object, "content", subject);
  }
  std::string text;
  for (const ordered_json& part : *it) {
    if (!part.is_object()) {
      return bad(subject, "a part of 'content' is no object");
    }
    LM_TRY(const std::string piece, text_member(part, "text", subject));
    text += piece;
  }
  return text;
}

Result<std::vector<ToolCall>> tool_calls_of(const ordered_json& object,
                                            const std::string& subject) {
  std::vector<ToolCall> calls;
  const auto it = object.find("tool_calls");
  if (it == object.end() || it->is_null()) {
    return calls;
  }
  if (!it->is_array()) {
    return bad(subject, "'tool_calls' is no array");
  }
  for (const ordered_json& entry : *it) {
    const ordered_json& function =
        entry.is_object() && entry.contains("function") ? entry.at("function") : entry;
    if (!function.is_object()) {
      return bad(subject, "an entry of 'tool_calls' is no object");
    }
    ToolCall call;
    LM_TRY(call.id, text_member(entry, "id", subject));
    LM_TRY(call.name, text_member(function, "name", subject));
    const auto arguments = function.find("arguments");
    call.arguments_json = arguments == function.end() ? "{}"
                          : arguments->is_string()    ? arguments->get<std::string>()
                                                      : arguments->dump();
    calls.push_back(std::move(call));
  }
  return calls;
}

Result<Message> parse_message(const ordered_json& object, const std::string& subject) {
  if (!object.is_object()) {
    return bad(subject, "is no object");
  }
  Message message;
  LM_TRY(message.role, text_member(object, "role", subject));
  if (message.role.empty()) {
    return bad(subject, "has no 'role'");
  }
  LM_TRY(message.content, content_of(object, subject));
  LM_TRY(
      message.thinking,
      text_member(object, object.contains("thinking") ? "thinking" : "reasoning_content", subject));
  LM_TRY(message.tool_name,
         text_member(object, object.contains("tool_name") ? "tool_name" : "name", subject));
  LM_TRY(message.tool_call_id, text_member(object, "tool_call_id", subject));
  LM_TRY(message.tool_calls, tool_calls_of(object, subject));
  return message;
}

}  // namespace

Result<ordered_json> parse_json(std::string_view text, const std::string& subject) {
  const auto watch = [](int depth, ordered_json::parse_event_t, ordered_json&) {
    if (depth > kMaxDepth) {
      throw std::length_error("depth");
    }
    return true;
  };
  try {
    return ordered_json::parse(text, watch);
  } catch (const ordered_json::parse_error& error) {
    return bad(subject, fmt::format("is no JSON: error at byte {}", error.byte));
  } catch (const std::length_error&) {
    return bad(subject, fmt::format("is nested more than {} levels deep", kMaxDepth));
  }
}

Result<std::vector<Message>> parse_messages(std::string_view text, const std::string& subject) {
  LM_TRY(const ordered_json document, parse_json(text, subject));
  const ordered_json& list =
      document.is_object() && document.contains("messages") ? document.at("messages") : document;
  if (!list.is_array()) {
    return bad(subject, "is no array of messages");
  }
  std::vector<Message> messages;
  for (std::size_t i = 0; i < list.size(); ++i) {
    LM_TRY(Message message, parse_message(list[i], fmt::format("{}: message {}", subject, i)));
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace lm::cmd
