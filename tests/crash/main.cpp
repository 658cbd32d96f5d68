// Entry point of the sweeps: gtest, and the sums at the end.
#include <gtest/gtest.h>

#include "tests/crash/tally.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  lm::crash::print_tally_at_end();
  return RUN_ALL_TESTS();
}
