/// The codebooks of IQ1, IQ2 and IQ3, one byte a value, as the kernels read them. Internal to
/// backends/cpu.
#pragma once

#include <cstdint>

namespace lm::cpu {

/// Entries hold eight values (a 64-bit word) or four (32 bits), the first in the lowest byte.
struct Codebooks {
  std::uint64_t iq1[2048];  ///< times eight: -8, 0, 8
  std::uint64_t iq2_xxs[256];
  std::uint64_t iq2_xs[512];
  std::uint64_t iq2_s[1024];
  std::uint32_t iq3_xxs[256];
  std::uint32_t iq3_s[512];
  std::uint64_t signs[256];  ///< byte k is 0xff where bit k of the index is set
};

/// Built at the first call (36 KiB, static storage).
const Codebooks& codebooks();

}  // namespace lm::cpu
