/// Types in blocks of 256 on 64-bit ARM: Q2_K to Q6_K and IQ4_XS, and by way of bytes those of
/// unpack_bytes.h; included by matmul_k_{neon,dotprod,i8mm}.cpp only. Sums of a block stay
/// integers, scales included: at most 256 * 127 * 128 * 32, which fits.
#pragma once

#include "backends/cpu/kernels/blocks_k_neon.h"
#include "backends/cpu/kernels/dot_neon.h"
#include "backends/cpu/kernels/matmul_kernels.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 4;
constexpr std::ptrdiff_t kDecodeAhead = 1024;  ///< prefetch distance, bytes within each stream

// ---- activations ----

/// 256 values of one row.
struct alignas(16) Act256 {
  std::int8_t q[256];
  std::int16_t sum[16];  ///< sums of 16 q
  float d;
};

/// 256 values of kTileRows rows.
struct alignas(16) Tile256 {
  std::int8_t q[256 * kTileRows];  ///< in units
  std::int16_t sum[kTileRows][16];
  float d[kTileRows];
};

void convert_single(const float* x, Act256& out) {
  const ActScale scale = scale_of_values(x, kBlock);
  out.d = scale.d;
  for (int j = 0; j < 16; ++j) {
    const int8x16_t q = quantize16(x + 16 * j, scale.inverse);
    vst1q_s8(out.q + 16 * j, q);
    out.sum[j] = vaddlvq_s8(q);
  }
}

void convert(const float* x, std::uint64_t x_stride, std::uint32_t n_rows, std::uint32_t k,
             std::byte* act, std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint32_t n_blocks = k / kBlock;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const float* values = x + r * x_stride + std::uint64_t{b} * kBlock;
      if (n_rows == 1) {
        convert_single(values, reinterpret_cast<Act256*>(act)[b]);
        continue;
      }
      Act256 row;
      convert_single(values, row);
      Tile256& tile =
          (reinterpret_cast<Tile256*>(act) + std::uint64_t{r / kTileRows} * n_blocks)[b];
      const std::uint32_t t = r % kTileRows;
      for (std::uint32_t j = 0; j < 16; ++j) {
        put_units(tile.q + 16 * j * kTileRows + t * kUnit, vld1q_s8(row.q + 16 * j));
      }
      std::memcpy(tile.sum[t], row.sum, sizeof row.sum);
      tile.d[t] = row.d;
    }
  }
}

// ---- several rows ----

template <std::uint32_t kMins>
struct PanelMins {
  std::int16_t min[kMins][kLanes];
  float dmin[kLanes];
};
template <>
struct PanelMins<0> {};

/// Eight rows by 256 values.
template <class Type>
struct alignas(16) Panel : PanelMins<Type::kMins> {
  std::int8_t q[256 * kLanes];  ///< in units
  RowScales scale[kBlock / Type::kGroup];
  float d[kLanes];
};

template <class Type>
inline void unpack(const PanelRows& rows, std::size_t offset, Panel<Type>& out) {
  for (std::uint32_t r = 0; r < kLanes; ++r) {
    const typename Type::Block block(rows.row[r] + offset);
    out.d[r] = block.head.d;
    for (std::uint32_t j = 0; j < kBlock / Type::kGroup; ++j) {
      out.scale[j].put(r, block.head.scale[j]);
    }
    if constexpr (Type::kMins != 0) {
      out.dmin[r] = block.head.dmin;
      for (std::uint32_t j = 0; j < Type::kMins; ++j) {
        out.min[j][r] = block.head.min[j];
      }
    }
#pragma GCC unroll 8
    for (unsigned g = 0; g < 8; ++g) {
      const int8x16x2_t v = block.values(g);
      put_units(out.q + 32 * g * kLanes + r * kUnit, v.val[0]);
      put_units(out.q + (32 * g + 16) * kLanes + r * kUnit, v.val[1]);
    }
  }
}

