// POST /v1/messages and /v1/messages/count_tokens.
#include <array>
#include <utility>

#include <fmt/format.h>

#include "server/api/chat_fields.h"
#include "server/api/readers.h"
#include "server/api/shared_fields.h"

namespace lm::api {
namespace {

constexpr std::array<std::string_view, 5> kOptions{"temperature", "top_p", "top_k", "seed",
                                                   "num_ctx"};

/// Blocks of one message; a user's message with results of tools becomes several.
class BlockReader {
 public:
  BlockReader(FieldReader& message, std::string role, std::vector<Message>& out)
      : message_(message), role_(std::move(role)), out_(out) {}

  void read(const Json& blocks) {
    current_ = {.role = role_, .content = {}};
    for (std::size_t i = 0; i < blocks.size() && message_.ok(); ++i) {
      FieldReader block(blocks[i], fmt::format("{}[{}]", message_.name("content"), i),
                        message_.error());
      read_block(block);
    }
    if (used_ || blocks.empty()) {
      out_.push_back(std::move(current_));
    }
  }

 private:
  void read_block(FieldReader& block) {
    const std::string type = block.text("type").value_or("text");
    if (type == "text") {
      current_.content += block.text("text").value_or("");
      used_ = true;
    } else if (type == "tool_use") {
      ToolCall call;
      call.id = block.text("id").value_or("");
      call.name = block.text("name").value_or("");
      const Json* input = block.object("input");
      call.arguments_json = input == nullptr ? "{}" : dump(*input);
      if (call.name.empty()) {
        block.fail("name", "is missing");
      }
      current_.tool_calls.push_back(std::move(call));
      used_ = true;
    } else if (type == "tool_result") {
      Message result{.role = "tool", .content = content_text(block, "content")};
      result.tool_call_id = block.text("tool_use_id").value_or("");
      if (block.flag("is_error").value_or(false)) {
        result.content = "Error: " + result.content;
      }
      out_.push_back(std::move(result));
    } else if (type == "thinking") {
      current_.thinking += block.text("thinking").value_or("");
      used_ = true;
    } else if (type == "image") {
      block.fail_as("type", block.name("type") + ": images are not supported");
    } else if (type != "redacted_thinking") {
      block.fail("type", fmt::format("'{}' is not supported", type.substr(0, 40)));
    }
  }

  FieldReader& message_;
  std::string role_;
  std::vector<Message>& out_;
  Message current_ = {.role = {}, .content = {}};
  bool used_ = false;
};

void read_conversation(FieldReader& body, std::vector<Message>& messages) {
  const std::string system = content_text(body, "system");
  if (!system.empty()) {
    messages.push_back({.role = "system", .content = system});
  }
  const Json* list = body.array("messages");
  if (list == nullptr || list->empty()) {
    body.fail_as("messages", "messages must hold at least one message");
    return;
  }
  for (std::size_t i = 0; i < list->size() && body.ok(); ++i) {
    FieldReader message((*list)[i], fmt::format("messages[{}]", i), body.error());
    const std::string role = message.text("role").value_or("");
    if (role != "user" && role != "assistant" && role != "system") {
      message.fail("role", "must be user or assistant");
      return;
    }
    const Json* content = message.find("content");
    if (content != nullptr && content->is_array()) {
      BlockReader(message, role, messages).read(*content);
    } else {
      messages.push_back({.role = role, .content = content_text(message, "content")});
    }
  }
  match_tool_answers(messages);
}

void read_anthropic_tools(FieldReader& body, Asked& asked, ToolsAsked& tools) {
  const Json* list = body.array("tools");
  Json out = Json::array();
  for (std::size_t i = 0; list != nullptr && i < list->size() && body.ok(); ++i) {
    FieldReader tool((*list)[i], fmt::format("tools[{}]", i), body.error());
    const std::string type = tool.text("type").value_or("custom");
    if (type != "custom") {
      asked.warnings.push_back(
          fmt::format("tools[{}] of type '{}' was ignored: it runs at its maker's only", i,
                      type.substr(0, 40)));
      continue;
    }
    const std::string name = tool.text("name").value_or("");
    if (name.empty()) {
      tool.fail("name", "is missing");
    }
    out.push_back(
        tool_json(name, tool.text("description").value_or(""), tool.object("input_schema")));
  }
  if (!out.empty()) {
    tools.json = dump(out);
  }
}

void read_anthropic_choice(FieldReader& body, ToolsAsked& tools) {
  const Json* choice = body.object("tool_choice");
  if (choice == nullptr) {
    return;
  }
  FieldReader reader(*choice, "tool_choice", body.error());
  const std::string type = reader.text("type").value_or("auto");
  if (type == "tool") {
    tools.name = reader.text("name").value_or("");
    settle_tool_choice(body, "named", tools);
  } else {
    settle_tool_choice(body, type, tools);
  }
}

void read_thinking(FieldReader& body, Asked& asked) {
  if (const Json* thinking = body.object("thinking")) {
    FieldReader reader(*thinking, "thinking", body.error());
    const std::string type = reader.text("type").value_or("");
    if (type == "enabled" || type == "adaptive") {
      asked.think = "true";
    } else if (type == "disabled") {
      asked.think = "false";
    } else {
      reader.fail("type", "must be enabled, adaptive or disabled");
    }
    if (reader.integer("budget_tokens", 0, INT32_MAX)) {
      asked.warnings.emplace_back("thinking.budget_tokens has no effect here and was ignored");
    }
  }
  if (const Json* config = body.object("output_config")) {
    FieldReader reader(*config, "output_config", body.error());
    if (asked.think != "false") {
      read_effort(reader, "effort", asked);
    }
    read_response_format(reader, "format", asked);
  }
  read_response_format(body, "output_format", asked);
}

}  // namespace

void read_anthropic(FieldReader& body, Asked& asked) {
  ChatAsked chat;
  read_conversation(body, chat.messages);
  read_anthropic_tools(body, asked, chat.tools);
  read_anthropic_choice(body, chat.tools);
  asked.stream = body.flag("stream").value_or(false);
  read_keep_alive(body, asked);
  read_options(body, asked);
  read_top_level_options(body, kOptions, asked);
  const auto max_tokens = body.integer("max_tokens", 1, INT32_MAX);
  if (asked.endpoint == Endpoint::count_tokens) {
    asked.purpose = Purpose::count;
    asked.stream = false;
  } else if (!max_tokens) {
    body.fail_as("max_tokens", "max_tokens: field required");
  } else {
    asked.options["num_predict"] = {std::to_string(*max_tokens)};
  }
  read_stop(body, "stop_sequences", asked);
  read_thinking(body, asked);
  take_load_options(body, asked);
  asked.what = std::move(chat);
}

}  // namespace lm::api
