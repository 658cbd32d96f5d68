// Lets `lm` run out of memory at its requests for it, once and from then on (promise S12 of the
// store).
#include <cerrno>

#include <fmt/format.h>

#include "tests/crash/sweep.h"
#include "tests/crash/tally.h"

namespace lm::crash {
namespace LM_FILE {

class MemorySweep : public Sweep {};

TEST_P(MemorySweep, EndsWithAMessage) {
  {
    // Without any memory nothing is done, and that is said.
    const Sandbox sandbox = fresh();
    const Plan plan{.counted = kMemory, .fault = Fault::fail_from, .at = 1, .error = ENOMEM};
    const Outcome outcome = run(sandbox, plan);
    ASSERT_EQ(outcome.process.exit_code, 1) << outcome.process.signal << outcome.process.err;
    ASSERT_EQ(outcome.process.err,
              "Error: out of memory; close other programs or take a smaller model\n");
  }
  const std::uint64_t n_calls = calls_of(kMemory);
  for (const Fault fault : {Fault::fail_once, Fault::fail_from}) {
    const auto salt = fmt::format("memory {} {}", command().name, static_cast<int>(fault));
    for (const std::uint64_t at : points(n_calls, 3, salt, 24)) {
      const Sandbox sandbox = fresh();
      const Outcome outcome =
          run(sandbox, {.counted = kMemory, .fault = fault, .at = at, .error = ENOMEM});
      SCOPED_TRACE(fmt::format("{}: no memory at request {} of {}{}\nstderr: {}", command().name,
                               at, n_calls, fault == Fault::fail_from ? " and from then on" : "",
                               outcome.process.err));
      expect_right_end(sandbox, outcome.process);
      if (outcome.process.exit_code != 0) {
        EXPECT_NE(outcome.process.err.find("memory"), std::string::npos);
      }
      expect_recovery(sandbox);
      ASSERT_FALSE(HasFailure());
      if (outcome.hits > 0) {
        count(Tried::malloc_faults);
      }
    }
  }
}

LM_SWEEP_ALL_COMMANDS(MemorySweep);

}  // namespace LM_FILE
}  // namespace lm::crash
