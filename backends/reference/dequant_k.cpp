// Super-blocks of 256 with scales of their sub-blocks: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.
#include "backends/reference/dequant_blocks.h"

namespace lm::reference {
namespace {

constexpr std::uint32_t kSuper = 256;

struct ScaleMin {
  float scale;
  float min;
};

/// The 6-bit scale and minimum of sub-block j (of 8) from the 12 bytes at `offset`.
ScaleMin scale_min(Bytes b, std::uint32_t offset, std::uint32_t j) {
  Bytes s = b + offset;
  if (j < 4) {
    return {as_float(s[j] & 63u), as_float(s[j + 4] & 63u)};
  }
  const std::uint32_t scale = (s[j + 4] & 15u) | std::uint32_t{s[j - 4]} >> 6 << 4;
  const std::uint32_t min = std::uint32_t{s[j + 4]} >> 4 | std::uint32_t{s[j]} >> 6 << 4;
  return {as_float(scale), as_float(min)};
}

/// The 6-bit scale of sub-block j (of 16) of a Q3_K block, offset by 32.
std::int32_t q3_scale(Bytes b, std::uint32_t j) {
  Bytes s = b + 96;
  const std::uint32_t low = j < 8 ? s[j] & 15u : std::uint32_t{s[j - 8]} >> 4;
  const std::uint32_t high = std::uint32_t{s[8 + j % 4]} >> 2 * (j / 4) & 3u;
  return static_cast<std::int32_t>(low | high << 4) - 32;
}

/// The nibble of value i: 32 bytes serve two neighbouring sub-blocks, low halves the even one.
std::uint32_t paired_nibble(Bytes b, std::uint32_t offset, std::uint32_t i) {
  const std::uint32_t j = i / 32;
  const std::uint32_t byte = b[offset + 32 * (j / 2) + i % 32];
  return j % 2 == 0 ? byte & 15u : byte >> 4;
}

}  // namespace

// scales[16] (scale in the low nibble, minimum in the high one), 2-bit values[64], d f16, dmin f16.
void dequantize_q2_k(Bytes b, float* out) {
  const float d = half_at(b, 80);
  const float dmin = half_at(b, 82);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t s = b[i / 16];
    const float dl = d * as_float(s & 15u);
    const float ml = dmin * as_float(s >> 4);
    out[i] = dl * as_float(crumb_at(b, 16, i)) - ml;
  }
}

// high bits[32], 2-bit values[64], scales[12], d f16.
void dequantize_q3_k(Bytes b, float* out) {
  const float d = half_at(b, 108);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::int32_t borrow = (b[i % 32] >> i / 32 & 1u) != 0 ? 0 : 4;
    const std::int32_t q = static_cast<std::int32_t>(crumb_at(b, 32, i)) - borrow;
    out[i] = d * as_float(q3_scale(b, i / 16)) * as_float(q);
  }
}

// d f16, dmin f16, scales[12], nibbles[128].
void dequantize_q4_k(Bytes b, float* out) {
  const float d = half_at(b, 0);
  const float dmin = half_at(b, 2);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const ScaleMin s = scale_min(b, 4, i / 32);
    out[i] = d * s.scale * as_float(paired_nibble(b, 16, i)) - dmin * s.min;
  }
}

// d f16, dmin f16, scales[12], fifth bits[32], nibbles[128].
void dequantize_q5_k(Bytes b, float* out) {
  const float d = half_at(b, 0);
  const float dmin = half_at(b, 2);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const ScaleMin s = scale_min(b, 4, i / 32);
    const std::uint32_t high = b[16 + i % 32] >> i / 32 & 1u;
    out[i] = d * s.scale * as_float(paired_nibble(b, 48, i) | high << 4) - dmin * s.min;
  }
}

// low nibbles[128], high crumbs[64], scales i8[16], d f16.
void dequantize_q6_k(Bytes b, float* out) {
  const float d = half_at(b, 208);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t half = i / 128;
    const std::uint32_t quarter = i % 128 / 32;
    const std::uint32_t l = i % 32;
    const std::uint32_t low = b[64 * half + 32 * (quarter % 2) + l] >> 4 * (quarter / 2) & 15u;
    const std::uint32_t high = b[128 + 32 * half + l] >> 2 * quarter & 3u;
    const std::int32_t q = static_cast<std::int32_t>(low | high << 4) - 32;
    out[i] = d * as_float(i8_at(b, 192 + i / 16)) * as_float(q);
  }
}

}  // namespace lm::reference
