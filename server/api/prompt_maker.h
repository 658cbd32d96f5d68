/// From a conversation to the ids of a prompt that fits.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/chat/message.h"
#include "runtime/chat/prompt.h"
#include "server/api/api_error.h"
#include "server/api/asked.h"
#include "server/api/model_facts.h"

namespace lm::api {

struct MadePrompt {
  Prompt prompt;              ///< as it was rendered
  std::vector<Token> ids;     ///< BOS included where the vocabulary wants it
  std::uint32_t dropped = 0;  ///< tokens that had to go
};

/// How prompts are to be made.
struct PromptRules {
  const Tokenizer& tokenizer;
  const ChatFormat& format;
  Think think;
  std::string tools_json;
  std::uint32_t n_ctx = 0;  ///< 0: no limit is known
  std::uint32_t room = 0;   ///< of it, what a prompt may take
  Dress dress = Dress::native;
};

/// Renders messages with one template.
class PromptMaker {
 public:
  explicit PromptMaker(PromptRules rules) : rules_(std::move(rules)) {}

  /// Renders, in other words when the template refuses these: neighbours of one role are put
  /// together, then the system's text goes into the user's first message; each with a warning.
  /// `truncate`: oldest messages go until the rest fits (never the system's, nor the last). Errors:
  /// context_length_exceeded, what the template refuses, a bad template (500).
  ApiResult<MadePrompt> conversation(std::vector<Message> messages, bool truncate,
                                     std::vector<std::string>& warnings) const;

  /// The same for one text, whose front goes after `n_keep` tokens (-1: none).
  ApiResult<MadePrompt> text(std::vector<Message> messages, bool truncate, std::int32_t n_keep,
                             std::vector<std::string>& warnings) const;

 private:
  Result<Prompt> render(std::vector<Message>& messages, std::vector<std::string>& warnings) const;
  ApiResult<MadePrompt> made(Prompt prompt) const;
  bool fits(std::size_t tokens) const { return rules_.room == 0 || tokens <= rules_.room; }
  /// What a prompt is cut to: room is left for an answer.
  std::size_t goal() const;

  PromptRules rules_;
};

/// The error of a prompt of `tokens` that does not fit, as `dress` says it.
ApiError too_long(Dress dress, std::size_t tokens, std::size_t context);

}  // namespace lm::api
