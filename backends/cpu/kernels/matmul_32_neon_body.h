/// Weights in blocks of 32 on 64-bit ARM: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4; included by
/// matmul_32_{neon,dotprod,i8mm}.cpp only. Every type becomes w = scale * q (+ min) with a signed
/// byte q.
#pragma once

#include "backends/cpu/kernels/dot_neon.h"
#include "backends/cpu/kernels/matmul_kernels.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kBlock = 32;
constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 4;
constexpr std::ptrdiff_t kDecodeAhead = 1024;  ///< prefetch distance, bytes within each stream

// ---- activations ----

/// 32 values of one row.
struct Act32 {
  std::int8_t q[32];
  float d;
  float d_sum;  ///< d * sum of q
};

/// 32 values of kTileRows rows.
struct alignas(16) Tile32 {
  std::int8_t q[32 * kTileRows];  ///< in units
  float d[kTileRows];
  float d_sum[kTileRows];
};

void convert_single(const float* x, Act32& out) {
  const ActScale scale = scale_of_values(x, kBlock);
  const int8x16_t low = quantize16(x, scale.inverse);
  const int8x16_t high = quantize16(x + 16, scale.inverse);
  vst1q_s8(out.q, low);
  vst1q_s8(out.q + 16, high);
  out.d = scale.d;
  out.d_sum = scale.d * static_cast<float>(vaddlvq_s8(low) + vaddlvq_s8(high));
}

void convert(const float* x, std::uint64_t x_stride, std::uint32_t n_rows, std::uint32_t k,
             std::byte* act, std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint32_t n_blocks = k / kBlock;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const float* values = x + r * x_stride + std::uint64_t{b} * kBlock;
      if (n_rows == 1) {
        convert_single(values, reinterpret_cast<Act32*>(act)[b]);
        continue;
      }
      Act32 row;
      convert_single(values, row);
      Tile32& tile = (reinterpret_cast<Tile32*>(act) + std::uint64_t{r / kTileRows} * n_blocks)[b];
      const std::uint32_t t = r % kTileRows;
      put_units(tile.q + t * kUnit, vld1q_s8(row.q));
      put_units(tile.q + 16 * kTileRows + t * kUnit, vld1q_s8(row.q + 16));
      tile.d[t] = row.d;
      tile.d_sum[t] = row.d_sum;
    }
  }
}

// ---- weight types ----

/// 16 bytes of nibbles to 32 bytes: low nibbles first.
inline int8x16x2_t expand_nibbles(const std::uint8_t* p) {
  const uint8x16_t v = vld1q_u8(p);
  return {
      {vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(v, 4))}};
}
inline int8x16x2_t less(int8x16x2_t v, std::int8_t offset) {
  const int8x16_t zero_point = vdupq_n_s8(offset);
  return {{vsubq_s8(v.val[0], zero_point), vsubq_s8(v.val[1], zero_point)}};
}

struct Q80 {
  static constexpr std::size_t kBytes = 34;
  static constexpr bool kHasMin = false;
  static int8x16x2_t values(const std::uint8_t* block) {
    return {{vreinterpretq_s8_u8(vld1q_u8(block + 2)), vreinterpretq_s8_u8(vld1q_u8(block + 18))}};
  }
  static float scale(const std::uint8_t* block) { return load_half(block); }
};

/// Four-bit types with a f16 scale.
template <std::size_t kQuants, bool kMin, int kOffset>
struct Nibbles {
  static constexpr std::size_t kBytes = kQuants + 16;
  static constexpr bool kHasMin = kMin;
  static int8x16x2_t values(const std::uint8_t* block) {
    return less(expand_nibbles(block + kQuants), kOffset);
  }
  static float scale(const std::uint8_t* block) { return load_half(block); }
  static float min(const std::uint8_t* block) { return load_half(block + 2); }
};
using Q40 = Nibbles<2, false, 8>;
using Q41 = Nibbles<4, true, 0>;

/// Five-bit types: nibbles and a word of fifth bits before them.
template <std::size_t kQuants, bool kMin, int kOffset>
struct FiveBits : Nibbles<kQuants, kMin, kOffset> {
  /// Bit i of two bytes as bit 4 of byte i.
  static int8x16_t fifth_bits(std::uint8_t low, std::uint8_t high) {
    const uint8x16_t bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bytes = vcombine_u8(vdup_n_u8(low), vdup_n_u8(high));
    return vreinterpretq_s8_u8(vandq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(16)));
  }
  static int8x16x2_t values(const std::uint8_t* block) {
    const std::uint8_t* fifth = block + kQuants - 4;
    int8x16x2_t v = expand_nibbles(block + kQuants);
    v.val[0] = vorrq_s8(v.val[0], fifth_bits(fifth[0], fifth[1]));
    v.val[1] = vorrq_s8(v.val[1], fifth_bits(fifth[2], fifth[3]));
    return less(v, kOffset);
  }
};
using Q50 = FiveBits<6, false, 16>;
using Q51 = FiveBits<8, true, 0>;

/// Nibbles that index a table of sixteen int8.
inline int8x16x2_t table_values(const std::uint8_t* p, int8x16_t table) {
  const int8x16x2_t index = expand_nibbles(p);
  return {{vqtbl1q_s8(table, vreinterpretq_u8_s8(index.val[0])),
           vqtbl1q_s8(table, vreinterpretq_u8_s8(index.val[1]))}};
}

struct Iq4Nl {
  static constexpr std::size_t kBytes = 18;
  static constexpr bool kHasMin = false;
  static int8x16x2_t values(const std::uint8_t* block) {
    const int8x16_t table = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};
    return table_values(block + 2, table);
  }
  static float scale(const std::uint8_t* block) { return load_half(block); }
};

