/// Private to dequant*.cpp: how fields of a block are read, and one function a type that writes a
/// block's values. Layouts and formulas: GGUF's type table (ggml's quants as gguf-py's reference
/// computes them, in float32, in the order of the operations written here; nothing may be
/// contracted to a fused multiply-add).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "backends/reference/dequant.h"

namespace lm::reference {

using Bytes = const std::uint8_t*;

inline std::uint32_t u16_at(Bytes b, std::uint32_t offset) {
  return b[offset] | std::uint32_t{b[offset + 1]} << 8;
}

inline std::uint32_t u32_at(Bytes b, std::uint32_t offset) {
  return u16_at(b, offset) | u16_at(b, offset + 2) << 16;
}

inline std::int32_t i8_at(Bytes b, std::uint32_t offset) {
  return static_cast<std::int8_t>(b[offset]);
}

inline float half_at(Bytes b, std::uint32_t offset) {
  return f16_to_f32(static_cast<std::uint16_t>(u16_at(b, offset)));
}

/// Value i of 32 nibbles in 16 bytes: the low halves come first, then the high ones.
inline std::uint32_t nibble_at(Bytes b, std::uint32_t offset, std::uint32_t i) {
  return i < 16 ? b[offset + i] & 15u : b[offset + i - 16] >> 4u;
}

/// Value i of 2-bit fields: byte i % 32 of each 32 bytes holds the values i, i + 32, i + 64, i
/// + 96.
inline std::uint32_t crumb_at(Bytes b, std::uint32_t offset, std::uint32_t i) {
  return b[offset + 32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3u;
}

inline float as_float(std::uint32_t value) {
  return static_cast<float>(value);
}
inline float as_float(std::int32_t value) {
  return static_cast<float>(value);
}

void dequantize_f32(Bytes b, float* out);
void dequantize_f16(Bytes b, float* out);
void dequantize_bf16(Bytes b, float* out);

void dequantize_q4_0(Bytes b, float* out);
void dequantize_q4_1(Bytes b, float* out);
void dequantize_q5_0(Bytes b, float* out);
void dequantize_q5_1(Bytes b, float* out);
void dequantize_q8_0(Bytes b, float* out);

void dequantize_q2_k(Bytes b, float* out);
void dequantize_q3_k(Bytes b, float* out);
void dequantize_q4_k(Bytes b, float* out);
void dequantize_q5_k(Bytes b, float* out);
void dequantize_q6_k(Bytes b, float* out);

void dequantize_iq1_s(Bytes b, float* out);
void dequantize_iq1_m(Bytes b, float* out);
void dequantize_iq2_xxs(Bytes b, float* out);
void dequantize_iq2_xs(Bytes b, float* out);
void dequantize_iq2_s(Bytes b, float* out);
void dequantize_iq3_xxs(Bytes b, float* out);
void dequantize_iq3_s(Bytes b, float* out);
void dequantize_iq4_nl(Bytes b, float* out);
void dequantize_iq4_xs(Bytes b, float* out);

void dequantize_tq1_0(Bytes b, float* out);
void dequantize_tq2_0(Bytes b, float* out);
void dequantize_q1_0(Bytes b, float* out);
void dequantize_q2_0(Bytes b, float* out);
void dequantize_mxfp4(Bytes b, float* out);
void dequantize_nvfp4(Bytes b, float* out);

}  // namespace lm::reference
