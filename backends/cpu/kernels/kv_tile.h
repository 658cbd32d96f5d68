/// Tiles of a KV page as the CPU arranges them, and their conversion to f32.
///
/// K: groups of 16 positions, [2][head_dim][16]. V: rows, [32][head_dim]. K in blocks (q8_0, q4_0):
/// a group is [head_dim / 32][16] f16 scales, then [bytes of quants][16] (as many bytes as the
/// rows' blocks); V in blocks: plain rows of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/vec.h"
#include "backends/dtype.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kKeyGroup = 16;
constexpr std::uint32_t kTileRows = 32;

LM_INLINE void expand_f16(const std::uint16_t* from, std::uint64_t n, float* to) {
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store(to + i, load_f16(from + i));
  }
  if (i < n) {
    std::uint16_t lane[kLanes] = {};
    __builtin_memcpy(lane, from + i, (n - i) * sizeof(std::uint16_t));
    const Vec last = load_f16(lane);
    __builtin_memcpy(to + i, &last, (n - i) * sizeof(float));
  }
}

// Widening of kLanes small integers. The instructions by name: g++ 12 makes element by element
// copies of the generic conversions.
#if defined(__AVX512F__)
LM_INLINE __m512i widen_i8(const std::byte* p) {
  return _mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LM_INLINE __m512i widen_u8(const std::byte* p) {
  return _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LM_INLINE __m512i widen_u16(const std::uint16_t* p) {
  return _mm512_maskz_cvtepu16_epi32(0xffff,
                                     _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
LM_INLINE Vec to_float(IntVec v) {
  return _mm512_maskz_cvtepi32_ps(0xffff, bits_as<__m512i>(v));
}
#elif defined(__AVX2__)
LM_INLINE __m256i widen_i8(const std::byte* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
LM_INLINE __m256i widen_u8(const std::byte* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
LM_INLINE __m256i widen_u16(const std::uint16_t* p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LM_INLINE Vec to_float(IntVec v) {
  return _mm256_cvtepi32_ps(bits_as<__m256i>(v));
}
#elif defined(__aarch64__)
LM_INLINE int8x8_t four_bytes(const std::byte* p) {
  std::uint32_t bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return vcreate_s8(bytes);
}
LM_INLINE int32x4_t widen_i8(const std::byte* p) {
  return vmovl_s16(vget_low_s16(vmovl_s8(four_bytes(p))));
}
LM_INLINE uint32x4_t widen_u8(const std::byte* p) {
  return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_s8(four_bytes(p)))));
}
LM_INLINE uint32x4_t widen_u16(const std::uint16_t* p) {
  return vmovl_u16(vld1_u16(p));
}
LM_INLINE Vec to_float(IntVec v) {
  return __builtin_convertvector(v, Vec);
}
#else
LM_INLINE IntVec widen_i8(const std::byte* p) {
  std::int8_t b[kLanes];
  __builtin_memcpy(b, p, sizeof b);
  return IntVec{b[0], b[1], b[2], b[3]};
}
LM_INLINE IntVec widen_u8(const std::byte* p) {
  std::uint8_t b[kLanes];
  __builtin_memcpy(b, p, sizeof b);
  return IntVec{b[0], b[1], b[2], b[3]};
}
LM_INLINE IntVec widen_u16(const std::uint16_t* p) {
  return IntVec{p[0], p[1], p[2], p[3]};
}
LM_INLINE Vec to_float(IntVec v) {
  return __builtin_convertvector(v, Vec);
}
#endif

/// kLanes int8 quants.
LM_INLINE Vec load_i8(const std::byte* p) {
  return to_float(bits_as<IntVec>(widen_i8(p)));
}

/// The lower (shift 0) or upper (shift 4) halves of kLanes bytes, less 8.
template <int kShift>
LM_INLINE Vec load_nibbles(const std::byte* p) {
  return to_float((bits_as<IntVec>(widen_u8(p)) >> kShift & 15) - 8);
}

/// The f16 scale of a block.
LM_INLINE float load_scale(const std::byte* p) {
  std::uint16_t bits[kLanes] = {};
  __builtin_memcpy(bits, p, sizeof(std::uint16_t));
  return load_f16(bits)[0];
}

LM_INLINE void expand_bf16(const std::uint16_t* from, std::uint64_t n, float* to) {
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store(to + i, bits_as<Vec>(bits_as<IntVec>(widen_u16(from + i)) << 16));
  }
  for (; i < n; ++i) {
    to[i] = bits_as<float>(static_cast<std::uint32_t>(from[i]) << 16);
  }
}

/// One group of keys in blocks: 16 positions by `dim` dimensions.
template <DType kType>
LM_INLINE void expand_key_group(const std::byte* group, std::uint32_t dim, float* to) {
  constexpr std::uint32_t kVectors = kKeyGroup / kLanes;
  constexpr std::uint32_t kBytes = kType == DType::q8_0 ? 32 : 16;  // of quants in a block
  const std::byte* quants = group + dim / 32 * kKeyGroup * sizeof(std::uint16_t);
  for (std::uint32_t b = 0; b < dim / 32; ++b, to += 32 * kKeyGroup) {
    float scales[kKeyGroup];
    expand_f16(reinterpret_cast<const std::uint16_t*>(group) + b * kKeyGroup, kKeyGroup, scales);
    for (std::uint32_t v = 0; v < kVectors; ++v) {
      const Vec scale = load(scales + v * kLanes);
      for (std::uint32_t i = 0; i < kBytes; ++i) {
        const std::byte* from = quants + i * kKeyGroup + v * kLanes;
        float* column = to + i * kKeyGroup + v * kLanes;
        if constexpr (kType == DType::q8_0) {
          store(column, scale * load_i8(from));
        } else {
          store(column, scale * load_nibbles<0>(from));
          store(column + 16 * kKeyGroup, scale * load_nibbles<4>(from));
        }
      }
    }
    quants += kBytes * kKeyGroup;
  }
}

/// One row of values in blocks.
template <DType kType>
LM_INLINE void expand_value_row(const std::byte* row, std::uint32_t dim, float* to) {
  constexpr std::uint32_t kBytes = kType == DType::q8_0 ? 32 : 16;
  for (std::uint32_t i = 0; i < dim; i += 32, row += sizeof(std::uint16_t) + kBytes) {
    const Vec scale = splat(load_scale(row));
    const std::byte* quants = row + sizeof(std::uint16_t);
    for (std::uint32_t j = 0; j < kBytes; j += kLanes) {
      if constexpr (kType == DType::q8_0) {
        store(to + i + j, scale * load_i8(quants + j));
      } else {
        store(to + i + j, scale * load_nibbles<0>(quants + j));
        store(to + i + 16 + j, scale * load_nibbles<4>(quants + j));
      }
    }
  }
}

template <DType kType>
LM_INLINE void expand_key_groups(const std::byte* tile, std::uint32_t dim, float* to) {
  constexpr std::uint32_t kBlockBytes = kType == DType::q8_0 ? 34 : 18;
  for (std::uint32_t g = 0; g < kTileRows / kKeyGroup; ++g) {
    expand_key_group<kType>(
        tile + static_cast<std::uint64_t>(g) * (dim / 32) * kBlockBytes * kKeyGroup, dim,
        to + static_cast<std::uint64_t>(g) * kKeyGroup * dim);
  }
}

/// All keys of a tile, in the same arrangement.
LM_INLINE void expand_keys(DType dtype, const std::byte* tile, std::uint32_t dim, float* to) {
  const std::uint64_t n = static_cast<std::uint64_t>(kTileRows) * dim;
  switch (dtype) {
    case DType::f16:
      return expand_f16(reinterpret_cast<const std::uint16_t*>(tile), n, to);
    case DType::bf16:
      return expand_bf16(reinterpret_cast<const std::uint16_t*>(tile), n, to);
    case DType::q8_0:
      return expand_key_groups<DType::q8_0>(tile, dim, to);
    case DType::q4_0:
      return expand_key_groups<DType::q4_0>(tile, dim, to);
    default:
      __builtin_memcpy(to, tile, n * sizeof(float));
  }
}

/// The first `dim_v` dimensions of expanded keys [2][dim_k][16] as rows of `width` floats: values
/// that are part of the keys.
LM_INLINE void transpose_keys(const float* keys, std::uint32_t dim_k, std::uint32_t dim_v,
                              std::uint32_t width, float* to) {
  for (std::uint32_t row = 0; row < kTileRows;
       row += 4, to += static_cast<std::uint64_t>(4) * width) {
    const float* from =
        keys + static_cast<std::uint64_t>(row / kKeyGroup) * kKeyGroup * dim_k + row % kKeyGroup;
    std::uint32_t d = 0;
    for (; d + 4 <= dim_v; d += 4, from += 4 * kKeyGroup) {
      Quad a, b, c, e;
      __builtin_memcpy(&a, from, sizeof a);
      __builtin_memcpy(&b, from + kKeyGroup, sizeof b);
      __builtin_memcpy(&c, from + 2 * kKeyGroup, sizeof c);
      __builtin_memcpy(&e, from + 3 * kKeyGroup, sizeof e);
      const Quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      const Quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Quad ce_low = __builtin_shufflevector(c, e, 0, 4, 1, 5);
      const Quad ce_high = __builtin_shufflevector(c, e, 2, 6, 3, 7);
      const Quad rows[4] = {__builtin_shufflevector(ab_low, ce_low, 0, 1, 4, 5),
                            __builtin_shufflevector(ab_low, ce_low, 2, 3, 6, 7),
                            __builtin_shufflevector(ab_high, ce_high, 0, 1, 4, 5),
                            __builtin_shufflevector(ab_high, ce_high, 2, 3, 6, 7)};
      for (std::uint32_t i = 0; i < 4; ++i) {
        __builtin_memcpy(to + static_cast<std::uint64_t>(i) * width + d, &rows[i], sizeof(Quad));
      }
    }
    for (std::uint32_t i = 0; i < 4; ++i) {
      for (std::uint32_t rest = d; rest < width; ++rest) {
        to[static_cast<std::uint64_t>(i) * width + rest] =
            rest < dim_v ? from[(rest - d) * kKeyGroup + i] : 0.0f;
      }
    }
  }
}

/// All values of a tile as rows of `width` floats, `dim` of them used and the rest zero.
LM_INLINE void expand_values(DType dtype, const std::byte* tile, std::uint32_t dim,
                             std::uint32_t width, float* to) {
  for (std::uint32_t row = 0; row < kTileRows; ++row, to += width) {
    switch (dtype) {
      case DType::f16:
        expand_f16(reinterpret_cast<const std::uint16_t*>(tile), dim, to);
        tile += dim * sizeof(std::uint16_t);
        break;
      case DType::bf16:
        expand_bf16(reinterpret_cast<const std::uint16_t*>(tile), dim, to);
        tile += dim * sizeof(std::uint16_t);
        break;
      case DType::q8_0:
        expand_value_row<DType::q8_0>(tile, dim, to);
        tile += dim / 32 * 34;
        break;
      case DType::q4_0:
        expand_value_row<DType::q4_0>(tile, dim, to);
        tile += dim / 32 * 18;
        break;
      default:
        __builtin_memcpy(to, tile, dim * sizeof(float));
        tile += dim * sizeof(float);
    }
    for (std::uint32_t i = dim; i < width; ++i) {
      to[i] = 0.0f;
    }
  }
}

}  // namespace
}  // namespace lm::cpu
