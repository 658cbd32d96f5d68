/// NEON helpers of the matmul kernels on 64-bit ARM. Only for kernel files; everything has internal
/// linkage, so that no function compiled for a higher level is ever linked into code for a lower
/// one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <arm_neon.h>

#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/matmul_act.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kLanes = 8;   ///< weight rows of a panel: two vectors of 32-bit lanes
constexpr std::uint32_t kTokens = 4;  ///< token rows of a register tile: half a tile of activations
static_assert(kTileRows == 2 * kTokens);

inline std::uint16_t load_u16(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline std::uint32_t load_u32(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline float float_of_bits(std::uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
inline float float_of_half(std::uint16_t bits) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}
inline float load_half(const std::uint8_t* p) {
  return float_of_half(load_u16(p));
}

inline void prefetch(const std::uint8_t* p, std::ptrdiff_t ahead) {
  __builtin_prefetch(p + ahead);
}

/// Eight rows of weights. Past the last row the last one is repeated.
struct PanelRows {
  const std::uint8_t* row[kLanes];

  PanelRows(const MatMulArgs& args, std::uint32_t first, std::uint32_t end) {
    for (std::uint32_t r = 0; r < kLanes; ++r) {
      const std::uint32_t o = first + r < end ? first + r : end - 1;
      row[r] = reinterpret_cast<const std::uint8_t*>(args.weight) + o * args.weight_row_bytes;
    }
  }
};

/// out[token, first..] (+)= sums + bias for `tokens` (up to kTokens) token rows and `alive` (eight
/// or fewer) weight rows; weight row r in lane r % 4 of vector r / 4.
inline void store_outputs(const MatMulArgs& args, std::uint32_t token, std::uint32_t tokens,
                          std::uint32_t first, std::uint32_t alive,
                          const float32x4_t (&sum)[kTokens][2]) {
  for (std::uint32_t n = 0; n < tokens; ++n) {
    float* out = args.out + (token + n) * args.out_stride + first;
    if (alive >= kLanes) {
      for (int h = 0; h < 2; ++h) {
        float32x4_t v = sum[n][h];
        if (args.bias != nullptr) {
          v = vaddq_f32(v, vld1q_f32(args.bias + first + 4 * h));
        }
        if (args.accumulate) {
          v = vaddq_f32(v, vld1q_f32(out + 4 * h));
        }
        vst1q_f32(out + 4 * h, v);
      }
      continue;
    }
    float v[kLanes];
    vst1q_f32(v, sum[n][0]);
    vst1q_f32(v + 4, sum[n][1]);
    for (std::uint32_t r = 0; r < alive; ++r) {
      const float biased = args.bias != nullptr ? v[r] + args.bias[first + r] : v[r];
      out[r] = args.accumulate ? out[r] + biased : biased;
    }
  }
}

inline void store_output(const MatMulArgs& args, std::uint32_t o, float sum) {
  const float v = args.bias != nullptr ? sum + args.bias[o] : sum;
  args.out[o] = args.accumulate ? args.out[o] + v : v;
}

/// A single activation row: splits [begin, end) into kStreams far parts and runs the dot for
/// kStreams weight rows at a time; one core reads several distant streams faster than one.
template <int kStreams, class Dot>
inline void for_each_stream(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end,
                            const Dot& dot) {
  const auto* weight = reinterpret_cast<const std::uint8_t*>(args.weight);
  const std::uint32_t part = (end - begin) / kStreams;
  const std::uint8_t* row[kStreams];
  float sum[kStreams];
  for (std::uint32_t i = 0; i < part; ++i) {
    for (std::uint32_t s = 0; s < kStreams; ++s) {
      row[s] = weight + (begin + s * part + i) * args.weight_row_bytes;
    }
    dot.template run<kStreams>(row, sum);
    for (std::uint32_t s = 0; s < kStreams; ++s) {
      store_output(args, begin + s * part + i, sum[s]);
    }
  }
  for (std::uint32_t o = begin + part * kStreams; o < end; ++o) {
    row[0] = weight + o * args.weight_row_bytes;
    dot.template run<1>(row, sum);
    store_output(args, o, sum[0]);
  }
}

// ---- activations to int8 ----

/// Scale of a block and its reciprocal (0 for a block of zeros, NaN or Inf).
struct ActScale {
  float d;
  float inverse;
};

/// Magnitudes are compared as integers: NaN and Inf rank highest, so neither gets lost.
inline ActScale scale_of_values(const float* x, std::uint32_t n) {
  uint32x4_t bits = vdupq_n_u32(0);
  for (std::uint32_t i = 0; i < n; i += 4) {
    const uint32x4_t v = vreinterpretq_u32_f32(vld1q_f32(x + i));
    bits = vmaxq_u32(bits, vandq_u32(v, vdupq_n_u32(0x7fffffffu)));
  }
  const float largest = float_of_bits(vmaxvq_u32(bits));
  const bool usable = largest > kTinyScale && largest < 3e38f;
  return {largest > kTinyScale || largest != largest ? largest / 127.0f : 0.0f,
          usable ? 127.0f / largest : 0.0f};
}

/// 16 values to int8, to the nearest. What becomes of a NaN or Inf does not matter: the scale of
/// its block carries it on.
inline int8x16_t quantize16(const float* x, float inverse) {
  int16x4_t v[4];
  for (int i = 0; i < 4; ++i) {
    v[i] = vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), inverse)));
  }
  return vcombine_s8(vqmovn_s16(vcombine_s16(v[0], v[1])), vqmovn_s16(vcombine_s16(v[2], v[3])));
}

}  // namespace
}  // namespace lm::cpu
