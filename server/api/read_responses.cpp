// POST /v1/responses.
#include <array>
#include <utility>

#include <fmt/format.h>

#include "server/api/chat_fields.h"
#include "server/api/readers.h"
#include "server/api/shared_fields.h"

namespace lm::api {
namespace {

constexpr std::array<std::string_view, 8> kOptions{
    "temperature",       "top_p",  "top_k", "min_p", "seed", "presence_penalty",
    "frequency_penalty", "num_ctx"};

/// Items of one answer follow each other; templates want them as one message.
Message& assistant_at_end(std::vector<Message>& messages, bool open_for_text) {
  const bool continues = !messages.empty() && messages.back().role == "assistant" &&
                         (!open_for_text || messages.back().content.empty());
  if (!continues) {
    messages.push_back({.role = "assistant", .content = {}});
  }
  return messages.back();
}

/// Text parts of a reasoning item's list.
std::string parts_text(FieldReader& item, const char* key) {
  std::string text;
  if (const Json* parts = item.array(key)) {
    for (const Json& part : *parts) {
      FieldReader reader(part, item.name(key), item.error());
      text += reader.text("text").value_or("");
    }
  }
  return text;
}

void read_message_item(FieldReader& item, std::vector<Message>& messages) {
  std::string role = item.text("role").value_or("");
  if (role == "developer") {
    role = "system";
  }
  if (role != "system" && role != "user" && role != "assistant") {
    item.fail("role", "must be system, developer, user or assistant");
    return;
  }
  std::string text = content_text(item, "content");
  if (role == "assistant") {
    assistant_at_end(messages, true).content = std::move(text);
  } else {
    messages.push_back({.role = role, .content = std::move(text)});
  }
}

void read_item(FieldReader& item, std::vector<Message>& messages) {
  const std::string type = item.text("type").value_or("message");
  if (type == "message") {
    read_message_item(item, messages);
  } else if (type == "function_call") {
    ToolCall call;
    call.id = item.text("call_id").value_or("");
    call.name = item.text("name").value_or("");
    call.arguments_json = item.text("arguments").value_or("{}");
    if (call.name.empty()) {
      item.fail("name", "is missing");
    }
    if (call.arguments_json.empty()) {
      call.arguments_json = "{}";
    }
    assistant_at_end(messages, false).tool_calls.push_back(std::move(call));
  } else if (type == "function_call_output") {
    Message message{.role = "tool", .content = content_text(item, "output")};
    message.tool_call_id = item.text("call_id").value_or("");
    messages.push_back(std::move(message));
  } else if (type == "reasoning") {
    std::string text = parts_text(item, "content");
    if (text.empty()) {
      text = parts_text(item, "summary");
    }
    messages.push_back({.role = "assistant", .content = {}, .thinking = std::move(text)});
  } else {
    item.fail("type", fmt::format("'{}' is not supported", type.substr(0, 40)));
  }
}

void read_input(FieldReader& body, std::vector<Message>& messages) {
  const Json* input = body.find("input");
  if (input == nullptr) {
    body.fail("input", "is missing");
    return;
  }
  if (input->is_string()) {
    messages.push_back({.role = "user", .content = input->get<std::string>()});
    return;
  }
  if (!input->is_array()) {
    body.fail("input", "must be a string or an array of items");
    return;
  }
  for (std::size_t i = 0; i < input->size() && body.ok(); ++i) {
    FieldReader item((*input)[i], fmt::format("input[{}]", i), body.error());
    read_item(item, messages);
  }
  if (messages.empty()) {
    body.fail("input", "must hold at least one item");
  }
  match_tool_answers(messages);
}

void read_flat_tools(FieldReader& body, Asked& asked, ToolsAsked& tools) {
  const Json* list = body.array("tools");
  Json out = Json::array();
  for (std::size_t i = 0; list != nullptr && i < list->size() && body.ok(); ++i) {
    FieldReader tool((*list)[i], fmt::format("tools[{}]", i), body.error());
    const std::string type = tool.text("type").value_or("function");
    if (type != "function") {
      asked.warnings.push_back(
          fmt::format("tools[{}] of type '{}' was ignored: only functions are supported", i,
                      type.substr(0, 40)));
      continue;
    }
    const std::string name = tool.text("name").value_or("");
    if (name.empty()) {
      tool.fail("name", "is missing");
    }
    out.push_back(
        tool_json(name, tool.text("description").value_or(""), tool.object("parameters")));
  }
  if (!out.empty()) {
    tools.json = dump(out);
  }
}

/// What of the request stands in the answer again, with the defaults of members not given.
std::string echo_of(FieldReader& body) {
  const auto member = [&](const char* key, Json fallback) {
    const Json* value = body.find(key);
    return value == nullptr ? std::move(fallback) : *value;
  };
  Json echo = Json::object();
  echo["instructions"] = member("instructions", nullptr);
  echo["tools"] = member("tools", Json::array());
  echo["tool_choice"] = member("tool_choice", "auto");
  echo["truncation"] = member("truncation", "disabled");
  echo["parallel_tool_calls"] = member("parallel_tool_calls", true);
  echo["text"] = member("text", {{"format", {{"type", "text"}}}});
  echo["top_p"] = member("top_p", 1.0);
  echo["presence_penalty"] = member("presence_penalty", 0.0);
  echo["frequency_penalty"] = member("frequency_penalty", 0.0);
  echo["top_logprobs"] = member("top_logprobs", 0);
  echo["temperature"] = member("temperature", 1.0);
  echo["reasoning"] = member("reasoning", {{"effort", nullptr}, {"summary", nullptr}});
  echo["max_output_tokens"] = member("max_output_tokens", nullptr);
  echo["max_tool_calls"] = member("max_tool_calls", nullptr);
  echo["metadata"] = member("metadata", Json::object());
  echo["safety_identifier"] = member("safety_identifier", nullptr);
  echo["prompt_cache_key"] = member("prompt_cache_key", nullptr);
  return dump(echo);
}

void refuse_state(FieldReader& body) {
  for (const char* key : {"previous_response_id", "conversation", "prompt"}) {
    if (body.has(key)) {
      body.fail(key, "is not supported: nothing is kept between requests, send the whole input");
    }
  }
  if (body.flag("background").value_or(false)) {
    body.fail("background", "is not supported");
  }
}

}  // namespace

void read_v1_responses(FieldReader& body, Asked& asked) {
  ChatAsked chat;
  refuse_state(body);
  const std::string instructions = body.text("instructions").value_or("");
  if (!instructions.empty()) {
    chat.messages.push_back({.role = "system", .content = instructions});
  }
  read_input(body, chat.messages);
  read_flat_tools(body, asked, chat.tools);
  read_tool_choice(body, chat.tools);
  asked.stream = body.flag("stream").value_or(false);
  read_keep_alive(body, asked);
  read_options(body, asked);
  read_top_level_options(body, kOptions, asked);
  if (!asked.options.contains("num_predict")) {
    read_option(body, "max_output_tokens", "num_predict", asked);
  }
  read_logit_bias(body, asked);
  read_think(body, asked);
  if (const Json* reasoning = body.object("reasoning")) {
    FieldReader reader(*reasoning, "reasoning", body.error());
    read_effort(reader, "effort", asked);
  }
  if (const Json* text = body.object("text")) {
    FieldReader reader(*text, "text", body.error());
    read_response_format(reader, "format", asked);
  }
  const std::string truncation = body.text("truncation").value_or("disabled");
  if (truncation != "auto" && truncation != "disabled") {
    body.fail("truncation", "must be auto or disabled");
  }
  asked.truncate = truncation == "auto";
  if (body.integer("top_logprobs", 0, kMaxTopLogprobs).value_or(0) > 0) {
    asked.warnings.emplace_back("top_logprobs has no effect here and was ignored");
  }
  constexpr std::array<std::string_view, 2> kIgnored{"max_tool_calls", "include"};
  warn_of_ignored(body, kIgnored, asked);
  take_load_options(body, asked);
  if (body.ok()) {
    asked.echo_json = echo_of(body);
  }
  asked.what = std::move(chat);
}

}  // namespace lm::api
