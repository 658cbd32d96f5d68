// Joins a target's entry function to libFuzzer, or to the mutation driver where there is no
// libFuzzer.
#include <cstddef>
#include <cstdint>

int LM_FUZZ_ENTRY(const std::uint8_t* data, std::size_t size);

#ifdef LM_FUZZ_DRIVER

#include "tests/fuzz/mutation_driver.h"

int main(int argc, char** argv) {
  return lm::fuzz::drive(
      {LM_FUZZ_NAME, LM_FUZZ_ENTRY, LM_FUZZ_CORPUS, LM_FUZZ_DICT, LM_FUZZ_MAX_BYTES}, argc, argv);
}

#else

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return LM_FUZZ_ENTRY(data, size);
}

#endif
