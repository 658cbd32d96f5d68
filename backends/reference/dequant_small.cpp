// One- and two-bit types and 4-bit floats: TQ1_0, TQ2_0, Q1_0, Q2_0, MXFP4, NVFP4.
#include "backends/reference/dequant_blocks.h"

namespace lm::reference {
namespace {

/// E2M1 (4-bit float) values, doubled so that they are integers.
constexpr std::int8_t kE2m1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Digit `e` (from the most significant) of five base-3 digits stored as a fixed-point fraction of
/// 256.
std::int32_t ternary_digit(std::uint32_t packed, std::uint32_t e) {
  constexpr std::uint32_t kPow3[5] = {1, 3, 9, 27, 81};
  return static_cast<std::int32_t>((packed * kPow3[e] & 255u) * 3 >> 8);
}

/// Half of 2^(e - 127), as the doubled E2M1 values need it; subnormal for e = 0.
float half_e8m0(std::uint32_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

/// Half of an unsigned E4M3 scale.
float half_ue4m3(std::uint32_t x) {
  if (x == 0 || x == 0x7F) {
    return 0.0f;
  }
  const std::uint32_t exponent = x >> 3 & 15u;
  const float mantissa = as_float(x & 7u);
  if (exponent == 0) {
    return mantissa * 0x1p-10f;
  }
  const float power = std::bit_cast<float>((exponent - 7 + 127) << 23);
  return (1.0f + mantissa * 0.125f) * power * 0.5f;
}

}  // namespace

// bytes of five digits: 32, then 16; bytes of four: 4; d f16.
void dequantize_tq1_0(Bytes b, float* out) {
  const float d = half_at(b, 52);
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::int32_t digit = 0;
    if (i < 160) {
      digit = ternary_digit(b[i % 32], i / 32);
    } else if (i < 240) {
      digit = ternary_digit(b[32 + (i - 160) % 16], (i - 160) / 16);
    } else {
      digit = ternary_digit(b[48 + (i - 240) % 4], (i - 240) / 4);
    }
    out[i] = d * as_float(digit - 1);
  }
}

// 2-bit values[64], d f16.
void dequantize_tq2_0(Bytes b, float* out) {
  const float d = half_at(b, 64);
  for (std::uint32_t i = 0; i < 256; ++i) {
    out[i] = d * as_float(static_cast<std::int32_t>(crumb_at(b, 0, i)) - 1);
  }
}

// d f16, bits[16]: set is +d, clear is -d.
void dequantize_q1_0(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < 128; ++i) {
    out[i] = (b[2 + i / 8] >> i % 8 & 1u) != 0 ? d : -d;
  }
}

// d f16, 2-bit values[16] in order.
void dequantize_q2_0(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < 64; ++i) {
    const std::uint32_t q = std::uint32_t{b[2 + i / 4]} >> 2 * (i % 4) & 3u;
    out[i] = d * as_float(static_cast<std::int32_t>(q) - 1);
  }
}

// scale E8M0, nibbles[16]. A scale of 255 (NaN in the OCP format) is 2^128 here, as ggml takes it.
void dequantize_mxfp4(Bytes b, float* out) {
  const float d = half_e8m0(b[0]);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out[i] = d * as_float(std::int32_t{kE2m1Doubled[nibble_at(b, 1, i)]});
  }
}

// scales UE4M3[4], nibbles[32] in groups of 8 bytes for 16 values.
void dequantize_nvfp4(Bytes b, float* out) {
  for (std::uint32_t i = 0; i < 64; ++i) {
    const std::uint32_t k = i / 16;
    const std::uint32_t r = i % 16;
    const std::uint32_t byte = b[4 + 8 * k + r % 8];
    out[i] =
        half_ue4m3(b[k]) * as_float(std::int32_t{kE2m1Doubled[r < 8 ? byte & 15u : byte >> 4]});
  }
}

}  // namespace lm::reference
