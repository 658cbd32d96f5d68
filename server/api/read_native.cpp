// POST /api/generate, /api/chat, /api/embed, /api/embeddings.
#include <array>
#include <utility>

#include <fmt/format.h>

#include "server/api/chat_fields.h"
#include "server/api/readers.h"
#include "server/api/shared_fields.h"

namespace lm::api {
namespace {

/// Clients of the AI SDK put these beside `options`.
constexpr std::array<std::string_view, 9> kBeside{
    "temperature",       "top_p",          "top_k",  "min_p", "seed", "presence_penalty",
    "frequency_penalty", "repeat_penalty", "num_ctx"};

/// "json", a schema, or nothing.
void read_format(FieldReader& body, Asked& asked) {
  const Json* format = body.find("format");
  if (format == nullptr || *format == Json("")) {
    return;
  }
  if (*format == Json("json")) {
    asked.format = {OutputFormat::Kind::json, {}};
  } else if (format->is_object()) {
    set_schema(*format, asked);
  } else {
    body.fail("format", "must be \"json\" or a JSON schema");
  }
}

/// All that generate and chat have in common.
void read_generation(FieldReader& body, Asked& asked) {
  asked.stream = body.flag("stream").value_or(true);
  asked.truncate = body.flag("truncate").value_or(true);
  asked.shift = body.flag("shift").value_or(true);
  read_keep_alive(body, asked);
  read_options(body, asked);
  read_top_level_options(body, kBeside, asked);
  for (const char* key : {"max_output_tokens", "num_predict"}) {
    if (!asked.options.contains("num_predict")) {
      read_option(body, key, "num_predict", asked);
    }
  }
  read_stop(body, "stop", asked);
  read_think(body, asked);
  read_format(body, asked);
  read_logprobs(body, asked);
  read_logit_bias(body, asked);
  take_load_options(body, asked);
  if (body.flag("_debug_render_only").value_or(false)) {
    asked.purpose = Purpose::render;
  }
}

/// A request without anything to do loads the model, or unloads it.
void load_or_unload(Asked& asked) {
  const auto& keep = asked.load.keep_alive;
  asked.purpose =
      keep && !keep->forever && keep->value.count() == 0 ? Purpose::unload : Purpose::load;
}

void refuse_images(FieldReader& body) {
  const Json* images = body.array("images");
  if (images != nullptr && !images->empty()) {
    body.fail_as("images", "images are not supported");
  }
}

}  // namespace

void read_generate(FieldReader& body, Asked& asked) {
  TextAsked text;
  text.prompts = {body.text("prompt").value_or("")};
  text.suffix = body.text("suffix").value_or("");
  text.system = body.text("system");
  text.chat_template = body.text("template");
  text.raw = body.flag("raw").value_or(false);
  refuse_images(body);
  if (const Json* context = body.array("context")) {
    for (const Json& id : *context) {
      const auto number = integer_of(id);
      if (!number || *number < 0 || *number > INT32_MAX) {
        body.fail("context", "must be an array of token ids");
        break;
      }
      text.context.push_back(static_cast<Token>(*number));
    }
  }
  const bool has_template = text.chat_template && !text.chat_template->empty();
  const bool has_system = text.system && !text.system->empty();
  if (text.raw && (has_template || has_system || !text.context.empty())) {
    body.fail_as("raw", "raw mode does not support template, system, or context");
  }
  if (!has_template) {
    text.chat_template.reset();
  }
  if (!has_system) {
    text.system.reset();
  }
  read_generation(body, asked);
  if (asked.purpose == Purpose::run && text.prompts[0].empty() && text.suffix.empty()) {
    load_or_unload(asked);
  }
  asked.what = std::move(text);
}

void read_chat(FieldReader& body, Asked& asked) {
  ChatAsked chat;
  read_messages(body, chat.messages);
  read_tools(body, chat.tools);
  read_tool_choice(body, chat.tools);
  read_generation(body, asked);
  if (asked.purpose == Purpose::run && chat.messages.empty()) {
    load_or_unload(asked);
  }
  asked.what = std::move(chat);
}

void read_embed(FieldReader& body, Asked& asked) {
  EmbedAsked embed;
  embed.texts = body.texts("input").value_or(std::vector<std::string>());
  // One empty text asks for nothing, as clients that warm a model up send it.
  if (embed.texts.size() == 1 && embed.texts[0].empty()) {
    embed.texts.clear();
  }
  embed.truncate = body.flag("truncate").value_or(true);
  embed.dimensions = static_cast<std::uint32_t>(body.integer("dimensions", 0, 1 << 20).value_or(0));
  read_keep_alive(body, asked);
  read_options(body, asked);
  take_load_options(body, asked);
  if (embed.texts.empty()) {
    load_or_unload(asked);
  }
  asked.what = std::move(embed);
}

void read_embeddings(FieldReader& body, Asked& asked) {
  EmbedAsked embed;
  const std::string prompt = body.text("prompt").value_or("");
  if (!prompt.empty()) {
    embed.texts = {prompt};
  }
  read_keep_alive(body, asked);
  read_options(body, asked);
  take_load_options(body, asked);
  if (prompt.empty()) {
    load_or_unload(asked);
  }
  asked.what = std::move(embed);
}

}  // namespace lm::api
