/// The answers of each API, made by `plan`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/api/answer.h"
#include "server/api/api.h"
#include "server/api/body_json.h"

namespace lm::api {

/// What every answer knows of its request.
struct AnswerBasis {
  Endpoint endpoint = Endpoint::chat;
  std::string model;  ///< as the client spelt it
  bool stream = false;
  bool include_usage = false;
  std::vector<std::string> warnings;
  Circumstances here;
  std::uint64_t load_ns = 0;
  std::uint32_t prompt_tokens = 0;   ///< of all prompts together
  std::uint32_t dropped_tokens = 0;  ///< by the plan
};

/// One body, known when the plan is made but for the time.
std::unique_ptr<Answer> make_ready_answer(AnswerBasis basis,
                                          std::function<Json(const AnswerBasis&, Moment)> body);

/// What /api/generate and /api/chat need beside.
struct NativeExtras {
  std::vector<Token> context;  ///< ids of the prompt; empty: the answer gives no context
  std::shared_ptr<const Tokenizer> tokenizer;
};
std::unique_ptr<Answer> make_native_answer(AnswerBasis basis, NativeExtras extras);
/// The last frame of a request that only loads or unloads.
Json native_load_body(const AnswerBasis& basis, bool unload, Moment now);

std::unique_ptr<Answer> make_openai_chat_answer(AnswerBasis basis, std::uint32_t n);

struct CompletionExtras {
  std::uint32_t n = 1;
  std::uint32_t best_of = 1;
  bool logprobs = false;
  std::vector<std::string> echoes;  ///< a prompt each, or empty
  std::size_t prompts = 1;
};
std::unique_ptr<Answer> make_completion_answer(AnswerBasis basis, CompletionExtras extras);

std::unique_ptr<Answer> make_responses_answer(AnswerBasis basis, const std::string& echo_json,
                                              std::shared_ptr<const Tokenizer> tokenizer);
std::unique_ptr<Answer> make_anthropic_answer(AnswerBasis basis, std::vector<std::string> stops);

std::unique_ptr<Answer> make_embedding_answer(AnswerBasis basis, std::size_t texts, bool base64);
/// Job 0 is the query.
std::unique_ptr<Answer> make_rerank_answer(AnswerBasis basis, RerankAsked asked);

}  // namespace lm::api
