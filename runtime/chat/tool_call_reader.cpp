#include "runtime/chat/tool_call_reader.h"

#include <algorithm>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/chat/json_scanner.h"

namespace lm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::size_t kMaxNameBytes = 256;

std::string_view without_blanks_in_front(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kBlank), text.size()));
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::none_of(name, [](char c) {
    return kBlank.contains(c) || c == '<' || c == '>' || c == '{' || c == '"';
  });
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The value that `text` begins with, an object or a list; `text` loses it.
std::optional<Json> take_json(std::string_view& text) {
  if (text.empty() || (text[0] != '{' && text[0] != '[')) {
    return std::nullopt;
  }
  const std::size_t end = json_end(text);
  if (end == std::string_view::npos) {
    return std::nullopt;
  }
  Json json = Json::parse(text.substr(0, end), nullptr, false);
  if (json.is_discarded()) {
    return std::nullopt;
  }
  text.remove_prefix(end);
  return json;
}

const Json* member(const Json& object, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto found = object.find(name); found != object.end()) {
      return &*found;
    }
  }
  return nullptr;
}

/// Arguments may come as an object, or as its text.
std::optional<std::string> arguments_of(const Json* value) {
  if (value == nullptr || value->is_null()) {
    return "{}";
  }
  if (value->is_object()) {
    return dump(*value);
  }
  if (!value->is_string()) {
    return std::nullopt;
  }
  const std::string text = value->get<std::string>();
  std::string_view rest = trimmed(text);
  if (rest.empty()) {
    return "{}";
  }
  const auto inner = take_json(rest);
  return inner && inner->is_object() && rest.empty() ? std::optional(dump(*inner)) : std::nullopt;
}

std::optional<ToolCall> call_of(const Json& json) {
  if (!json.is_object()) {
    return std::nullopt;
  }
  const Json* object = &json;
  if (const Json* function = member(json, {"function"}); function && function->is_object()) {
    object = function;
  }
  const Json* name = member(*object, {"name", "tool_name", "function"});
  if (name == nullptr || !name->is_string() || !is_name(name->get<std::string>())) {
    return std::nullopt;
  }
  const Json* given = member(*object, {"arguments", "parameters", "args"});
  auto arguments = arguments_of(given);
  // Without any arguments there must be nothing else that they could have been.
  if (!arguments || (given == nullptr && object->size() > 3)) {
    return std::nullopt;
  }
  ToolCall call;
  call.name = name->get<std::string>();
  call.arguments_json = std::move(*arguments);
  if (const Json* id = member(json, {"id", "tool_call_id", "call_id"}); id && id->is_string()) {
    call.id = id->get<std::string>();
  }
  return call;
}

std::optional<ReadCalls> single(std::string id, std::string_view name, std::string arguments,
                                std::string_view rest) {
  if (!is_name(name)) {
    return std::nullopt;
  }
  ReadCalls read;
  read.calls.push_back({std::move(id), std::string(name), std::move(arguments)});
  read.rest = rest;
  return read;
}

std::optional<ReadCalls> read_mistral(std::string_view body) {
  body = trimmed(body);
  if (body.starts_with('[') || body.starts_with('{')) {
    return read_json_calls(body);
  }
  const std::size_t name_end = std::min(body.find_first_of("[{"), body.size());
  const std::string_view name = trimmed(body.substr(0, name_end));
  body.remove_prefix(name_end);
  std::string id;
  if (constexpr std::string_view kId = "[CALL_ID]"; body.starts_with(kId)) {
    body.remove_prefix(kId.size());
    const std::size_t id_end = std::min(body.find_first_of("[{"), body.size());
    id = trimmed(body.substr(0, id_end));
    body.remove_prefix(id_end);
  }
  if (constexpr std::string_view kArguments = "[ARGS]"; body.starts_with(kArguments)) {
    body.remove_prefix(kArguments.size());
  }
  auto read = call_with_json(name, without_blanks_in_front(body));
  if (read) {
    read->calls[0].id = std::move(id);
  }
  return read;
}

std::optional<ReadCalls> read_deepseek(std::string_view body) {
  constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
  const std::size_t separator = body.find(kSeparator);
  if (separator == std::string_view::npos) {
    return std::nullopt;
  }
  std::string_view name = trimmed(body.substr(0, separator));
  std::string_view json = body.substr(separator + kSeparator.size());
  if (name == "function") {  // R1 and V3: the kind of call, then its name and fenced arguments
    const std::size_t line = std::min(json.find('\n'), json.size());
    name = trimmed(json.substr(0, line));
    json = trimmed(json.substr(line));
    constexpr std::string_view kFence = "```";
    if (json.starts_with(kFence)) {
      json.remove_prefix(std::min(json.find('\n'), json.size()));
    }
    if (json.ends_with(kFence)) {
      json.remove_suffix(kFence.size());
    }
  }
  return call_with_json(name, trimmed(json));
}

