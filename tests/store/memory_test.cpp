// Requests for memory fail in the middle of a command (promise S12 of the store), those that
// tests/crash can't tell from others' among them: the store is as before or after it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "tests/store/child.h"
#include "tests/store/sweep.h"

namespace {

/// What operator new of this program counts on this thread, and which call fails.
struct Memory {
  long calls = 0;
  long fail_at = 0;  ///< 0: none
};
thread_local Memory memory;

void* allocate(std::size_t size) {
  ++memory.calls;
  void* const bytes =
      memory.calls == memory.fail_at ? nullptr : std::malloc(std::max<std::size_t>(size, 1));
  if (bytes == nullptr) {
    throw std::bad_alloc();
  }
  return bytes;
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size);
}
void* operator new[](std::size_t size) {
  return allocate(size);
}
void operator delete(void* bytes) noexcept {
  std::free(bytes);
}
void operator delete[](void* bytes) noexcept {
  std::free(bytes);
}
void operator delete(void* bytes, std::size_t) noexcept {
  std::free(bytes);
}
void operator delete[](void* bytes, std::size_t) noexcept {
  std::free(bytes);
}

namespace lm::store {
namespace {

class MemorySweep : public testing::TestWithParam<std::size_t> {};

constexpr int kThrown = 2;
constexpr int kTerminated = 3;

/// Runs a command whose request `at` fails: 0, kThrown, or kTerminated (the JSON library's
/// destructors ask for memory too; `lm` says so and ends itself then).
int run_short_of_memory(const SweepCommand& command, const fs::path& home, long at) {
  return in_child([&] {
    std::set_terminate([] { ::_exit(kTerminated); });
    memory = {.calls = 0, .fail_at = at};
    try {
      static_cast<void>(run_command(command, home));
    } catch (const std::bad_alloc&) {
      return kThrown;
    }
    return 0;
  });
}

TEST_P(MemorySweep, LeavesTheStoreBeforeOrAfter) {
  const SweepCommand command = sweep_commands()[GetParam()];
  const auto [before, after] = pictures_around(command);
  long n_calls = 0;
  {
    const TempFolder folder;
    prepare(command, folder.path() / "home");
    memory = {};
    ASSERT_OK(run_command(command, folder.path() / "home"));
    n_calls = memory.calls;
  }
  constexpr long kPoints = 20;
  long points = 0;
  long thrown = 0;
  for (long i = 0; i < kPoints; ++i) {
    const long at = 1 + n_calls * i / kPoints;
    SCOPED_TRACE(command.name + ": request " + std::to_string(at) + " of " +
                 std::to_string(n_calls));
    const TempFolder folder;
    const fs::path home = folder.path() / "home";
    prepare(command, home);
    const int status = run_short_of_memory(command, home, at);
    ASSERT_TRUE(status == 0 || status == kThrown || status == kTerminated) << status;
    thrown += status == kThrown ? 1 : 0;
    const Picture found = picture_of(home);
    ASSERT_TRUE(found == before || found == after);
    ASSERT_OK(run_command(command, home));
    ASSERT_EQ(picture_of(home), after);
    expect_nothing_leaked(home);
    ASSERT_FALSE(HasFailure());
    ++points;
  }
  std::printf("%s: %ld requests for memory failed, %ld left by an exception\n",
              command.name.c_str(), points, thrown);
  EXPECT_GT(thrown, 0);
}

INSTANTIATE_TEST_SUITE_P(Commands, MemorySweep,
                         testing::Range(std::size_t{0}, sweep_commands().size()),
                         [](const auto& command) { return sweep_commands()[command.param].name; });

}  // namespace
}  // namespace lm::store
