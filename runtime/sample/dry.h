/// DRY ("don't repeat yourself"): a penalty for going on with a repetition, which grows with its
/// length.
#pragma once

#include <string>
#include <vector>

#include "runtime/sample/candidate.h"
#include "runtime/sample/sampler_params.h"

namespace lm {

/// Where the last m tokens stood in the text before, the token that followed them there loses
/// multiplier * base^(m - allowed_length), once m reaches allowed_length. A repetition ends at a
/// token that completes a sequence breaker; such tokens are never penalised. Source: the sampler of
/// this name by p-e-w (2024); matches of all lengths by the Z function (Gusfield 1997), in linear
/// time.
class Dry {
 public:
  /// `tokenizer` gives the texts that breakers are looked for in; null: there are none. It must
  /// live longer.
  Dry(const SamplerParams& params, const Tokenizer* tokenizer);

  bool active() const { return multiplier_ > 0.0 && last_n_ != 0; }
  void accept(Token token);
  void apply(LogitView& logits);

 private:
  bool completes_breaker(Token token);

  double multiplier_, base_;
  std::size_t allowed_length_;
  std::int32_t last_n_;
  std::vector<std::string> breakers_;
  const Tokenizer* tokenizer_;
  std::size_t longest_breaker_ = 0;
  std::string tail_;  ///< last bytes of the text, enough to see a breaker that spans tokens
  std::vector<Token> history_;
  std::vector<std::uint8_t> breaks_;  ///< [history_] whether the token completed a breaker
  std::vector<std::uint32_t> match_;  ///< scratch: Z function
};

}  // namespace lm
