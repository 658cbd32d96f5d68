/// Tokens that may come next, on their way through the sampler.
#pragma once

#include <unordered_map>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// One token that may come next.
struct Candidate {
  Token id;
  float logit;
};

/// One token with its probability.
struct Weighted {
  Token id;
  double p;
};

/// Order of likelihood; of equals the lower id comes first, so that every pick is repeatable.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/// Where stages that change single logits find them: a whole row, or a shortlist.
class LogitView {
 public:
  explicit LogitView(std::vector<float>& row) : row_(&row) {}
  explicit LogitView(std::vector<Candidate>& shortlist) {
    for (Candidate& candidate : shortlist) {
      by_id_[candidate.id] = &candidate.logit;
    }
  }
  /// The logit of a token, or null when it is not among them.
  float* find(Token id) {
    if (row_ != nullptr) {
      return id >= 0 && static_cast<std::size_t>(id) < row_->size()
                 ? &(*row_)[static_cast<std::size_t>(id)]
                 : nullptr;
    }
    const auto at = by_id_.find(id);
    return at == by_id_.end() ? nullptr : at->second;
  }

 private:
  std::vector<float>* row_ = nullptr;
  std::unordered_map<Token, float*> by_id_;
};

}  // namespace lm
