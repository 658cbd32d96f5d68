// Ends a process at every single state-changing call of every command (promises S1 and S2 of the
// store).
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

#include "tests/store/commands.h"
#include "tests/store/fault_plan.h"

namespace lm::store {
namespace {

// Runs `work` in a child; returns its exit status. No SQLite handle may be open here: none crosses
// fork.
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

int run_command(const SweepCommand& command, const fs::path& home) {
  auto store = Store::open(home, Store::Mode::read_write);
  if (!store) {
    std::fprintf(stderr, "open: %s\n", explain(store.error()).c_str());
    return 1;
  }
  if (const auto done = command.run(*store, home); !done) {
    std::fprintf(stderr, "%s: %s\n", command.name.c_str(), explain(done.error()).c_str());
    return 1;
  }
  return 0;
}

using Picture = std::map<std::string, std::vector<std::string>>;

Picture picture_of(const fs::path& home) {
  Store store = open_store(home);
  return picture(store);
}

class KillSweep : public testing::TestWithParam<std::size_t> {};

TEST_P(KillSweep, LeavesTheStoreBeforeOrAfter) {
  const SweepCommand command = sweep_commands()[GetParam()];
  const auto prepare = [&](const fs::path& home) {
    ASSERT_EQ(in_child([&] {
                prepare_store(home);
                if (command.before) {
                  command.before(home);
                }
                return testing::Test::HasFailure() ? 1 : 0;
              }),
              0);
  };
  Picture before;
  Picture after;
  {
    TempFolder folder;
    const fs::path home = folder.path() / "home";
    prepare(home);
    before = picture_of(home);
    ASSERT_EQ(run_command(command, home), 0);
    after = picture_of(home);
  }
  long points = 0;
  for (bool completed = false; !completed;) {
    SCOPED_TRACE(command.name + " killed at call " + std::to_string(points + 1));
    TempFolder folder;
    const fs::path home = folder.path() / "home";
    prepare(home);
    const int status = in_child([&] {
      start_faults({.kind = FaultPlan::Kind::kill, .at = points + 1});
      return run_command(command, home);
    });
    ASSERT_TRUE(status == kKilled || status == 0) << status;
    completed = status == 0;
    ++points;
    const Picture found = picture_of(home);
    ASSERT_TRUE(found == before || found == after);
    ASSERT_EQ(run_command(command, home), 0) << "the second try must succeed";
    ASSERT_EQ(picture_of(home), after);
    expect_nothing_leaked(home);
    ASSERT_FALSE(HasFailure());
  }
  RecordProperty("points", static_cast<int>(points - 1));
  std::printf("%s: %ld kill points\n", command.name.c_str(), points - 1);
  EXPECT_GT(points, 3);
}

INSTANTIATE_TEST_SUITE_P(Commands, KillSweep,
                         testing::Range(std::size_t{0}, sweep_commands().size()),
                         [](const auto& command) { return sweep_commands()[command.param].name; });

TEST(Crash, SurvivesEveryPointOfTheFirstOpen) {
  long points = 0;
  for (int status = kKilled; status == kKilled; ++points) {
    TempFolder folder;
    const fs::path home = folder.path() / "a/b/home";
    status = in_child([&] {
      start_faults({.kind = FaultPlan::Kind::kill, .at = points + 1});
      return Store::open(home, Store::Mode::read_write) ? 0 : 1;
    });
    ASSERT_TRUE(status == kKilled || status == 0) << status;
    Store store = open_store(home);
    EXPECT_TRUE(names_of(store).empty());
    EXPECT_OK(put_texts(store, "a:1", {"x"}));
    EXPECT_TRUE(store.warnings().empty()) << store.warnings()[0];
  }
  std::printf("first open: %ld kill points\n", points - 1);
  EXPECT_GT(points, 10);
}

// A process that dies takes its leases with it.
TEST(Crash, LeasesOfADeadProcessProtectNothing) {
  TempFolder folder;
  const fs::path home = folder.path() / "home";
  ASSERT_EQ(in_child([&] {
              Store store = open_store(home);
              const auto leased = store.add_bytes("leased");
              ::_exit(leased ? 0 : 1);  // without giving anything back
              return 0;
            }),
            0);
  Store store = open_store(home);
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 6u);
}

}  // namespace
}  // namespace lm::store
