/// What all sweeps over commands share: the store before and after a command, and what must hold
/// once it was interrupted.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/crash/commands.h"
#include "tests/crash/store_view.h"

namespace lm::crash {

/// Runs once for every command; the parameter is its place in `commands()`.
class Sweep : public testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override;

  const Command& command() const { return commands()[GetParam()]; }
  /// The prepared store, ready for one run.
  Sandbox fresh() const;
  /// Runs the command with a plan.
  Outcome run(const Sandbox& sandbox, const Plan& plan) const;
  /// How many calls of these kinds the command makes when nothing goes wrong.
  std::uint64_t calls_of(std::uint32_t kinds) const;

  /// The models are those from before or from after the command, all of them whole (promise S1).
  void expect_before_or_after(const Sandbox& sandbox) const;
  void expect_after(const Sandbox& sandbox) const;
  /// The command ended itself: exit 0 and its work done, or exit 1 and one line that says why.
  void expect_right_end(const Sandbox& sandbox, const test::Finished& process) const;
  /// As before or after; a second run does the work; clean-up leaves nothing (promises S1 and S2).
  void expect_recovery(const Sandbox& sandbox) const;

 private:
  void expect_models(const Sandbox& sandbox, bool before_will_do) const;

  std::unique_ptr<Sandbox> prepared_;
  Models before_;
  Models after_;
};

inline std::string command_name(const testing::TestParamInfo<std::size_t>& info) {
  return commands()[info.param].name;
}

#define LM_SWEEP_ALL_COMMANDS(sweep)                                                           \
  INSTANTIATE_TEST_SUITE_P(Commands, sweep, testing::Range(std::size_t{0}, commands().size()), \
                           command_name)

}  // namespace lm::crash
