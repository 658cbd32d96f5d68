/// A prompt is a list of segments, never one string: text of templates may spell special tokens,
/// text of messages never does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// One piece of a prompt.
struct PromptSegment {
  enum class Kind : std::uint8_t { text, media };
  Kind kind = Kind::text;
  std::string text;
  SpecialTokens special = SpecialTokens::as_text;
  std::uint32_t media_index = 0;  ///< kind media: which attachment of the request stands here
};

using Prompt = std::vector<PromptSegment>;

/// The prompt as one string, for people (`lm debug render`). Never tokenised from this form.
std::string to_text(const Prompt& prompt);

/// Ids of a prompt, with BOS in front when the vocabulary wants one (`add_bos`) and the prompt does
/// not begin with it already (templates often write it themselves). Neighbouring text segments are
/// encoded as one text, so that words may span template and message as they did in training; each
/// keeps its own special-token rule. Media give no ids.
std::vector<Token> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt, bool add_bos);

}  // namespace lm
