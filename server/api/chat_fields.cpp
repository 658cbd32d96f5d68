#include "server/api/chat_fields.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace lm::api {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

/// One part of a content; false when it is none that can be read.
bool add_part(FieldReader& owner, const char* key, const Json& part, std::string& text) {
  if (part.is_string()) {
    text += part.get_ref<const std::string&>();
    return true;
  }
  FieldReader reader(part, owner.name(key), owner.error());
  const std::string type = reader.text("type").value_or("text");
  if (type == "text" || type == "input_text" || type == "output_text") {
    text += reader.text("text").value_or("");
  } else if (type == "refusal") {
    text += reader.text("refusal").value_or("");
  } else if (type.contains("image")) {
    owner.fail_as(key, owner.name(key) + ": images are not supported");
  } else if (type.contains("audio")) {
    owner.fail_as(key, owner.name(key) + ": audio is not supported");
  } else {
    owner.fail_as(key, fmt::format("{}: a part of type '{}' is not supported", owner.name(key),
                                   type.substr(0, 40)));
  }
  return owner.ok();
}

void read_calls(FieldReader& message, Message& out) {
  const Json* calls = message.array("tool_calls");
  if (calls == nullptr) {
    return;
  }
  for (std::size_t i = 0; i < calls->size() && message.ok(); ++i) {
    FieldReader entry((*calls)[i], fmt::format("{}[{}]", message.name("tool_calls"), i),
                      message.error());
    const Json* inner = entry.object("function");
    FieldReader function(inner == nullptr ? (*calls)[i] : *inner, entry.name("function"),
                         message.error());
    ToolCall call;
    call.id = entry.text("id").value_or("");
    call.name = function.text("name").value_or("");
    if (call.name.empty()) {
      function.fail("name", "is missing");
    }
    const Json* arguments = function.find("arguments");
    call.arguments_json = arguments == nullptr     ? "{}"
                          : arguments->is_string() ? arguments->get<std::string>()
                                                   : dump(*arguments);
    if (call.arguments_json.empty()) {
      call.arguments_json = "{}";
    }
    out.tool_calls.push_back(std::move(call));
  }
}

Message read_message(FieldReader& reader) {
  Message message;
  message.role = lower(reader.text("role").value_or(""));
  if (message.role.empty()) {
    reader.fail("role", "is missing");
  }
  if (message.role == "developer") {
    message.role = "system";
  } else if (message.role == "function") {
    message.role = "tool";
  }
  message.content = content_text(reader, "content");
  for (const char* key : {"thinking", "reasoning_content", "reasoning"}) {
    if (message.thinking.empty()) {
      message.thinking = reader.text(key).value_or("");
    }
  }
  for (const char* key : {"images", "audio"}) {
    const Json* media = reader.find(key);
    if (media != nullptr && !((media->is_array() || media->is_object()) && media->empty())) {
      reader.fail_as(key,
                     fmt::format("{}: {} not supported", reader.name(key),
                                 std::string_view(key) == "images" ? "images are" : "audio is"));
    }
  }
  read_calls(reader, message);
  if (message.role == "tool") {
    message.tool_name = reader.text("tool_name").value_or("");
    if (message.tool_name.empty()) {
      message.tool_name = reader.text("name").value_or("");
    }
    message.tool_call_id = reader.text("tool_call_id").value_or("");
  }
  return message;
}

std::vector<std::string> names_of(const Json& tools) {
  std::vector<std::string> names;
  for (const Json& tool : tools) {
    names.push_back(tool["function"]["name"].get<std::string>());
  }
  return names;
}

}  // namespace

std::string content_text(FieldReader& owner, const char* key) {
  const Json* content = owner.find(key);
  if (content == nullptr) {
    return {};
  }
  if (content->is_string()) {
    return content->get<std::string>();
  }
  std::string text;
  if (!content->is_array()) {
    owner.fail(key, "is neither a string nor an array of parts");
    return text;
  }
  for (const Json& part : *content) {
    if (!add_part(owner, key, part, text)) {
      break;
    }
  }
  return text;
}

