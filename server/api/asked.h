/// What a client asks, whatever API it speaks: the typed core that bodies are read into.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "runtime/chat/message.h"
#include "runtime/engine/messages.h"
#include "server/api/chat_format.h"
#include "server/api/generation_options.h"

namespace lm::api {

/// The calls that models answer.
enum class Endpoint : std::uint8_t {
  generate,        ///< POST /api/generate
  chat,            ///< POST /api/chat
  embed,           ///< POST /api/embed
  embeddings,      ///< POST /api/embeddings
  v1_chat,         ///< POST /v1/chat/completions
  v1_completions,  ///< POST /v1/completions
  v1_embeddings,   ///< POST /v1/embeddings
  v1_responses,    ///< POST /v1/responses
  v1_rerank,       ///< POST /v1/rerank
  messages,        ///< POST /v1/messages
  count_tokens,    ///< POST /v1/messages/count_tokens
  last = count_tokens
};

/// How long a model stays after its last request.
struct KeepAlive {
  bool forever = false;
  std::chrono::nanoseconds value{0};
  bool operator==(const KeepAlive&) const = default;
};

/// What a request wants of the loading of its model. Unset: whatever is loaded, or the default.
struct LoadAsked {
  std::optional<std::uint32_t> n_ctx;
  std::optional<std::uint32_t> n_batch;
  std::optional<std::uint32_t> n_threads;
  std::optional<std::uint32_t> draft_tokens;
  std::optional<std::int32_t> gpu_layers;  ///< -1: automatic
  std::optional<KeepAlive> keep_alive;
  bool operator==(const LoadAsked&) const = default;
};

/// Tools and how they are to be used.
struct ToolsAsked {
  std::string json;  ///< [{type, function: {name, description, parameters}}], or empty
  ToolChoice choice = ToolChoice::automatic;
  std::string name;  ///< of choice `named`
};

/// A conversation to be continued.
struct ChatAsked {
  std::vector<Message> messages;
  ToolsAsked tools;
};

/// A text to be continued. The native API puts it into the model's template unless it is raw.
struct TextAsked {
  std::vector<std::string> prompts;     ///< one, or several of /v1/completions
  std::vector<std::vector<Token>> ids;  ///< instead of `prompts`
  std::string suffix;
  std::optional<std::string> system;  ///< instead of the model's
  std::optional<std::string> chat_template;
  std::vector<Token> context;  ///< stands before the prompt
  bool raw = false;
  bool echo = false;
  std::uint32_t best_of = 1;
};

/// Texts to be turned into vectors.
struct EmbedAsked {
  std::vector<std::string> texts;
  std::vector<std::vector<Token>> ids;  ///< instead of `texts`
  std::uint32_t dimensions = 0;
  bool truncate = true;
  bool base64 = false;
};

/// Documents to be ordered by how well they fit a query.
struct RerankAsked {
  std::string query;
  std::vector<std::string> documents;
  std::uint32_t top_n = 0;  ///< 0: all
  bool return_documents = false;
};

/// What is to be done.
enum class Purpose : std::uint8_t {
  run,
  load,    ///< load the model, answer at once
  unload,  ///< unload it, answer at once; the model need not be loaded to plan this
  count,   ///< count the prompt's tokens
  render   ///< show the rendered prompt
};

/// A body, read and checked as far as that is possible without the model.
struct Asked {
  Endpoint endpoint = Endpoint::chat;
  Purpose purpose = Purpose::run;
  std::string model;  ///< as the client spells it; never empty
  bool stream = false;
  bool include_usage = false;  ///< OpenAI: a last chunk with the figures
  LoadAsked load;
  ParameterTexts options;  ///< over the model's; every one in its range
  std::vector<LogitBias> logit_bias;
  Think think;            ///< "true", "false", "low" …; none: the model's own way
  OutputFormat format;    ///< of the content
  bool truncate = false;  ///< a prompt that is too long is cut instead of refused
  bool shift = false;     ///< a full context is shifted instead of ending the answer
  bool logprobs = false;
  std::uint8_t top_logprobs = 0;
  std::uint32_t n = 1;  ///< choices
  std::vector<std::string> warnings;
  std::variant<ChatAsked, TextAsked, EmbedAsked, RerankAsked> what;
  std::string echo_json;  ///< members of the request that the Responses API repeats, an object
};

}  // namespace lm::api
