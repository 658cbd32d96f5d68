/// A text to be embedded: its tokens, and what is done with the vector.
#pragma once

#include <span>
#include <vector>

#include "runtime/engine/messages.h"

namespace lm {

struct EncodedText {
  std::vector<Token> tokens;
  std::uint32_t n_whole = 0;    ///< before anything was dropped
  std::uint32_t n_dropped = 0;  ///< from the end
};

/// Tokens of the text, with the vocabulary's begin and end tokens. A text longer than `n_ctx` loses
/// its end (the end token stays) when `truncate` says so. Errors: context_exceeded with both
/// numbers, invalid_argument (empty, ids out of range).
Result<EncodedText> encode_for_embedding(const Embed& embed, const Tokenizer& tokenizer,
                                         std::uint32_t n_ctx);

/// The first `dimensions` values (0: all), scaled to length 1 with `normalize`. Errors: non_finite,
/// invalid_argument (more dimensions than there are).
Result<std::vector<float>> finish_embedding(std::span<const float> values, std::uint32_t dimensions,
                                            bool normalize);

}  // namespace lm