void read_messages(FieldReader& body, std::vector<Message>& messages) {
  const Json* list = body.array("messages");
  if (list == nullptr) {
    return;
  }
  for (std::size_t i = 0; i < list->size() && body.ok(); ++i) {
    FieldReader reader((*list)[i], fmt::format("messages[{}]", i), body.error());
    messages.push_back(read_message(reader));
  }
  match_tool_answers(messages);
}

Json tool_json(const std::string& name, const std::string& description, const Json* parameters) {
  Json function{{"name", name}};
  if (!description.empty()) {
    function["description"] = description;
  }
  if (parameters != nullptr) {
    function["parameters"] = *parameters;
  }
  return Json{{"type", "function"}, {"function", std::move(function)}};
}

void read_tools(FieldReader& body, ToolsAsked& tools) {
  const Json* list = body.array("tools");
  if (list == nullptr || list->empty()) {
    return;
  }
  for (std::size_t i = 0; i < list->size() && body.ok(); ++i) {
    FieldReader tool((*list)[i], fmt::format("tools[{}]", i), body.error());
    const std::string type = tool.text("type").value_or("function");
    if (type != "function") {
      tool.fail("type", fmt::format("is '{}', only functions are supported", type.substr(0, 40)));
      return;
    }
    const Json* inner = tool.object("function");
    if (inner == nullptr) {
      tool.fail("function", "is missing");
      return;
    }
    FieldReader function(*inner, tool.name("function"), body.error());
    if (function.text("name").value_or("").empty()) {
      function.fail("name", "is missing");
    }
    function.text("description");
    function.object("parameters");
  }
  if (body.ok()) {
    tools.json = dump(*list);
  }
}

void read_tool_choice(FieldReader& body, ToolsAsked& tools) {
  const Json* choice = body.find("tool_choice");
  if (choice == nullptr) {
    return;
  }
  if (choice->is_string()) {
    settle_tool_choice(body, choice->get<std::string>(), tools);
    return;
  }
  FieldReader reader(*choice, body.name("tool_choice"), body.error());
  const std::string type = reader.text("type").value_or("function");
  if (type != "function") {
    settle_tool_choice(body, type, tools);
    return;
  }
  const Json* inner = reader.object("function");
  FieldReader function(inner == nullptr ? *choice : *inner, reader.name("function"), body.error());
  tools.name = function.text("name").value_or("");
  if (tools.name.empty()) {
    function.fail("name", "is missing");
  }
  settle_tool_choice(body, "named", tools);
}

void settle_tool_choice(FieldReader& body, const std::string& choice, ToolsAsked& tools) {
  if (choice == "auto") {
    return;
  }
  if (choice == "none") {
    tools = {};
    return;
  }
  if (choice != "required" && choice != "any" && choice != "named") {
    body.fail("tool_choice", fmt::format("is '{}', must be none, auto, required or a function",
                                         choice.substr(0, 40)));
    return;
  }
  if (tools.json.empty()) {
    body.fail("tool_choice", "asks for a call, and no tools are offered");
    return;
  }
  tools.choice = choice == "named" ? ToolChoice::named : ToolChoice::required;
  if (tools.choice == ToolChoice::named) {
    const auto names = names_of(Json::parse(tools.json));
    if (std::ranges::find(names, tools.name) == names.end()) {
      body.fail("tool_choice",
                fmt::format("names '{}', which is not among the tools", tools.name.substr(0, 64)));
    }
  }
}

void match_tool_answers(std::vector<Message>& messages) {
  std::vector<ToolCall> open;  // calls of the last assistant's message without an answer yet
  for (Message& message : messages) {
    if (message.role == "assistant") {
      open = message.tool_calls;
      continue;
    }
    if (message.role != "tool" || open.empty()) {
      continue;
    }
    const auto fits = [&message](const ToolCall& call) {
      return !message.tool_call_id.empty() ? call.id == message.tool_call_id
             : !message.tool_name.empty()  ? call.name == message.tool_name
                                           : true;
    };
    const auto call = std::ranges::find_if(open, fits);
    if (call == open.end()) {
      continue;
    }
    if (message.tool_name.empty()) {
      message.tool_name = call->name;
    }
    if (message.tool_call_id.empty()) {
      message.tool_call_id = call->id;
    }
    open.erase(call);
  }
}

}  // namespace lm::api
