/// A common speed limit of several connections: a bucket that fills with time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace lm::registry {

class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit RateLimiter(std::uint64_t bytes_per_second)
      : rate_(static_cast<double>(bytes_per_second)) {}

  /// Whether bytes may be taken now. A block larger than what is left is taken whole and paid for
  /// afterwards.
  bool allows(Time now) {
    if (rate_ <= 0) {
      return true;
    }
    const double seconds = std::chrono::duration<double>(now - last_).count();
    // At most a quarter of a second is saved up, so that a pause is not followed by a burst.
    credit_ = std::min(credit_ + std::max(seconds, 0.0) * rate_, rate_ / 4);
    last_ = now;
    return credit_ > 0;
  }
  void take(std::uint64_t bytes) {
    if (rate_ > 0) {
      credit_ -= static_cast<double>(bytes);
    }
  }

 private:
  double rate_;
  double credit_ = 0;
  Time last_ = std::chrono::steady_clock::now();
};

}  // namespace lm::registry
