/// What one render may cost, and how it fails. Templates come from files: every step and every byte
/// is charged before it is spent, so a hostile template ends with an error, never with the
/// machine's memory or time.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "backends/error.h"
#include "runtime/chat/chat_template.h"

namespace lm::jinja {

class Object;

/// Why a render or a compilation ended. Kept on the heap: results stay two words wide in deep
/// recursion.
struct Failure {
  ErrorCode code = ErrorCode::bad_template;
  std::uint32_t line = 0;
  std::string message;
};

template <class T>
using Eval = std::expected<T, std::unique_ptr<Failure>>;

/// Counts steps, live bytes, depth and time of one render. Must outlive every value made with it.
class Budget {
 public:
  explicit Budget(const TemplateBudget& limits);
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  /// An error of the template at the current line.
  std::unexpected<std::unique_ptr<Failure>> fail(std::string message,
                                                 ErrorCode code = ErrorCode::bad_template) const;

  /// Charges `n` steps: one a node, one an element, and one per 256 bytes that an operation walks.
  Eval<void> step(std::uint64_t n = 1) {
    steps_ += n;
    if (steps_ < next_check_) [[likely]] {
      return {};
    }
    return check_steps();
  }
  Eval<void> step_bytes(std::uint64_t bytes) { return step(1 + bytes / 256); }

  /// Charges memory before it is allocated; `give_back` when it is freed.
  Eval<void> charge(std::uint64_t bytes) {
    if (bytes > limits_.live_bytes - live_bytes_) {
      return over("live bytes");
    }
    live_bytes_ += bytes;
    return {};
  }
  void give_back(std::uint64_t bytes) { live_bytes_ -= bytes; }

  /// Charges bytes of the final prompt.
  Eval<void> charge_output(std::uint64_t bytes);

  /// Macro calls and recursive loops on the way to here.
  Eval<void> enter_macro();
  void leave_macro() { --macro_depth_; }

  /// Nested evaluations on the way to here: what keeps the C++ stack bounded.
  Eval<void> enter() {
    if (++depth_ <= kMaxDepth) [[likely]] {
      return {};
    }
    --depth_;
    return over("nesting");
  }
  void leave() { --depth_; }

  std::uint64_t live_bytes() const { return live_bytes_; }

  std::uint32_t line = 1;  ///< of the node that is being evaluated
  Object* dead =
      nullptr;  ///< objects without references, waiting to be deleted one after the other
  bool burying = false;

 private:
  // A test renders the deepest templates on a stack of 4 MiB; with address sanitizing they still
  // fit.
  static constexpr std::uint32_t kMaxDepth = 1000;

  Eval<void> check_steps();
  std::unexpected<std::unique_ptr<Failure>> over(const char* what) const;

  const TemplateBudget limits_;
  std::uint64_t steps_ = 0, next_check_ = 0, live_bytes_ = 0, output_bytes_ = 0;
  std::uint32_t macro_depth_ = 0, depth_ = 0;
  std::chrono::steady_clock::time_point deadline_;
};

/// Holds one level of evaluation for as long as it lives.
class Nested {
 public:
  explicit Nested(Budget& budget) : budget_(budget), entered_(budget.enter()) {}
  ~Nested() {
    if (entered_) {
      budget_.leave();
    }
  }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;
  Eval<void>& entered() { return entered_; }

 private:
  Budget& budget_;
  Eval<void> entered_;
};

}  // namespace lm::jinja

/// Enters one level of evaluation until the end of the block, or returns the error.
#define LM_NESTED(budget)                \
  ::lm::jinja::Nested lm_nested(budget); \
  if (!lm_nested.entered())              \
  return std::unexpected(std::move(lm_nested.entered()).error())
