#include "runtime/chat/jinja_budget.h"

#include <algorithm>

namespace lm::jinja {

namespace {

// The clock is read once per so many steps; a step walks at most 256 bytes or one element.
constexpr std::uint64_t kStepsPerClock = 1024;

}  // namespace

Budget::Budget(const TemplateBudget& limits)
    : limits_(limits),
      deadline_(std::chrono::steady_clock::now() + std::chrono::milliseconds(limits.wall_ms)) {}

std::unexpected<std::unique_ptr<Failure>> Budget::fail(std::string message, ErrorCode code) const {
  return std::unexpected(std::make_unique<Failure>(Failure{code, line, std::move(message)}));
}

std::unexpected<std::unique_ptr<Failure>> Budget::over(const char* what) const {
  return fail(std::string("budget of ") + what + " exceeded");
}

Eval<void> Budget::check_steps() {
  if (steps_ > limits_.steps) {
    return over("steps");
  }
  if (std::chrono::steady_clock::now() > deadline_) {
    return over("time");
  }
  next_check_ = std::min(steps_ + kStepsPerClock, limits_.steps + 1);
  return {};
}

Eval<void> Budget::charge_output(std::uint64_t bytes) {
  if (bytes > limits_.output_bytes - output_bytes_) {
    return over("output bytes");
  }
  output_bytes_ += bytes;
  return {};
}

Eval<void> Budget::enter_macro() {
  if (macro_depth_ >= limits_.macro_depth) {
    return over("macro depth");
  }
  ++macro_depth_;
  return {};
}

}  // namespace lm::jinja
