/// How many connections a download keeps. hub-protocol.md 10: start with 4, add one while that
/// makes the whole faster, drop one when the other side pushes back.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lm::registry {

class ConnectionGovernor {
 public:
  static constexpr unsigned kStart = 4;
  static constexpr unsigned kCap = 8;
  static constexpr double kWorthwhile =
      1.10;  ///< growth of the total speed that keeps a new connection

  /// `fixed` 1..16: that number, always; 0: automatic.
  explicit ConnectionGovernor(unsigned fixed)
      : fixed_(fixed != 0), target_(fixed != 0 ? std::min(fixed, 16u) : kStart) {}

  unsigned target() const { return target_; }

  /// Total speed over the last 2 s, with all connections busy.
  void on_interval(double bytes_per_second) {
    if (fixed_) {
      return;
    }
    pushed_back_ = false;
    if (settled_) {
      // Lines change: after a quiet while it is worth another try.
      settled_ = ++quiet_ < kQuietIntervals;
      trying_ = false;
      before_ = bytes_per_second;
      return;
    }
    if (trying_ && bytes_per_second < before_ * kWorthwhile) {
      --target_;
      settle();
      return;
    }
    before_ = bytes_per_second;
    trying_ = target_ < kCap;
    target_ += trying_ ? 1 : 0;
    if (!trying_) {
      settle();
    }
  }

  /// 429, 503 or a reset. Several in one interval are one event seen by several connections.
  void on_pushback() {
    if (!fixed_ && !pushed_back_) {
      pushed_back_ = true;
      target_ = std::max(1u, target_ - 1);
      settle();
    }
  }

 private:
  static constexpr int kQuietIntervals = 15;

  void settle() {
    settled_ = true;
    quiet_ = 0;
  }

  bool fixed_;
  bool settled_ = false;
  bool trying_ = false;
  bool pushed_back_ = false;
  int quiet_ = 0;
  unsigned target_;
  double before_ = 0;
};

}  // namespace lm::registry