/// total -= the minima's share of a block, for token row t + n of the tile in total[n].
template <class Type>
inline void subtract_mins(const Panel<Type>& w, const Tile256& x, std::uint32_t t,
                          float32x4_t (&total)[kTokens][2]) {
  const float32x4_t dmin[2] = {vld1q_f32(w.dmin), vld1q_f32(w.dmin + 4)};
#pragma GCC unroll 4
  for (std::uint32_t n = 0; n < kTokens; ++n) {
    const std::int16_t* sum = x.sum[t + n];
    int32x4_t mins[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
#pragma GCC unroll 4
    for (std::uint32_t j = 0; j < Type::kMins; ++j) {
      const int sum_x = Type::kMins == 16 ? sum[j] : sum[2 * j] + sum[2 * j + 1];
      const int16x4_t value = vdup_n_s16(static_cast<std::int16_t>(sum_x));
      const int16x8_t min = vld1q_s16(w.min[j]);
      mins[0] = vmlal_s16(mins[0], vget_low_s16(min), value);
      mins[1] = vmlal_s16(mins[1], vget_high_s16(min), value);
    }
    for (int h = 0; h < 2; ++h) {
      total[n][h] =
          vfmsq_f32(total[n][h], vcvtq_f32_s32(mins[h]), vmulq_n_f32(dmin[h], x.d[t + n]));
    }
  }
}

/// One register tile: eight weight rows by kTokens token rows over all of k. Token rows past the
/// last are computed from whatever the tile holds there, and dropped.
template <class Type>
void run_tile(const MatMulArgs& args, const Panel<Type>* panel, const Tile256* x,
              std::uint32_t token, std::uint32_t first, std::uint32_t alive) {
  constexpr std::uint32_t kGroup = Type::kGroup;
  const std::uint32_t t = token % kTileRows;
  float32x4_t total[kTokens][2];
#pragma GCC unroll 4
  for (std::uint32_t n = 0; n < kTokens; ++n) {
    total[n][0] = total[n][1] = vdupq_n_f32(0.0f);
  }
  for (std::uint32_t b = 0; b < args.k / kBlock; ++b) {
    const Panel<Type>& w = panel[b];
    TileSums sums = zero_sums();
#pragma GCC unroll 1
    for (std::uint32_t g = 0; g < kBlock / kGroup; ++g) {
      const std::uint32_t at = g * kGroup * kLanes;
      add_scaled(sums, dot_tile<kGroup>(w.q + at, x[b].q + at + t * kUnit), w.scale[g]);
    }
    const float32x4_t d[2] = {vld1q_f32(w.d), vld1q_f32(w.d + 4)};
#pragma GCC unroll 4
    for (std::uint32_t n = 0; n < kTokens; ++n) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const float32x4_t v = vcvtq_f32_s32(sums_of(sums, static_cast<int>(n), h));
        total[n][h] = vfmaq_f32(total[n][h], v, vmulq_n_f32(d[h], x[b].d[t + n]));
      }
    }
    if constexpr (Type::kMins != 0) {
      subtract_mins<Type>(w, x[b], t, total);
    }
  }
  const std::uint32_t tokens = args.n_rows - token < kTokens ? args.n_rows - token : kTokens;
  store_outputs(args, token, tokens, first, alive, total);
}

// ---- one row ----

template <class Type>
struct BlockDot {
  const Act256* act;
  std::uint32_t n_blocks;

  static float32x4_t dots(const typename Type::Block& block, const Act256& a) {
    const Head& head = block.head;
    int32x4_t sum = vdupq_n_s32(0);
#pragma GCC unroll 8
    for (unsigned g = 0; g < 8; ++g) {
      const int8x16x2_t w = block.values(g);
      const int8x16x2_t x = load32(a.q + 32 * g);
      if constexpr (Type::kGroup == 32) {
        sum = vmlaq_n_s32(sum, dot32(w, x), head.scale[g]);
      } else {
        sum = vmlaq_n_s32(sum, dot16(w.val[0], x.val[0]), head.scale[2 * g]);
        sum = vmlaq_n_s32(sum, dot16(w.val[1], x.val[1]), head.scale[2 * g + 1]);
      }
    }
    return vcvtq_f32_s32(sum);
  }

