// Codebook types: IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS.
#include "backends/reference/dequant_blocks.h"
#include "backends/reference/dequant_iq_grids.h"

namespace lm::reference {
namespace {

constexpr std::uint32_t kSuper = 256;

float iq1_value(std::uint32_t entry, std::uint32_t k) {
  return as_float(std::int32_t{kIq1Levels[kIq1Grid[entry] >> 2 * k & 3u]});
}

float iq2_value(const std::uint16_t* grid, std::uint32_t entry, std::uint32_t k) {
  return as_float(std::int32_t{kIq2Levels[grid[entry] >> 2 * k & 3u]});
}

float iq3_value(const std::uint16_t* grid, const std::int8_t* levels, std::uint32_t entry,
                std::uint32_t k) {
  return as_float(std::int32_t{levels[grid[entry] >> 3 * k & 7u]});
}

float sign(std::uint32_t mask, std::uint32_t k) {
  return (mask >> k & 1u) != 0 ? -1.0f : 1.0f;
}

/// Eight signs from seven bits: their number is even.
std::uint32_t even_signs(std::uint32_t seven) {
  return seven | (static_cast<std::uint32_t>(std::popcount(seven)) & 1u) << 7;
}

}  // namespace

// d f16, index low bytes[32], u16[8]: index high bits 3 each, scale 3, sign of the shift 1.
void dequantize_iq1_s(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t h = u16_at(b, 34 + i / 32 * 2);
    const std::uint32_t entry = b[2 + i / 8] | (h >> 3 * (i % 32 / 8) & 7u) << 8;
    const float dl = d * as_float(2 * (h >> 12 & 7u) + 1);
    out[i] = dl * (iq1_value(entry, i % 8) + ((h & 0x8000u) != 0 ? -0.125f : 0.125f));
  }
}

// index low bytes[32], nibbles[16] (index high bits 3, sign of the shift 1), u16[4] (scales 3 bits,
// d spread over the tops).
void dequantize_iq1_m(Bytes b, float* out) {
  const std::uint32_t bits = u16_at(b, 48) >> 12 | (u16_at(b, 50) >> 8 & 0xF0u) |
                             (u16_at(b, 52) >> 4 & 0xF00u) | (u16_at(b, 54) & 0xF000u);
  const float d = f16_to_f32(static_cast<std::uint16_t>(bits));
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t q = std::uint32_t{b[32 + i / 16]} >> 4 * (i / 8 % 2);
    const std::uint32_t entry = b[i / 8] | (q & 7u) << 8;
    const std::uint32_t s = u16_at(b, 48 + i / 64 * 2) >> 3 * (i / 16 % 4) & 7u;
    const float dl = d * as_float(2 * s + 1);
    out[i] = dl * (iq1_value(entry, i % 8) + ((q & 8u) != 0 ? -0.125f : 0.125f));
  }
}

// d f16, then for each 32 values 4 indices and a u32: four times 7 sign bits, 4 bits of scale.
void dequantize_iq2_xxs(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t group = 2 + i / 32 * 8;
    const std::uint32_t l = i % 32 / 8;
    const std::uint32_t w = u32_at(b, group + 4);
    const float db = d * (0.5f + as_float(w >> 28)) * 0.25f;
    out[i] = db * iq2_value(kIq2XxsGrid, b[group + l], i % 8) *
             sign(even_signs(w >> 7 * l & 127u), i % 8);
  }
}

// d f16, u16[32] (index 9 bits, signs 7), scales[8] of 4 bits.
void dequantize_iq2_xs(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t v = u16_at(b, 2 + i / 8 * 2);
    const std::uint32_t s = std::uint32_t{b[66 + i / 32]} >> 4 * (i % 32 / 16) & 15u;
    const float db = d * (0.5f + as_float(s)) * 0.25f;
    out[i] = db * iq2_value(kIq2XsGrid, v & 511u, i % 8) * sign(even_signs(v >> 9), i % 8);
  }
}

// d f16, index low bytes[32], signs[32], index high bits[8] (2 each), scales[8] of 4 bits.
void dequantize_iq2_s(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t high = std::uint32_t{b[66 + i / 32]} >> 2 * (i % 32 / 8) & 3u;
    const std::uint32_t s = std::uint32_t{b[74 + i / 32]} >> 4 * (i % 32 / 16) & 15u;
    const float db = d * (0.5f + as_float(s)) * 0.25f;
    out[i] =
        db * iq2_value(kIq2SGrid, b[2 + i / 8] | high << 8, i % 8) * sign(b[34 + i / 8], i % 8);
  }
}

// d f16, indices[64], u32[8]: four times 7 sign bits, 4 bits of scale.
void dequantize_iq3_xxs(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t w = u32_at(b, 66 + i / 32 * 4);
    const float db = d * (0.5f + as_float(w >> 28)) * 0.5f;
    out[i] = db * iq3_value(kIq3XxsGrid, kIq3XxsLevels, b[2 + i / 4], i % 4) *
             sign(even_signs(w >> 7 * (i % 32 / 8) & 127u), i % 8);
  }
}

// d f16, index low bytes[64], index high bits[8] (1 each), signs[32], scales[4] of 4 bits.
void dequantize_iq3_s(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t high = std::uint32_t{b[66 + i / 32]} >> i / 4 % 8 & 1u;
    const std::uint32_t s = std::uint32_t{b[106 + i / 64]} >> 4 * (i / 32 % 2) & 15u;
    const float db = d * as_float(1 + 2 * s);
    out[i] = db * iq3_value(kIq3SGrid, kIq3SLevels, b[2 + i / 4] | high << 8, i % 4) *
             sign(b[74 + i / 8], i % 8);
  }
}

// d f16, nibbles[16].
void dequantize_iq4_nl(Bytes b, float* out) {
  const float d = half_at(b, 0);
  for (std::uint32_t i = 0; i < 32; ++i) {
    out[i] = d * as_float(std::int32_t{kIq4Values[nibble_at(b, 2, i)]});
  }
}

// d f16, scale high bits u16 (2 each), scale low nibbles[4], nibbles[128] in groups of 16 bytes.
void dequantize_iq4_xs(Bytes b, float* out) {
  const float d = half_at(b, 0);
  const std::uint32_t high = u16_at(b, 2);
  for (std::uint32_t i = 0; i < kSuper; ++i) {
    const std::uint32_t j = i / 32;
    const std::uint32_t low = std::uint32_t{b[4 + j / 2]} >> 4 * (j % 2) & 15u;
    const std::int32_t s = static_cast<std::int32_t>(low | (high >> 2 * j & 3u) << 4) - 32;
    out[i] = d * as_float(s) * as_float(std::int32_t{kIq4Values[nibble_at(b, 8 + 16 * j, i % 32)]});
  }
}

}  // namespace lm::reference
