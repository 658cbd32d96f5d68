// Ends `lm` by SIGKILL at its state-changing calls, and at random times (promises S1 and S2 of the
// store).
#include <csignal>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "tests/crash/sweep.h"
#include "tests/crash/tally.h"

namespace lm::crash {
namespace LM_FILE {

class KillSweep : public Sweep {
 protected:
  void kill_at_calls();
  void kill_at_random_times();
};

TEST_P(KillSweep, LeavesTheStoreBeforeOrAfter) {
  kill_at_calls();
  if (!HasFailure()) {
    kill_at_random_times();
  }
}

void KillSweep::kill_at_calls() {
  // Threads may make a few calls more or fewer from run to run: a full sweep goes on until none is
  // hit.
  const std::uint64_t n_calls = calls_of(kChanges);
  std::vector<std::uint64_t> chosen = points(n_calls, 5, "kill " + command().name);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    for (const Fault fault : {Fault::kill, Fault::kill_torn}) {
      const Sandbox sandbox = fresh();
      const Outcome outcome = run(sandbox, {.fault = fault, .at = chosen[i]});
      SCOPED_TRACE(
          fmt::format("{} killed at call {} ({})", command().name, chosen[i], outcome.hit));
      if (outcome.hits == 0) {
        expect_right_end(sandbox, outcome.process);
        break;
      }
      ASSERT_TRUE(outcome.killed()) << outcome.process.exit_code << outcome.process.err;
      expect_recovery(sandbox);
      ASSERT_FALSE(HasFailure());
      count(Tried::kill_points);
      if (full_sweep() && chosen[i] == chosen.back()) {
        chosen.push_back(chosen[i] + 1);
      }
      // Half a write is another crash; half of anything else is none.
      if (!outcome.hit.starts_with("write ") && !outcome.hit.starts_with("pwrite ")) {
        break;
      }
    }
  }
}

void KillSweep::kill_at_random_times() {
  const int rounds = full_sweep() ? 25 : 1;
  std::seed_seq seed{sweep_seed(), GetParam()};
  std::mt19937_64 random(seed);
  // How long the command takes is what the times are drawn from.
  const Sandbox trial = fresh();
  const auto begin = std::chrono::steady_clock::now();
  run_lm(trial, command().words(trial));
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  for (int round = 0; round < rounds; ++round) {
    const Sandbox sandbox = fresh();
    const std::chrono::microseconds when(random() % static_cast<std::uint64_t>(took.count()));
    SCOPED_TRACE(fmt::format("{} killed after {} us", command().name, when.count()));
    {
      test::Background process(command_line(command().words(sandbox)), environment_of(sandbox));
      std::this_thread::sleep_for(when);
      process.send(SIGKILL);
      process.wait(std::chrono::seconds(60));
    }
    expect_recovery(sandbox);
    ASSERT_FALSE(HasFailure());
    count(Tried::random_kills);
  }
}

LM_SWEEP_ALL_COMMANDS(KillSweep);

}  // namespace LM_FILE
}  // namespace lm::crash
