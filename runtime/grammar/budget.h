/// What compiling and running a grammar may cost.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>

namespace lm::grammar {

constexpr std::uint64_t kMaxStates = 100'000;         ///< of a compile
constexpr std::uint64_t kMaxRepetition = 65'536;      ///< a larger least count is refused
constexpr int kMaxDepth = 64;                         ///< nesting of schemas, patterns, groups
constexpr std::size_t kMaxSourceBytes = 1u << 20;     ///< of a grammar or schema text
constexpr std::size_t kMaxPatternBytes = 16u << 10;   ///< of one regular expression
constexpr std::uint64_t kMaxBytes = 64u << 20;        ///< states, rows and stacks together
constexpr std::size_t kMaxStacks = 10'000;            ///< live at one position
constexpr std::chrono::milliseconds kMaxTime{1'000};  ///< of a compile, and of one mask

/// Counts states and bytes of one grammar, and the thread's time of what runs now. Once something
/// ran over, `spent` stays true and everything built from then on is the empty language; the caller
/// looks at `spent` at the end of each step and turns it into one error.
class Budget {
 public:
  /// A new phase (a compile, a mask) begins: time and states are counted from here. `spent` stays.
  void start_phase() {
    states_ = 0;
    deadline_ = thread_time() + kMaxTime;
  }
  /// `n` more states or steps of comparable cost. False when over.
  bool state(std::uint64_t n = 1) {
    states_ += n;
    if (states_ > kMaxStates) {
      spend("needs more than 100000 states");
    }
    return tick(n);
  }
  /// Cheap work: only the clock limits it.
  bool tick(std::uint64_t n = 1) {
    ticks_ += n;
    if (ticks_ >= 4096) {
      ticks_ = 0;
      if (thread_time() > deadline_) {
        spend("takes more than a second");
      }
    }
    return !spent_;
  }
  bool memory(std::uint64_t n) {
    bytes_ += n;
    if (bytes_ > kMaxBytes) {
      spend("needs more than 64 MiB");
    }
    return !spent_;
  }
  void spend(const char* why) {
    if (!spent_) {
      why_ = why;
    }
    spent_ = true;
  }
  bool spent() const { return spent_; }
  /// Half of the memory is used: others had better begin with a fresh grammar.
  bool worn() const { return bytes_ > kMaxBytes / 2; }
  /// "needs more than ...": a predicate, fit for Error.problem.
  const char* why() const { return why_; }

 private:
  /// Time that this thread has computed: a busy machine does not make a schema too large.
  static std::chrono::nanoseconds thread_time() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  }

  std::uint64_t states_ = 0, ticks_ = 0, bytes_ = 0;
  std::chrono::nanoseconds deadline_ = thread_time() + kMaxTime;
  bool spent_ = false;
  const char* why_ = "";
};

}  // namespace lm::grammar
