// POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/rerank.
#include <array>
#include <utility>

#include <fmt/format.h>

#include "server/api/chat_fields.h"
#include "server/api/readers.h"
#include "server/api/shared_fields.h"

namespace lm::api {
namespace {

constexpr std::int64_t kMaxChoices = 128;
constexpr std::size_t kMaxPrompts = 1024;

/// Options with the names that both APIs share; those of this one only when `options` lacks them.
constexpr std::array<std::string_view, 18> kOptions{"temperature",
                                                    "top_p",
                                                    "top_k",
                                                    "min_p",
                                                    "typical_p",
                                                    "seed",
                                                    "presence_penalty",
                                                    "frequency_penalty",
                                                    "repeat_penalty",
                                                    "repeat_last_n",
                                                    "num_ctx",
                                                    "xtc_probability",
                                                    "xtc_threshold",
                                                    "dry_multiplier",
                                                    "dry_base",
                                                    "mirostat",
                                                    "mirostat_tau",
                                                    "mirostat_eta"};

void read_sampling(FieldReader& body, Asked& asked) {
  asked.stream = body.flag("stream").value_or(false);
  if (const Json* options = body.object("stream_options")) {
    FieldReader reader(*options, "stream_options", body.error());
    asked.include_usage = reader.flag("include_usage").value_or(false);
  }
  read_keep_alive(body, asked);
  read_options(body, asked);
  read_top_level_options(body, kOptions, asked);
  for (const char* key : {"max_completion_tokens", "max_tokens"}) {
    if (!asked.options.contains("num_predict")) {
      read_option(body, key, "num_predict", asked);
    }
  }
  read_stop(body, "stop", asked);
  read_logit_bias(body, asked);
  asked.n = static_cast<std::uint32_t>(body.integer("n", 1, kMaxChoices).value_or(1));
  asked.truncate = body.flag("truncate").value_or(false);
  take_load_options(body, asked);
}

}  // namespace

void read_v1_chat(FieldReader& body, Asked& asked) {
  ChatAsked chat;
  read_messages(body, chat.messages);
  if (chat.messages.empty()) {
    body.fail_as("messages", "messages must hold at least one message");
  }
  for (const char* key : {"audio", "functions", "function_call"}) {
    if (body.has(key)) {
      body.fail_as(key, std::string(key) == "audio"
                            ? "audio is not supported"
                            : fmt::format("{} is not supported; use tools and tool_choice", key));
    }
  }
  read_tools(body, chat.tools);
  read_tool_choice(body, chat.tools);
  read_sampling(body, asked);
  read_think(body, asked);
  if (const Json* reasoning = body.object("reasoning")) {
    FieldReader reader(*reasoning, "reasoning", body.error());
    read_effort(reader, "effort", asked);
  }
  read_effort(body, "reasoning_effort", asked);
  read_response_format(body, "response_format", asked);
  read_logprobs(body, asked);
  if (body.flag("parallel_tool_calls") == false && chat.tools.choice == ToolChoice::automatic &&
      !chat.tools.json.empty()) {
    asked.warnings.emplace_back("parallel_tool_calls: the model itself decides on how many calls");
  }
  constexpr std::array<std::string_view, 4> kIgnored{"prediction", "verbosity",
                                                     "web_search_options", "modalities"};
  warn_of_ignored(body, kIgnored, asked);
  asked.what = std::move(chat);
}

void read_texts_or_ids(FieldReader& body, const char* key, std::vector<std::string>& texts,
                       std::vector<std::vector<Token>>& ids) {
  const Json* value = body.find(key);
  if (value == nullptr) {
    return;
  }
  if (value->is_string()) {
    texts.push_back(value->get<std::string>());
    return;
  }
  const auto wrong = [&] { body.fail(key, "must be a string, an array of strings, or token ids"); };
  if (!value->is_array()) {
    wrong();
    return;
  }
  const auto add_ids = [&](const Json& list) {
    std::vector<Token> out;
    for (const Json& id : list) {
      const auto number = integer_of(id);
      if (!number || *number < 0 || *number > INT32_MAX) {
        return false;
      }
      out.push_back(static_cast<Token>(*number));
    }
    ids.push_back(std::move(out));
    return !ids.back().empty();
  };
  if (!value->empty() && value->front().is_number()) {
    if (!add_ids(*value)) {
      wrong();
    }
    return;
  }
  for (const Json& item : *value) {
    if (item.is_string() && ids.empty()) {
      texts.push_back(item.get<std::string>());
    } else if (!item.is_array() || !texts.empty() || !add_ids(item)) {
      wrong();
      return;
    }
  }
}

void read_v1_completions(FieldReader& body, Asked& asked) {
  TextAsked text;
  read_texts_or_ids(body, "prompt", text.prompts, text.ids);
  if (text.prompts.empty() && text.ids.empty()) {
    text.prompts.emplace_back();
  }
  text.suffix = body.text("suffix").value_or("");
  text.echo = body.flag("echo").value_or(false);
  text.raw = true;
  read_sampling(body, asked);
  if (const auto count = body.integer("logprobs", 0, kMaxTopLogprobs)) {
    asked.logprobs = true;
    asked.top_logprobs = static_cast<std::uint8_t>(*count);
  }
  text.best_of =
      static_cast<std::uint32_t>(body.integer("best_of", asked.n, kMaxChoices).value_or(asked.n));
  if (text.best_of > asked.n && asked.stream) {
    body.fail("best_of", "can't be larger than n in a stream");
  }
  const std::size_t prompts = text.prompts.size() + text.ids.size();
  if (prompts * text.best_of > kMaxPrompts) {
    body.fail("prompt", fmt::format("asks for {} answers at once, at most {} are given",
                                    prompts * text.best_of, kMaxPrompts));
  }
  if (!text.suffix.empty() && (prompts > 1 || !text.ids.empty())) {
    body.fail("suffix", "needs a single prompt of text");
  }
  if (text.echo && asked.logprobs) {
    asked.warnings.emplace_back("logprobs are those of the answer, not of the echoed prompt");
  }
  asked.what = std::move(text);
}

void read_v1_embeddings(FieldReader& body, Asked& asked) {
  EmbedAsked embed;
  read_texts_or_ids(body, "input", embed.texts, embed.ids);
  if (embed.texts.empty() && embed.ids.empty()) {
    body.fail("input", "must hold at least one text");
  }
  for (const std::string& text : embed.texts) {
    if (text.empty()) {
      body.fail("input", "holds an empty text");
    }
  }
  embed.dimensions = static_cast<std::uint32_t>(body.integer("dimensions", 1, 1 << 20).value_or(0));
  embed.truncate = body.flag("truncate").value_or(true);
  const std::string format = body.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64") {
    body.fail("encoding_format", "must be float or base64");
  }
  embed.base64 = format == "base64";
  read_keep_alive(body, asked);
  read_options(body, asked);
  take_load_options(body, asked);
  asked.what = std::move(embed);
}

void read_v1_rerank(FieldReader& body, Asked& asked) {
  RerankAsked rerank;
  rerank.query = body.text("query").value_or("");
  if (rerank.query.empty()) {
    body.fail("query", "is missing");
  }
  const Json* documents = body.array("documents");
  if (documents == nullptr || documents->empty()) {
    body.fail("documents", "must be an array of at least one text");
  } else {
    for (std::size_t i = 0; i < documents->size() && body.ok(); ++i) {
      const Json& document = (*documents)[i];
      const Json* text = &document;
      if (document.is_object() && document.contains("text")) {
        text = &document["text"];
      }
      if (!text->is_string() || text->get_ref<const std::string&>().empty()) {
        body.fail("documents", fmt::format("[{}] is no text", i));
        break;
      }
      rerank.documents.push_back(text->get<std::string>());
    }
  }
  rerank.top_n = static_cast<std::uint32_t>(body.integer("top_n", 1, INT32_MAX).value_or(0));
  rerank.return_documents = body.flag("return_documents").value_or(false);
  read_keep_alive(body, asked);
  read_options(body, asked);
  take_load_options(body, asked);
  asked.what = std::move(rerank);
}

}  // namespace lm::api
