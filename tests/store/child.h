// A child process that does a part of a test, and may be ended in the middle of it.
#pragma once

#include <cerrno>
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

#include "tests/store/fault_plan.h"
#include "tests/store/store_fixture.h"

namespace lm::store {

/// Runs `work` in a child; its exit status. No SQLite handle may be open here: none crosses fork.
template <class Work>
int in_child(Work work) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(work());
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/// The same with a plan that ends it at its call `at`: 0, or kKilled.
template <class Work>
int killed_at(long at, Work work) {
  const int status = in_child([&] {
    start_faults({.kind = FaultPlan::Kind::kill, .at = at});
    return work();
  });
  EXPECT_TRUE(status == 0 || status == kKilled) << status;
  return status;
}

/// For `in_child`: what a result is as an exit status; errors are printed.
inline int exit_status(const Result<void>& done) {
  if (!done) {
    std::fprintf(stderr, "%s\n", explain(done.error()).c_str());
  }
  return done ? 0 : 1;
}

}  // namespace lm::store
