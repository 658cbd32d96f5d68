/// Loops that do nothing but what a machine does best. Internal to backends/cpu.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lm::cpu {

struct RoofKernels {
  /// `n` rounds of int8 dot products between registers; a result that depends on all of them.
  float (*int8_dots)(std::uint64_t n);
  std::uint64_t int8_ops_a_round;  ///< multiplications and additions
  /// The same with f32 multiply-add.
  float (*f32_fmas)(std::uint64_t n);
  std::uint64_t f32_ops_a_round;
  /// Reads `bytes` (a multiple of 2048) as one stream of addresses, or as eight that begin an
  /// eighth apart; a sum of all.
  std::uint64_t (*read_1)(const std::byte* begin, std::uint64_t bytes);
  std::uint64_t (*read_8)(const std::byte* begin, std::uint64_t bytes);
};

extern const RoofKernels roof_baseline;
#if defined(__x86_64__)
extern const RoofKernels roof_avx2, roof_avx512, roof_avx512vnni;
#elif defined(__aarch64__)
extern const RoofKernels roof_dotprod, roof_i8mm;
#endif

}  // namespace lm::cpu
