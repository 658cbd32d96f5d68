/// Products of int8 vectors and tiles at the three levels of 64-bit ARM: NEON alone, with dot
/// products, with matrix products (i8mm). Which one is decided by the flags of the including file.
///
/// Weights of eight rows and activations of eight token rows lie in units of kUnit values: unit u
/// of row r at (u * 8 + r) * kUnit. A register tile takes all eight weight rows and four token
/// rows.
#pragma once

#include "backends/cpu/kernels/simd_neon.h"

namespace lm::cpu {
namespace {

#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr std::uint32_t kUnit = 8;
constexpr int kScaleVectors = 4;  ///< vectors that hold one value per weight row as sums lie
#else
constexpr std::uint32_t kUnit = 4;
constexpr int kScaleVectors = 2;
#endif
constexpr int kSums = 8;  ///< vectors of a tile's sums

/// Integer sums of a register tile. With i8mm a vector holds two weight rows by two token rows,
/// else four weight rows of one token row.
struct TileSums {
  int32x4_t v[kSums];
};

inline TileSums zero_sums() {
  TileSums sums;
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) {
    sums.v[i] = vdupq_n_s32(0);
  }
  return sums;
}

/// Sums of weight rows 4h to 4h + 3 with token row n.
inline int32x4_t sums_of(const TileSums& sums, int n, int h) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  const int32x4_t a = sums.v[4 * (n / 2) + 2 * h];
  const int32x4_t b = sums.v[4 * (n / 2) + 2 * h + 1];
  return n % 2 == 0 ? vuzp1q_s32(a, b) : vuzp2q_s32(a, b);
#else
  return sums.v[2 * n + h];
#endif
}

/// An integer per weight row as `add_scaled` reads it.
struct alignas(16) RowScales {
  std::int32_t v[4 * kScaleVectors];

  void put(std::uint32_t r, std::int32_t scale) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    v[2 * r] = v[2 * r + 1] = scale;
#else
    v[r] = scale;
#endif
  }
};

/// to += sums * scale of the weight row.
inline void add_scaled(TileSums& to, const TileSums& sums, const RowScales& scale) {
  int32x4_t s[kScaleVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kScaleVectors; ++i) {
    s[i] = vld1q_s32(scale.v + 4 * i);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) {
    to.v[i] = vmlaq_s32(to.v[i], sums.v[i], s[i % kScaleVectors]);
  }
}

/// Sixteen products as eight sums of two in int16: |w| <= 128 and |x| <= 127 fit.
inline int16x8_t pair_products(int8x16_t w, int8x16_t x) {
  return vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x);
}

/// Products of 16 values, as four sums.
inline int32x4_t dot16(int8x16_t w, int8x16_t x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(vdupq_n_s32(0), w, x);
#else
  return vpaddlq_s16(pair_products(w, x));
#endif
}

/// Products of 32 values, as four sums.
inline int32x4_t dot32(int8x16x2_t w, int8x16x2_t x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(dot16(w.val[0], x.val[0]), w.val[1], x.val[1]);
#else
  return vpadalq_s16(dot16(w.val[0], x.val[0]), pair_products(w.val[1], x.val[1]));
#endif
}

inline int8x16x2_t load32(const std::int8_t* p) {
  return {{vld1q_s8(p), vld1q_s8(p + 16)}};
}

/// Sums over kValues values of k. `w` points to the panel's units of these, `x` to those of the
/// first token row of the tile.
template <std::uint32_t kValues>
inline TileSums dot_tile(const std::int8_t* w, const std::int8_t* x) {
  TileSums sums = zero_sums();
#if defined(__ARM_FEATURE_MATMUL_INT8)
#pragma GCC unroll 4
  for (std::uint32_t u = 0; u < kValues / kUnit; ++u, w += 64, x += 64) {
    const int8x16_t x0 = vld1q_s8(x);
    const int8x16_t x1 = vld1q_s8(x + 16);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const int8x16_t rows = vld1q_s8(w + 16 * r);
      sums.v[r] = vmmlaq_s32(sums.v[r], rows, x0);
      sums.v[4 + r] = vmmlaq_s32(sums.v[4 + r], rows, x1);
    }
  }
#elif defined(__ARM_FEATURE_DOTPROD)
#pragma GCC unroll 8
  for (std::uint32_t u = 0; u < kValues / kUnit; ++u, w += 32, x += 32) {
    const int8x16_t tokens = vld1q_s8(x);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const int8x16_t rows = vld1q_s8(w + 16 * h);
      sums.v[h] = vdotq_laneq_s32(sums.v[h], rows, tokens, 0);
      sums.v[2 + h] = vdotq_laneq_s32(sums.v[2 + h], rows, tokens, 1);
      sums.v[4 + h] = vdotq_laneq_s32(sums.v[4 + h], rows, tokens, 2);
      sums.v[6 + h] = vdotq_laneq_s32(sums.v[6 + h], rows, tokens, 3);
    }
  }
#else
#pragma GCC unroll 4
  for (int n = 0; n < 4; ++n) {
    int32x4_t halves[4];  // two sums each of rows 2i and 2i + 1
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      halves[i] = vdupq_n_s32(0);
    }
#pragma GCC unroll 4
    for (std::uint32_t u = 0; u < kValues / kUnit; u += 2) {  // two products fit int16
      int16x8_t products[4];
#pragma GCC unroll 2
      for (std::uint32_t next = 0; next < 2; ++next) {
        std::int32_t four;
        std::memcpy(&four, x + 32 * (u + next) + 4 * n, sizeof four);
        const int8x16_t token = vreinterpretq_s8_s32(vdupq_n_s32(four));
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          const int8x16_t rows = vld1q_s8(w + 32 * (u + next) + 16 * h);
          if (next == 0) {
            products[2 * h] = vmull_s8(vget_low_s8(rows), vget_low_s8(token));
            products[2 * h + 1] = vmull_high_s8(rows, token);
          } else {
            products[2 * h] = vmlal_s8(products[2 * h], vget_low_s8(rows), vget_low_s8(token));
            products[2 * h + 1] = vmlal_high_s8(products[2 * h + 1], rows, token);
          }
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        halves[i] = vpadalq_s16(halves[i], products[i]);
      }
    }
    sums.v[2 * n] = vpaddq_s32(halves[0], halves[1]);
    sums.v[2 * n + 1] = vpaddq_s32(halves[2], halves[3]);
  }
#endif
  return sums;
}

/// Sixteen values of one row (weights or activations) to their units, of which the first is at
/// `to`.
inline void put_units(std::int8_t* to, int8x16_t v) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  vst1_s8(to, vget_low_s8(v));
  vst1_s8(to + 64, vget_high_s8(v));
#else
  const int32x4_t fours = vreinterpretq_s32_s8(v);
  vst1q_lane_s32(reinterpret_cast<std::int32_t*>(to), fours, 0);
  vst1q_lane_s32(reinterpret_cast<std::int32_t*>(to + 32), fours, 1);
  vst1q_lane_s32(reinterpret_cast<std::int32_t*>(to + 64), fours, 2);
  vst1q_lane_s32(reinterpret_cast<std::int32_t*>(to + 96), fours, 3);
#endif
}

}  // namespace
}  // namespace lm::cpu
