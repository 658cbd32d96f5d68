#include "runtime/sample/logit_scan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace lm {
namespace {

constexpr std::size_t kRun = 32;

using Floats __attribute__((vector_size(16))) = float;
using Ints __attribute__((vector_size(16))) = int;
constexpr std::size_t kLanes = sizeof(Floats) / sizeof(float);

/// Maximum of one whole run; `nan` collects lanes that hold no number.
float run_maximum(const float* values, Ints& nan) {
  Floats best;
  std::memcpy(&best, values, sizeof(best));
  nan |= best != best;
  for (std::size_t i = kLanes; i < kRun; i += kLanes) {
    Floats next;
    std::memcpy(&next, values + i, sizeof(next));
    nan |= next != next;
    best = next > best ? next : best;
  }
  return std::max(std::max(best[0], best[1]), std::max(best[2], best[3]));
}

}  // namespace

void LogitScan::scan(std::span<const float> logits) {
  logits_ = logits;
  maxima_.clear();
  maxima_.reserve(logits.size() / kRun + 1);
  Ints nan = {0, 0, 0, 0};
  std::size_t i = 0;
  for (; i + kRun <= logits.size(); i += kRun) {
    maxima_.push_back(run_maximum(logits.data() + i, nan));
  }
  bool any_nan = (nan[0] | nan[1] | nan[2] | nan[3]) != 0;
  if (i < logits.size()) {
    float last = -HUGE_VALF;
    for (; i < logits.size(); ++i) {
      any_nan = any_nan || std::isnan(logits[i]);
      last = std::max(last, logits[i]);
    }
    maxima_.push_back(last);
  }
  best_ = maxima_.empty() ? -HUGE_VALF : *std::max_element(maxima_.begin(), maxima_.end());
  valid_ = !logits.empty() && !any_nan && best_ != HUGE_VALF;
}

Token LogitScan::argmax() const {
  const auto run =
      static_cast<std::size_t>(std::find(maxima_.begin(), maxima_.end(), best_) - maxima_.begin());
  std::size_t at = run * kRun;
  while (logits_[at] != best_) {
    ++at;
  }
  return static_cast<Token>(at);
}

void LogitScan::top(std::size_t k, std::vector<Candidate>& out) {
  out.clear();
  const std::size_t n = logits_.size();
  const bool all = k == 0 || k >= n;
  float floor = -HUGE_VALF;
  if (!all && k < maxima_.size()) {
    scratch_ = maxima_;
    const auto kth = scratch_.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(scratch_.begin(), kth, scratch_.end(), std::greater<>());
    floor = *kth;
  }
  for (std::size_t run = 0; run < maxima_.size(); ++run) {
    if (maxima_[run] < floor) {
      continue;
    }
    const std::size_t end = std::min(n, (run + 1) * kRun);
    for (std::size_t i = run * kRun; i < end; ++i) {
      if (logits_[i] >= floor && logits_[i] != -HUGE_VALF) {
        out.push_back({static_cast<Token>(i), logits_[i]});
      }
    }
  }
  if (!all && k < out.size()) {
    const auto end = out.begin() + static_cast<std::ptrdiff_t>(k);
    std::nth_element(out.begin(), end, out.end(), better);
    out.erase(end, out.end());
  }
  std::sort(out.begin(), out.end(), better);
}

double LogitScan::log_sum_exp() const {
  double sum = 0.0;
  for (const float value : logits_) {
    sum += static_cast<double>(std::exp(value - best_));
  }
  return static_cast<double>(best_) + std::log(sum);
}

}  // namespace lm
