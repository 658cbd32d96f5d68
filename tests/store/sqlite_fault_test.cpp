// SQLite's own files go bad: every read, write and sync of the index fails once, and from then on,
// with every result code that a file system or a torn file can cause (promise S5 of the store).
#include <cstdio>

#include "tests/store/fault_plan.h"
#include "tests/store/sweep.h"

namespace lm::store {
namespace LM_FILE {

std::vector<SweepCommand> commands() {
  std::vector<SweepCommand> chosen = sweep_commands();
  std::erase_if(chosen, [](const SweepCommand& command) {
    return command.name != "put" && command.name != "replace" && command.name != "remove" &&
           command.name != "heal";
  });
  return chosen;
}

class SqliteFaults : public testing::TestWithParam<std::size_t> {
 protected:
  void TearDown() override { stop_faults(); }
};

TEST_P(SqliteFaults, LeaveTheStoreBeforeOrAfter) {
  const SweepCommand command = commands()[GetParam()];
  const auto [before, after] = pictures_around(command);
  long injections = 0;
  long first = 1;
  for (const int code : {SQLITE_BUSY, SQLITE_FULL, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB}) {
    for (const auto kind : {FaultPlan::Kind::fail_once, FaultPlan::Kind::fail_from}) {
      if (code == SQLITE_BUSY && kind == FaultPlan::Kind::fail_from) {
        continue;  // a lock that is never had costs ten seconds a call
      }
      // The codes take turns: together they fail at every call. A file that stays bad is much the
      // same from any call on.
      const long step = kind == FaultPlan::Kind::fail_from ? 9 : code == SQLITE_BUSY ? 1 : 2;
      first = 3 - first;
      for (long at = first;; at += step) {
        SCOPED_TRACE(command.name + ": call " + std::to_string(at) + " code " +
                     std::to_string(code) +
                     (kind == FaultPlan::Kind::fail_once ? " once" : " from then on"));
        TempFolder folder;
        const fs::path home = folder.path() / "home";
        prepare(command, home);
        start_faults({.kind = kind, .at = at, .error = EIO, .sqlite_code = code});
        const auto done = run_command(command, home);
        const bool reached = fault_plan().calls >= at;
        stop_faults();
        if (!done) {
          EXPECT_TRUE(reached);
          EXPECT_FALSE(done.error().subject.empty());
          EXPECT_FALSE(done.error().problem.empty());
        }
        const Picture found = picture_of(home);
        ASSERT_TRUE(found == after || (!done && found == before));
        ASSERT_OK(run_command(command, home)) << "the second try must succeed";
        expect_nothing_leaked(home);
        ASSERT_FALSE(HasFailure());
        if (!reached) {
          break;
        }
        ++injections;
      }
    }
  }
  std::printf("%s: %ld faults of SQLite\n", command.name.c_str(), injections);
  EXPECT_GT(injections, 30);
}

INSTANTIATE_TEST_SUITE_P(Commands, SqliteFaults, testing::Range(std::size_t{0}, commands().size()),
                         [](const auto& command) { return commands()[command.param].name; });

}  // namespace LM_FILE
}  // namespace lm::store
