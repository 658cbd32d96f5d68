#include "runtime/sample/mirostat.h"

#include <cmath>

namespace lm {

void Mirostat::cut(std::vector<Weighted>& sorted) const {
  std::size_t n = 1;
  double sum = sorted.front().p;
  while (n < sorted.size() && -std::log2(sorted[n].p) <= mu_) {
    sum += sorted[n++].p;
  }
  sorted.resize(n);
  for (Weighted& candidate : sorted) {
    candidate.p /= sum;
  }
}

void Mirostat::took(double p) {
  mu_ -= eta_ * (-std::log2(p) - tau_);
}

}  // namespace lm
