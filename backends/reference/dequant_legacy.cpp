// Blocks of 32 with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
#include "backends/reference/dequant_blocks.h"

namespace lm::reference {
namespace {

/// Nibbles at `nibbles` with a fifth bit each from the u32 at `high`.
std::int32_t five_bits(Bytes b, std::uint32_t nibbles, std::uint32_t high, std::uint32_t i) {
  const std::uint32_t bit = u32_at(b, high) >> i & 1u;
  return static_cast<std::int32_t>(nibble_at(b, nibbles, i) | bit << 4);
}

}  // namespace

// d f16, 16 bytes of nibbles.
void dequantize_q4_0(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out[i] = d * as_float(static_cast<std::int32_t>(nibble_at(b, 2, i)) - 8);
  }
}

// d f16, m f16, nibbles.
void dequantize_q4_1(Bytes b, float* out) {
  const float d = half_at(b, 0);
  const float m = half_at(b, 2);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out[i] = d * as_float(nibble_at(b, 4, i)) + m;
  }
}

// d f16, fifth bits u32, nibbles.
void dequantize_q5_0(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out[i] = d * as_float(five_bits(b, 6, 2, i) - 16);
  }
}

// d f16, m f16, fifth bits u32, nibbles.
void dequantize_q5_1(Bytes b, float* out) {
  const float d = half_at(b, 0);
  const float m = half_at(b, 2);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out[i] = d * as_float(five_bits(b, 8, 4, i)) + m;
  }
}

// d f16, i8[32].
void dequantize_q8_0(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out[i] = d * as_float(i8_at(b, 2 + i));
  }
}

}  // namespace lm::reference
