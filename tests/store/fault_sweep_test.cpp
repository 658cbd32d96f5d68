// Fails every single state-changing call of every command, once and from then on (promises S4 and
// S5 of the store).
#include <cstdio>

#include "tests/store/fault_plan.h"
#include "tests/store/sweep.h"

namespace lm::store {
namespace LM_FILE {

void expect_useful(const Error& error) {
  EXPECT_FALSE(error.subject.empty());
  EXPECT_FALSE(error.problem.empty());
}

class FaultSweep : public testing::TestWithParam<std::size_t> {};

TEST_P(FaultSweep, LeavesTheStoreBeforeOrAfter) {
  const SweepCommand command = sweep_commands()[GetParam()];
  const auto [before, after] = pictures_around(command);
  long injections = 0;
  for (const auto kind : {FaultPlan::Kind::fail_once, FaultPlan::Kind::fail_from}) {
    for (const int error : {ENOSPC, EIO}) {
      for (long at = 1;; ++at) {
        SCOPED_TRACE(command.name + ": call " + std::to_string(at) +
                     (error == EIO ? " EIO" : " ENOSPC") +
                     (kind == FaultPlan::Kind::fail_once ? " once" : " from then on"));
        TempFolder folder;
        const fs::path home = folder.path() / "home";
        prepare(command, home);
        start_faults({.kind = kind, .at = at, .error = error});
        const auto done = run_command(command, home);
        const bool reached = fault_plan().calls >= at;
        if (!done) {
          expect_useful(done.error());
          EXPECT_TRUE(reached);
          // Everything that was there can still be seen and opened while the disk is as bad as it
          // is.
          if (auto store = Store::open(home, Store::Mode::read_write)) {
            const Picture found = picture(*store);
            EXPECT_TRUE(found == before || found == after);
          }
        }
        stop_faults();
        const Picture found = picture_of(home);
        ASSERT_TRUE(found == before || found == after);
        ASSERT_TRUE(!done || found == after) << "a command that succeeded has done its work";
        ASSERT_OK(run_command(command, home));
        ASSERT_EQ(picture_of(home), after);
        expect_nothing_leaked(home);
        ASSERT_FALSE(HasFailure());
        if (!reached) {
          break;
        }
        ++injections;
      }
    }
  }
  RecordProperty("injections", static_cast<int>(injections));
  std::printf("%s: %ld injections\n", command.name.c_str(), injections);
  EXPECT_GT(injections, 12);
}

INSTANTIATE_TEST_SUITE_P(Commands, FaultSweep,
                         testing::Range(std::size_t{0}, sweep_commands().size()),
                         [](const auto& command) { return sweep_commands()[command.param].name; });

// The disk is bad at the crash and still bad when the next process comes.
TEST(Faults, OpensForReadingWhateverFailsWhileHealing) {
  long injections = 0;
  for (const int error : {ENOSPC, EIO, EROFS}) {
    for (long at = 1;; ++at) {
      TempFolder folder;
      const fs::path home = folder.path() / "home";
      prepare_store(home);
      fs::remove(home / "index.db");
      start_faults({.kind = FaultPlan::Kind::fail_from, .at = at, .error = error});
      {
        auto store = Store::open(home, Store::Mode::read_write);
        EXPECT_TRUE(store.has_value()) << explain(store.error());
        if (store) {
          EXPECT_EQ(names_of(*store).size(), 2u);
          EXPECT_OK(store->open_model("base:1"));
        }
      }
      const bool reached = fault_plan().calls >= at;
      stop_faults();
      ASSERT_FALSE(HasFailure()) << "call " << at;
      if (!reached) {
        break;
      }
      ++injections;
    }
  }
  std::printf("heal: %ld injections\n", injections);
  EXPECT_GT(injections, 10);
}

TEST(Faults, RetriesInterruptedCallsAndShortWrites) {
  for (const int fault : {EINTR, kShortWrite}) {
    for (long at = 1; at < 40; ++at) {
      TempFolder folder;
      static long calls;
      static long wanted;
      static int value;
      calls = 0;
      wanted = at;
      value = fault;
      set_file_op_hook([](FileOp op, const char*) {
        const bool hit = ++calls == wanted && (value == EINTR || op == FileOp::write);
        return hit ? value : 0;
      });
      {
        Store store = open_store(folder.path() / "home");
        ASSERT_OK(put_texts(store, "a:1", {"some text", "more text"}));
        ASSERT_EQ(picture(store).size(), 1u);
      }
      set_file_op_hook(nullptr);
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm::store
