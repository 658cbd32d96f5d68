/// Penalties for tokens that were there already: repeat, presence, frequency.
#pragma once

#include <unordered_map>
#include <vector>

#include "runtime/sample/candidate.h"
#include "runtime/sample/sampler_params.h"

namespace lm {

/// Counts the tokens of the last `repeat_last_n` and lowers their logits: divided by the repeat
/// penalty where positive, multiplied where negative (CTRL, Keskar et al. 2019), then less
/// presence_penalty and frequency_penalty times the count.
class RepeatPenalty {
 public:
  explicit RepeatPenalty(const SamplerParams& params);

  bool active() const { return active_; }
  void accept(Token token);
  void apply(LogitView& logits) const;

 private:
  double repeat_, presence_, frequency_;
  std::size_t window_;  ///< 0: everything
  bool active_;
  std::vector<Token> history_;  ///< a ring once it holds `window_` tokens
  std::size_t next_ = 0;
  std::unordered_map<Token, std::uint32_t> count_;
};

}  // namespace lm
