/// Rows of the types whose products run on f32 because their blocks are of 64 or 128 values: NVFP4,
/// Q1_0, Q2_0. The formulas of the reference without its branches, so that a compiler vectorises
/// them. Included by files compiled for different instruction sets: internal linkage.
#pragma once

#if defined(__AVX2__)
#include "backends/cpu/kernels/intrinsics.h"
#elif defined(__SSE4_1__)
#include <smmintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backends/dtype.h"

namespace lm::cpu {
namespace {

inline float float_from_bits(std::uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
inline std::uint32_t bits_from_float(float v) {
  std::uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

/// The exponent is rebiased by a multiplication, which also brings subnormals into place.
inline float float_from_half(std::uint32_t h) {
  const std::uint32_t scaled = bits_from_float(float_from_bits((h & 0x7fffu) << 13) * 0x1p112f);
  const std::uint32_t special = (h & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
  return float_from_bits(scaled | special | (h & 0x8000u) << 16);
}

/// Half of an unsigned E4M3 scale: 3 bits of mantissa and 4 of exponent moved to a float's place
/// and rebiased. 0x7f means zero.
inline float half_of_ue4m3(std::uint32_t x) {
  const float value = float_from_bits((x & 0x7fu) << 20) * 0x1p119f;
  return (x & 0xffu) == 0x7fu ? 0.0f : value;
}

#if defined(__SSE4_1__)
/// out[i] = scale * q[i] for sixteen signed bytes.
inline void scale_bytes(__m128i q, float scale, float* out) {
#if defined(__AVX512F__)
  const __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
  _mm512_storeu_ps(out, _mm512_mul_ps(v, _mm512_set1_ps(scale)));
#elif defined(__AVX2__)
  const __m256 s = _mm256_set1_ps(scale);
  const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
  const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)));
  _mm256_storeu_ps(out, _mm256_mul_ps(low, s));
  _mm256_storeu_ps(out + 8, _mm256_mul_ps(high, s));
#else
  const __m128 s = _mm_set1_ps(scale);
  for (int i = 0; i < 16; i += 4) {
    _mm_storeu_ps(out + i, _mm_mul_ps(_mm_cvtepi32_ps(_mm_cvtepi8_epi32(q)), s));
    q = _mm_srli_si128(q, 4);
  }
#endif
}
#endif

inline void floats_of_nvfp4(const std::uint8_t* b, float* out) {
  alignas(16) constexpr std::int8_t kE2m1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                 0, -1, -2, -3, -4, -6, -8, -12};  // doubled
  for (int k = 0; k < 4; ++k) {
    const float scale = half_of_ue4m3(b[k]);
    const std::uint8_t* nibbles = b + 4 + 8 * k;
#if defined(__SSE4_1__)
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(nibbles));
    const __m128i index =
        _mm_and_si128(_mm_unpacklo_epi64(bytes, _mm_srli_epi16(bytes, 4)), _mm_set1_epi8(15));
    const __m128i table = _mm_load_si128(reinterpret_cast<const __m128i*>(kE2m1));
    scale_bytes(_mm_shuffle_epi8(table, index), scale, out + 16 * k);
#else
    for (int i = 0; i < 8; ++i) {
      out[16 * k + i] = scale * static_cast<float>(kE2m1[nibbles[i] & 15]);
      out[16 * k + 8 + i] = scale * static_cast<float>(kE2m1[nibbles[i] >> 4]);
    }
#endif
  }
}

// As wide as a register: wider vectors would be taken apart lane by lane.
#if defined(__AVX512F__)
constexpr std::uint32_t kWidth = 16;
#elif defined(__AVX2__)
constexpr std::uint32_t kWidth = 8;
#else
constexpr std::uint32_t kWidth = 4;
#endif
using Words = std::uint32_t __attribute__((vector_size(4 * kWidth)));
using Ints = std::int32_t __attribute__((vector_size(4 * kWidth)));
using WideFloats = float __attribute__((vector_size(4 * kWidth)));

inline Words lanes() {
  constexpr std::uint32_t kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Words v;
  std::memcpy(&v, kLane, sizeof v);
  return v;
}

inline void floats_of_q1_0(const std::uint8_t* b, float* out) {
  const float d = float_from_half(b[0] | std::uint32_t{b[1]} << 8);
  const std::uint32_t minus = bits_from_float(d) ^ 0x80000000u;
  for (std::uint32_t i = 0; i < 128; i += kWidth) {
    const std::uint32_t word = b[2 + i / 8] | std::uint32_t{b[2 + (i + kWidth - 1) / 8]} << 8;
    const Words bits = ((word >> i % 8) >> lanes()) << 31 ^ minus;
    std::memcpy(out + i, &bits, sizeof bits);
  }
}

inline void floats_of_q2_0(const std::uint8_t* b, float* out) {
  const float d = float_from_half(b[0] | std::uint32_t{b[1]} << 8);
  for (std::uint32_t i = 0; i < 64; i += kWidth) {
    std::uint32_t word = 0;
    std::memcpy(&word, b + 2 + i / 4, kWidth / 4);
    const Words q = (word >> (2 * lanes()) & 3u) - 1u;
    Ints quants;
    std::memcpy(&quants, &q, sizeof quants);
    const WideFloats values = d * __builtin_convertvector(quants, WideFloats);
    std::memcpy(out + i, &values, sizeof values);
  }
}

/// n values (whole blocks) to f32.
template <DType kWeight>
inline void floats_of_blocks(const std::byte* blocks, std::uint32_t n, float* out) {
  constexpr std::uint32_t kElems = kWeight == DType::q1_0 ? 128 : 64;
  constexpr std::uint32_t kBytes = kWeight == DType::nvfp4 ? 36 : 18;
  static_assert(kWeight == DType::nvfp4 || kWeight == DType::q1_0 || kWeight == DType::q2_0);
  const auto* b = reinterpret_cast<const std::uint8_t*>(blocks);
  for (std::uint32_t i = 0; i < n; i += kElems, b += kBytes) {
    if constexpr (kWeight == DType::nvfp4) {
      floats_of_nvfp4(b, out + i);
    } else if constexpr (kWeight == DType::q1_0) {
      floats_of_q1_0(b, out + i);
    } else {
      floats_of_q2_0(b, out + i);
    }
  }
}

}  // namespace
}  // namespace lm::cpu