std::optional<ReadCalls> read_kimi(std::string_view body) {
  constexpr std::string_view kArguments = "<|tool_call_argument_begin|>";
  const std::size_t mark = body.find(kArguments);
  if (mark == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view id = trimmed(body.substr(0, mark));
  std::string_view name = id.substr(0, id.rfind(':'));
  if (constexpr std::string_view kSpace = "functions."; name.starts_with(kSpace)) {
    name.remove_prefix(kSpace.size());
  }
  auto read = call_with_json(name, trimmed(body.substr(mark + kArguments.size())));
  if (read) {
    read->calls[0].id = id;
  }
  return read;
}

/// Behind <|python_tag|>: JSON, a built-in tool as `name.call(…)`, or plain code.
std::optional<ReadCalls> read_python_tag(std::string_view body, const OfferedTools& tools) {
  body = trimmed(body);
  if (auto read = read_json_calls(body)) {
    return read;
  }
  if (auto read = read_python_calls(body)) {
    std::string& name = read->calls[0].name;
    if (constexpr std::string_view kCall = ".call"; name.ends_with(kCall)) {
      name.resize(name.size() - kCall.size());
      return read;
    }
  }
  for (const char* name : {"code_interpreter", "ipython", "python"}) {
    if (tools.names(name) && !body.empty()) {
      std::string_view text = body;
      const auto json = take_json(text);
      return single({}, name,
                    json && json->is_object() && text.empty()
                        ? dump(*json)
                        : dump(Json{{"code", std::string(body)}}),
                    {});
    }
  }
  return std::nullopt;
}

std::optional<ReadCalls> read_tagged(std::string_view body, const OfferedTools& tools) {
  body = trimmed(body);
  constexpr std::string_view kFunction = "<function=";
  if (body.starts_with('{') || body.starts_with('[')) {
    return read_json_calls(body);
  }
  if (body.starts_with(kFunction)) {
    body.remove_prefix(kFunction.size());
    constexpr std::string_view kEnd = "</function>";
    std::string_view rest;
    if (const std::size_t end = body.rfind(kEnd); end != std::string_view::npos) {
      rest = body.substr(end + kEnd.size());
      body = body.substr(0, end);
    }
    auto read = read_named_call(body, tools);
    if (read && !rest.empty()) {
      read->rest = rest;
    }
    return read;
  }
  return read_arg_pairs(body, tools);
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  text = without_blanks_in_front(text);
  const std::size_t last = text.find_last_not_of(kBlank);
  return last == std::string_view::npos ? std::string_view() : text.substr(0, last + 1);
}

std::optional<ReadCalls> call_with_json(std::string_view name, std::string_view json) {
  std::string_view rest = json;
  if (json.empty()) {
    return single({}, name, "{}", {});
  }
  const auto arguments = take_json(rest);
  if (!arguments || !arguments->is_object()) {
    return std::nullopt;
  }
  return single({}, name, dump(*arguments), rest);
}

std::optional<ReadCalls> read_json_calls(std::string_view body) {
  ReadCalls read;
  std::string_view rest = trimmed(body);
  while (true) {
    std::string_view ahead = rest;
    const auto json = take_json(ahead);
    if (!json) {
      break;
    }
    std::vector<ToolCall> calls;
    for (const Json& one : json->is_array() ? *json : Json::array({*json})) {
      auto call = call_of(one);
      if (!call) {
        calls.clear();
        break;
      }
      calls.push_back(std::move(*call));
    }
    if (calls.empty()) {
      break;
    }
    std::ranges::move(calls, std::back_inserter(read.calls));
    rest = without_blanks_in_front(ahead);
    // Llama writes several calls with semicolons between them.
    if (std::string_view next = rest; next.starts_with(';') || next.starts_with(',')) {
      next = without_blanks_in_front(next.substr(1));
      rest = next.empty() || next.starts_with('{') ? next : rest;
    }
  }
  if (read.calls.empty()) {
    return std::nullopt;
  }
  read.rest = rest;
  return read;
}

std::optional<ReadCalls> read_calls(CallSyntax syntax, std::string_view body,
                                    const OfferedTools& tools) {
  switch (syntax) {
    case CallSyntax::json:
      return read_json_calls(body);
    case CallSyntax::tagged:
      return read_tagged(body, tools);
    case CallSyntax::python_tag:
      return read_python_tag(body, tools);
    case CallSyntax::mistral:
      return read_mistral(body);
    case CallSyntax::deepseek:
      return read_deepseek(body);
    case CallSyntax::kimi:
      return read_kimi(body);
    case CallSyntax::named:
      return read_named_call(body, tools);
    case CallSyntax::python:
      return read_python_calls(body);
    case CallSyntax::gemma4:
      return read_gemma4_call(body);
    case CallSyntax::elements:
      return read_element_call(body, tools);
  }
  return std::nullopt;
}

}  // namespace lm
