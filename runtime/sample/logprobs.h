/// How likely a token was, and what else was likely in its place.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/sample/logit_scan.h"

namespace lm {

constexpr std::uint8_t kMaxTopLogprobs = 20;

struct TokenLogprob {
  Token id = 0;
  float logprob = 0.0f;
  std::string bytes;  ///< the token's text, not necessarily UTF-8 by itself
  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

/// One generated token with the best alternatives (which may hold the token itself).
struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  ///< best first
  friend bool operator==(const TokenLogprobs&, const TokenLogprobs&) = default;
};

/// Log-probabilities of the model itself (temperature 1, before any sampling option). `scan` is
/// scratch.
TokenLogprobs token_logprobs(std::span<const float> logits, Token chosen, std::size_t n_top,
                             const Tokenizer& tokenizer, LogitScan& scan);

}  // namespace lm
