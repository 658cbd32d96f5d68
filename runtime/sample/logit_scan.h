/// One pass over the logits of a vocabulary that makes the best few cheap to find.
#pragma once

#include <span>
#include <vector>

#include "runtime/sample/candidate.h"

namespace lm {

/// The largest value of each run of 32 logits. The best token lies in the best run; the k best lie
/// in runs whose maximum is at least the k-th largest of all maxima, which leaves a few hundred
/// values of a vocabulary of 128 k to look at. Reused without new memory.
class LogitScan {
 public:
  /// Looks at `logits`, which must live as long as the scan is asked.
  void scan(std::span<const float> logits);

  /// No NaN and no +Inf; -Inf stands for a token that is forbidden.
  bool valid() const { return valid_; }
  float best() const { return best_; }  ///< -Inf when nothing is allowed
  Token argmax() const;                 ///< the first of the best
  /// The k best (all when k is 0 or larger than the vocabulary) but for -Inf, best first.
  void top(std::size_t k, std::vector<Candidate>& out);
  /// Log of the sum of exp(logit) over all.
  double log_sum_exp() const;

 private:
  std::span<const float> logits_;
  std::vector<float> maxima_, scratch_;
  float best_ = 0.0f;
  bool valid_ = false;
};

}  // namespace lm
