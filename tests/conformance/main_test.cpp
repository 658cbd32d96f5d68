// Registers the printer of case counts.
#include <algorithm>

#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

[[maybe_unused]] const auto* const printer = ::testing::AddGlobalTestEnvironment(new CountPrinter);

TEST(Executors, IncludeEveryInstructionSetOfThisMachineOrTheDeviceAskedFor) {
  const auto levels = static_cast<std::size_t>(std::ranges::count_if(isa_levels(), has_isa));
  EXPECT_EQ(executors().size(), backend_of_test().empty() ? 2 * levels : 1);
  for (const Executor& executor : executors()) {
    fmt::print("{}: {}\n", executor.name, executor.backend->info().detail);
  }
}

TEST(Nmse, FailsOnAnythingThatIsNoNumber) {
  EXPECT_EQ(nmse({NAN}, {1.0f}), HUGE_VAL);
  EXPECT_EQ(nmse({INFINITY}, {1.0f}), HUGE_VAL);
  EXPECT_EQ(nmse({1.0f}, {1.0f}), 0.0);
  EXPECT_NEAR(nmse({1.1f}, {1.0f}), 0.01, 1e-6);
}

}  // namespace LM_FILE
}  // namespace lm::conformance
