#include "runtime/sample/repeat_penalty.h"

#include <algorithm>

namespace lm {

RepeatPenalty::RepeatPenalty(const SamplerParams& params)
    : repeat_(params.repeat_penalty),
      presence_(params.presence_penalty),
      frequency_(params.frequency_penalty),
      window_(static_cast<std::size_t>(std::max(params.repeat_last_n, 0))),
      active_(params.repeat_last_n != 0 &&
              (repeat_ != 1.0 || presence_ != 0.0 || frequency_ != 0.0)) {}

void RepeatPenalty::accept(Token token) {
  if (!active_) {
    return;
  }
  ++count_[token];
  if (window_ == 0) {
    return;
  }
  if (history_.size() < window_) {
    history_.push_back(token);
    return;
  }
  const auto leaving = count_.find(history_[next_]);
  if (--leaving->second == 0) {
    count_.erase(leaving);
  }
  history_[next_] = token;
  next_ = (next_ + 1) % window_;
}

void RepeatPenalty::apply(LogitView& logits) const {
  for (const auto& [token, n] : count_) {
    if (float* const logit = logits.find(token)) {
      double value = *logit;
      value = value > 0.0 ? value / repeat_ : value * repeat_;
      *logit = static_cast<float>(value - presence_ - frequency_ * n);
    }
  }
}

}  // namespace lm