struct Mxfp4 {
  static constexpr std::size_t kBytes = 17;
  static constexpr bool kHasMin = false;
  static int8x16x2_t values(const std::uint8_t* block) {  // E2M1 doubled
    const int8x16_t table = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return table_values(block + 1, table);
  }
  /// 2^(e - 128), half of what E8M0 means, because the table is doubled. 0 and 1 are subnormal.
  static float scale(const std::uint8_t* block) {
    const std::uint8_t e = block[0];
    return float_of_bits(e < 2 ? 0x00200000u << e : (std::uint32_t{e} - 1u) << 23);
  }
};

// ---- several rows ----

/// Eight rows by 32 values.
struct alignas(16) Panel32 {
  std::int8_t q[32 * kLanes];  ///< in units
  float scale[kLanes];
  float min[kLanes];
};

template <class Type>
inline void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
#pragma GCC unroll 2
  for (std::uint32_t r = 0; r < kLanes; ++r) {
    const std::uint8_t* block = rows.row[r] + offset;
    const int8x16x2_t v = Type::values(block);
    put_units(out.q + r * kUnit, v.val[0]);
    put_units(out.q + 16 * kLanes + r * kUnit, v.val[1]);
    out.scale[r] = Type::scale(block);
    if constexpr (Type::kHasMin) {
      out.min[r] = Type::min(block);
    }
  }
}

/// One register tile: eight weight rows by kTokens token rows over all of k. Token rows past the
/// last are computed from whatever the tile holds there, and dropped.
template <bool kHasMin>
void run_tile(const MatMulArgs& args, const Panel32* panel, const Tile32* x, std::uint32_t token,
              std::uint32_t first, std::uint32_t alive) {
  const std::uint32_t t = token % kTileRows;
  float32x4_t total[kTokens][2];
#pragma GCC unroll 4
  for (std::uint32_t n = 0; n < kTokens; ++n) {
    total[n][0] = total[n][1] = vdupq_n_f32(0.0f);
  }
  for (std::uint32_t b = 0; b < args.k / kBlock; ++b) {
    const Panel32& w = panel[b];
    const Tile32& a = x[b];
    const TileSums sums = dot_tile<32>(w.q, a.q + t * kUnit);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const float32x4_t scale = vld1q_f32(w.scale + 4 * h);
#pragma GCC unroll 4
      for (std::uint32_t n = 0; n < kTokens; ++n) {
        const float32x4_t v = vcvtq_f32_s32(sums_of(sums, static_cast<int>(n), h));
        total[n][h] = vfmaq_f32(total[n][h], v, vmulq_n_f32(scale, a.d[t + n]));
        if constexpr (kHasMin) {
          total[n][h] = vfmaq_n_f32(total[n][h], vld1q_f32(w.min + 4 * h), a.d_sum[t + n]);
        }
      }
    }
  }
  const std::uint32_t tokens = args.n_rows - token < kTokens ? args.n_rows - token : kTokens;
  store_outputs(args, token, tokens, first, alive, total);
}

// ---- one row ----

template <class Type>
struct BlockDot {
  const Act32* act;
  std::uint32_t n_blocks;

  template <int kStreams>
  void run(const std::uint8_t* const* row, float* out) const {
    float32x4_t acc[kStreams];
    float min[kStreams];
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = vdupq_n_f32(0.0f);
      min[s] = 0.0f;
    }
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const Act32& a = act[b];
      const int8x16x2_t x = load32(a.q);
#pragma GCC unroll 4
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Type::kBytes;
        prefetch(block, kDecodeAhead);
        const float32x4_t dots = vcvtq_f32_s32(dot32(Type::values(block), x));
        acc[s] = vfmaq_n_f32(acc[s], dots, Type::scale(block) * a.d);
        if constexpr (Type::kHasMin) {
          min[s] += Type::min(block) * a.d_sum;
        }
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s] = vaddvq_f32(acc[s]) + min[s];
    }
  }
};

// ---- table ----

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  const std::uint32_t n_blocks = args.k / kBlock;
  if (args.n_rows == 1) {
    const BlockDot<Type> dot{reinterpret_cast<const Act32*>(args.act), n_blocks};
    for_each_stream<kDecodeStreams>(args, begin, end, dot);
    return;
  }
  auto* panel = reinterpret_cast<Panel32*>(scratch);
  const auto* act = reinterpret_cast<const Tile32*>(args.act);
  for (std::uint32_t first = begin; first < end; first += kLanes) {
    const PanelRows rows(args, first, end);
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      unpack<Type>(rows, b * Type::kBytes, panel[b]);
    }
    for (std::uint32_t token = 0; token < args.n_rows; token += kTokens) {
      run_tile<Type::kHasMin>(args, panel, act + std::uint64_t{token / kTileRows} * n_blocks, token,
                              first, end - first);
    }
  }
}

std::uint64_t scratch_bytes(std::uint32_t n_rows, std::uint32_t k) {
  return n_rows == 1 ? 0 : std::uint64_t{k / kBlock} * sizeof(Panel32);
}

template <class Type>
constexpr MatMulKernel make_kernel(DType weight) {
  return {weight,  ActFormat::q8_32, kRowStep,      tiled_act_bytes<Act32, Tile32, kBlock, 1>,
          convert, kTileRows,        scratch_bytes, run<Type>};
}

constexpr MatMulKernel kKernels[] = {
    make_kernel<Q80>(DType::q8_0),   make_kernel<Q40>(DType::q4_0),
    make_kernel<Q41>(DType::q4_1),   make_kernel<Q50>(DType::q5_0),
    make_kernel<Q51>(DType::q5_1),   make_kernel<Iq4Nl>(DType::iq4_nl),
    make_kernel<Mxfp4>(DType::mxfp4)};

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
