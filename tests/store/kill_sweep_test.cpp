// Ends a process at every single state-changing call of every command (promises S1 and S2 of the
// store).
#include <cstdio>

#include "tests/store/child.h"
#include "tests/store/sweep.h"

namespace lm::store {
namespace LM_FILE {

class KillSweep : public testing::TestWithParam<std::size_t> {};

TEST_P(KillSweep, LeavesTheStoreBeforeOrAfter) {
  const SweepCommand command = sweep_commands()[GetParam()];
  const auto [before, after] = pictures_around(command);
  long points = 0;
  for (bool completed = false; !completed;) {
    SCOPED_TRACE(command.name + " killed at call " + std::to_string(points + 1));
    TempFolder folder;
    const fs::path home = folder.path() / "home";
    prepare(command, home);
    completed = killed_at(points + 1, [&] { return exit_status(run_command(command, home)); }) == 0;
    ++points;
    const Picture found = picture_of(home);
    ASSERT_TRUE(found == before || found == after);
    ASSERT_OK(run_command(command, home)) << "the second try must succeed";
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
    status =
        killed_at(points + 1, [&] { return Store::open(home, Store::Mode::read_write) ? 0 : 1; });
    ASSERT_FALSE(HasFailure());
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

}  // namespace LM_FILE
}  // namespace lm::store
