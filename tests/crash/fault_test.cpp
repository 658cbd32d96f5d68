// Makes calls of `lm` fail, once and from then on, also while it recovers from a crash (promise S4
// of the store).
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "tests/crash/sweep.h"
#include "tests/crash/tally.h"

namespace lm::crash {
namespace LM_FILE {

std::string error_name(int error) {
  return error == kShortWrite ? "a short write" : std::strerror(error);
}

class FaultSweep : public Sweep {
 protected:
  /// One command under a plan, and all that must hold then and after a second run.
  void try_fault(const Sandbox& sandbox, const Plan& plan, Tried what) {
    const Outcome outcome = run(sandbox, plan);
    SCOPED_TRACE(fmt::format("{}, call {} ({}): {}{}\nstdout: {}\nstderr: {}", command().name,
                             plan.at, outcome.hit, error_name(plan.error),
                             plan.fault == Fault::fail_from ? " from then on" : "",
                             outcome.process.out, outcome.process.err));
    expect_right_end(sandbox, outcome.process);
    if (outcome.process.exit_code != 0) {
      const std::string& text = outcome.process.err;
      EXPECT_NE(text.find(sandbox.root().native()), std::string::npos) << "which file";
      // SQLite answers some failures by trying another way, and then tells of that; a store that
      // can't be written at all is told in words of ours.
      const bool other_words = text.find("SQLite: ") != std::string::npos ||
                               (plan.error == EROFS && text.find("read-only") != std::string::npos);
      EXPECT_TRUE(other_words || text.find(error_name(plan.error)) != std::string::npos)
          << "what the system said";
    }
    expect_recovery(sandbox);
    if (outcome.hits > 0) {
      count(what);
    }
  }

  /// Every chosen call of these kinds, the errors in turns.
  void sweep(std::uint32_t kinds, std::span<const int> errors, std::size_t n_sample, Fault fault,
             std::size_t most = SIZE_MAX) {
    const std::uint64_t n_calls = calls_of(kinds);
    const auto chosen =
        points(n_calls, n_sample, fmt::format("fault {} {}", command().name, kinds), most);
    for (const std::uint64_t at : chosen) {
      const std::size_t turn = at + sweep_seed() + (fault == Fault::fail_from ? 1u : 0u);
      const Sandbox sandbox = fresh();
      try_fault(sandbox,
                {.counted = kinds, .fault = fault, .at = at, .error = errors[turn % errors.size()]},
                Tried::io_faults);
      ASSERT_FALSE(HasFailure());
    }
  }
};

TEST_P(FaultSweep, FailsWithAMessage) {
  constexpr std::array kErrors{ENOSPC, EIO, EDQUOT, EROFS};
  sweep(kChanges, kErrors, 4, Fault::fail_once);
  sweep(kChanges, kErrors, 4, Fault::fail_from);
}

TEST_P(FaultSweep, OpensAndReadsFailOthersAreCutShort) {
  constexpr std::array kOpenErrors{EMFILE, EIO};
  constexpr std::array kReadErrors{EIO};
  constexpr std::size_t kMost = 12;
  sweep(kOpens, kOpenErrors, 1, Fault::fail_once, kMost);
  sweep(kOpens, kOpenErrors, 1, Fault::fail_from, kMost);
  sweep(kReads, kReadErrors, 1, Fault::fail_once, kMost);
  // What a signal interrupts and what is written only by half is done again.
  constexpr std::array kPassing{EINTR, static_cast<int>(kShortWrite)};
  sweep(kChanges, kPassing, 2, Fault::fail_once, kMost);
}

TEST_P(FaultSweep, FailsWhileRecoveringFromACrash) {
  constexpr std::array kErrors{ENOSPC, EIO, EDQUOT, EROFS};
  // A log left by a crash beside a disk that stays bad: SQLite alone tries for a minute.
  const bool lasting = full_sweep();
  const std::uint64_t n_calls = calls_of(kChanges);
  for (const std::uint64_t at : points(n_calls, 2, "compound " + command().name, 8)) {
    Sandbox crashed = fresh();
    const Outcome crash = run(crashed, {.fault = Fault::kill, .at = at});
    if (crash.hits == 0) {
      continue;
    }
    const std::string hit = crash.hit;
    const std::uint64_t n_more = run(Sandbox(crashed), {}).calls;
    for (const std::uint64_t again :
         points(n_more, 1, fmt::format("again {} {}", command().name, at), 2)) {
      SCOPED_TRACE(fmt::format("after a kill at call {} ({})", at, hit));
      const Sandbox sandbox(crashed);
      try_fault(sandbox,
                {.fault = lasting && again % 2 == 1 ? Fault::fail_from : Fault::fail_once,
                 .at = again,
                 .error = kErrors[(at + again) % kErrors.size()]},
                Tried::compound_faults);
      ASSERT_FALSE(HasFailure());
    }
  }
}

LM_SWEEP_ALL_COMMANDS(FaultSweep);

}  // namespace LM_FILE
}  // namespace lm::crash
