#include "tests/crash/sweep.h"

#include <sstream>

#include "tests/crash/tally.h"

namespace lm::crash {
namespace {

/// Only what differs is worth reading in a failed test.
std::string summary(const Models& models) {
  std::string text;
  for (const auto& [name, content] : models) {
    text += name + " = " + content + "\n";
  }
  return text;
}

std::size_t error_lines(const std::string& text) {
  std::size_t n = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    n += line.starts_with("Error: ") ? 1 : 0;
  }
  return n;
}

}  // namespace

void Sweep::SetUp() {
  prepared_ = std::make_unique<Sandbox>(base_sandbox());
  if (command().prepare) {
    command().prepare(*prepared_);
  }
  before_ = look_at(*prepared_).models;
  const Sandbox trial = fresh();
  const test::Finished done = run_lm(trial, command().words(trial));
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const StoreView view = look_at(trial);
  ASSERT_TRUE(view.lost.empty());
  after_ = view.models;
}

Sandbox Sweep::fresh() const {
  Sandbox copy(*prepared_);
  if (command().settle) {
    EXPECT_EQ(listed(copy), names_of(before_));
  }
  return copy;
}

Outcome Sweep::run(const Sandbox& sandbox, const Plan& plan) const {
  return run_lm(sandbox, command().words(sandbox), plan);
}

std::uint64_t Sweep::calls_of(std::uint32_t kinds) const {
  const Outcome outcome = run(fresh(), {.counted = kinds});
  EXPECT_EQ(outcome.process.exit_code, 0) << outcome.process.err;
  EXPECT_GT(outcome.calls, 0u) << "nothing was counted: is the library preloaded?";
  return outcome.calls;
}

void Sweep::expect_models(const Sandbox& sandbox, bool before_will_do) const {
  const std::set<std::string> names = listed(sandbox);  // heals what there is to heal
  const StoreView view = look_at(sandbox);
  EXPECT_EQ(names, names_of(view.models)) << "what is listed is not what is there";
  for (const std::string& lost : view.lost) {
    ADD_FAILURE() << "lost: " << lost;
  }
  const bool right = view.models == after_ || (before_will_do && view.models == before_);
  EXPECT_TRUE(right) << "found:\n"
                     << summary(view.models) << "before:\n"
                     << summary(before_) << "after:\n"
                     << summary(after_);
  count_lost(view.lost.size() + (right ? 0 : 1));
}

void Sweep::expect_before_or_after(const Sandbox& sandbox) const {
  expect_models(sandbox, true);
}

void Sweep::expect_after(const Sandbox& sandbox) const {
  expect_models(sandbox, false);
}

void Sweep::expect_right_end(const Sandbox& sandbox, const test::Finished& process) const {
  EXPECT_FALSE(process.timed_out);
  EXPECT_EQ(process.signal, 0);
  if (process.exit_code == 0) {
    EXPECT_EQ(error_lines(process.err), 0u) << process.err;
    expect_after(sandbox);
    return;
  }
  EXPECT_EQ(process.exit_code, 1) << process.err;
  EXPECT_EQ(error_lines(process.err), 1u) << process.err;
  expect_before_or_after(sandbox);
}

void Sweep::expect_recovery(const Sandbox& sandbox) const {
  expect_before_or_after(sandbox);
  const test::Finished again = run_lm(sandbox, command().words(sandbox));
  EXPECT_EQ(again.exit_code, 0) << "the second run must succeed; signal " << again.signal << "\n"
                                << again.err;
  prune_all(sandbox);
  expect_after(sandbox);
  const test::Finished verified = run_lm(sandbox, {"verify"});
  EXPECT_EQ(verified.exit_code, 0) << "lm verify: " << verified.err;
  const std::vector<std::string> left = leaked(sandbox);
  for (const std::string& file : left) {
    ADD_FAILURE() << "leaked: " << file;
  }
  count_leaked(left.size());
}

}  // namespace lm::crash