  static float32x4_t mins(const Head& head, const Act256& a) {
    const int16x8_t low = vld1q_s16(a.sum);
    const int16x8_t high = vld1q_s16(a.sum + 8);
    const int16x8_t min = vld1q_s16(head.min);
    const auto add = [](int32x4_t sum, int16x8_t u, int16x8_t v) {
      return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(u), vget_low_s16(v)), u, v);
    };
    if constexpr (Type::kMins == 8) {
      return vcvtq_f32_s32(add(vdupq_n_s32(0), min, vpaddq_s16(low, high)));
    } else {
      return vcvtq_f32_s32(add(add(vdupq_n_s32(0), min, low), vld1q_s16(head.min + 8), high));
    }
  }

  template <int kStreams>
  void run(const std::uint8_t* const* row, float* out) const {
    float32x4_t acc[kStreams];
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = vdupq_n_f32(0.0f);
    }
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const Act256& a = act[b];
#pragma GCC unroll 4
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* bytes = row[s] + b * Type::kBytes;
        for (std::size_t line = 0; line < Type::kBytes; line += 64) {
          prefetch(bytes + line, kDecodeAhead);
        }
        const typename Type::Block block(bytes);
        acc[s] = vfmaq_n_f32(acc[s], dots(block, a), block.head.d * a.d);
        if constexpr (Type::kMins != 0) {
          acc[s] = vfmsq_n_f32(acc[s], mins(block.head, a), block.head.dmin * a.d);
        }
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s] = vaddvq_f32(acc[s]);
    }
  }
};

// ---- table ----

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  const std::uint32_t n_blocks = args.k / kBlock;
  if (args.n_rows == 1) {
    const BlockDot<Type> dot{reinterpret_cast<const Act256*>(args.act), n_blocks};
    for_each_stream<kDecodeStreams>(args, begin, end, dot);
    return;
  }
  auto* panel = reinterpret_cast<Panel<Type>*>(scratch);
  const auto* act = reinterpret_cast<const Tile256*>(args.act);
  for (std::uint32_t first = begin; first < end; first += kLanes) {
    const PanelRows rows(args, first, end);
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      unpack<Type>(rows, b * Type::kBytes, panel[b]);
    }
    for (std::uint32_t token = 0; token < args.n_rows; token += kTokens) {
      run_tile<Type>(args, panel, act + std::uint64_t{token / kTileRows} * n_blocks, token, first,
                     end - first);
    }
  }
}

template <class Type>
std::uint64_t scratch_bytes(std::uint32_t n_rows, std::uint32_t k) {
  return n_rows == 1 ? 0 : std::uint64_t{k / kBlock} * sizeof(Panel<Type>);
}

template <class Type>
constexpr MatMulKernel make_kernel(DType weight) {
  return {weight,
          ActFormat::q8_256,
          kRowStep,
          tiled_act_bytes<Act256, Tile256, kBlock, 1>,
          convert,
          kTileRows,
          scratch_bytes<Type>,
          run<Type>};
}

constexpr MatMulKernel kKernels[] = {
    make_kernel<Q4K>(DType::q4_k),
    make_kernel<Q5K>(DType::q5_k),
    make_kernel<Q6K>(DType::q6_k),
    make_kernel<Q2K>(DType::q2_k),
    make_kernel<Q3K>(DType::q3_k),
    make_kernel<Iq4Xs>(DType::iq4_xs),
    make_kernel<Unpacked<Iq2Xxs>>(DType::iq2_xxs),
    make_kernel<Unpacked<Iq2Xs>>(DType::iq2_xs),
    make_kernel<Unpacked<Iq2S>>(DType::iq2_s),
    make_kernel<Unpacked<Iq3Xxs>>(DType::iq3_xxs),
    make_kernel<Unpacked<Iq3S>>(DType::iq3_s),
    make_kernel<Unpacked<Iq1S>>(DType::iq1_s),
    make_kernel<Unpacked<Iq1M>>(DType::iq1_m),
    make_kernel<Unpacked<Tq10>>(DType::tq1_0),
    make_kernel<Unpacked<Tq20>>(DType::tq2_0),
};

inline const MatMulKernel* find_kernel(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace
}  // namespace lm::cpu
