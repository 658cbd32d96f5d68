/// Whether drafting pays for one request, and how far ahead.
#pragma once

#include <cstdint>

namespace lm {

/// Decides by what became of the drafts so far. Only counts go in, no times: the same request gets
/// the same drafts and therefore the same text, every time.
class Speculation {
 public:
  /// `limit`: tokens drafted a step at most; 0 switches drafting off.
  explicit Speculation(std::uint32_t limit) : limit_(limit) {}

  /// Tokens to draft for the next step. Each costs a part of a step whether it is right or not, so
  /// that drafting rests for a while where fewer than a third were right lately.
  std::uint32_t wanted() const { return rest_ > 0 ? 0 : limit_; }
  /// Tells what became of a step: how many tokens were drafted and how many of them were right.
  void note(std::uint32_t drafted, std::uint32_t accepted) {
    if (drafted == 0) {
      rest_ -= rest_ > 0 ? 1 : 0;
      return;
    }
    const double right = static_cast<double>(accepted) / drafted;
    rate_ += kSmoothing * (right - rate_);
    if (rate_ < kWorthwhile) {
      rest_ = kRest;
      // After the rest two bad steps are enough to rest again.
      rate_ = kWorthwhile + kSmoothing * kWorthwhile;
    }
  }

 private:
  static constexpr double kSmoothing = 0.15;
  static constexpr double kWorthwhile = 0.35;
  static constexpr std::uint32_t kRest = 32;

  std::uint32_t limit_;
  double rate_ = 0.6;  ///< share of right tokens, smoothed; begins with trust
  std::uint32_t rest_ = 0;
};

}  // namespace lm
