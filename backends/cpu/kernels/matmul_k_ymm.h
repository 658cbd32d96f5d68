/// Types in blocks of 256 on AVX2: Q2_K to Q6_K and IQ4_XS, and by way of bytes those of
/// unpack_bytes.h. The forms are those of the AVX-512 file
/// with eight weight rows in the lanes, tiles of four token rows, and unsigned by signed byte
/// products through int16. The integer scales of Q2_K and Q3_K are applied where products are
/// widened.
///
/// Included by matmul_k_avx2.cpp and matmul_k_avxvnni.cpp: with AVX-VNNI the dots of simd_avx2.h
/// are one instruction instead of two or three. Internal linkage.
#pragma once

#include "backends/cpu/kernels/bytes_k_avx2.h"
#include "backends/cpu/kernels/decode_k_avx2.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/panel_k_avx2.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 4;

// ---- activations ----

inline ActScale scale_of_256(const float* x) {
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < 256; i += 8) {
    largest = _mm256_max_epi32(largest, abs_bits(x + i));
  }
  return act_scale(largest_lane(largest));
}

void convert_single(const float* x, ActRow256& out) {
  const ActScale scale = scale_of_256(x);
  out.d = scale.d;
  for (int j = 0; j < 8; ++j) {
    const __m256i q = quantize32(x + 32 * j, scale.inverse);
    store256(out.q + 32 * j, q);
    const __m256i fours = sum_fours(q);
    const std::int32_t low = sum_lanes(_mm256_castsi256_si128(fours));
    const std::int32_t high = sum_lanes(_mm256_extracti128_si256(fours, 1));
    out.sum16[2 * j] = static_cast<std::int16_t>(low);
    out.sum16[2 * j + 1] = static_cast<std::int16_t>(high);
    out.sum32[j] = static_cast<std::int16_t>(low + high);
  }
}

void convert_into_tile(const float* x, ActTile256& out, std::uint32_t t) {
  ActRow256 row;
  convert_single(x, row);
  out.d[t] = row.d;
  for (int s = 0; s < 64; ++s) {
    std::memcpy(out.q[s][t], row.q + 4 * s, 4);
  }
  for (int j = 0; j < 16; ++j) {
    out.offset16[j][t] = -32 * row.sum16[j];
  }
  for (int j = 0; j < 8; ++j) {
    out.sum16[j][t][0] = row.sum16[2 * j];
    out.sum16[j][t][1] = row.sum16[2 * j + 1];
    out.sum32[j / 2][t][j % 2] = row.sum32[j];
  }
}

void convert(const float* x, std::uint64_t x_stride, std::uint32_t n_rows, std::uint32_t k,
             std::byte* act, std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint32_t n_blocks = k / kBlock;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const float* values = x + r * x_stride + std::uint64_t{b} * kBlock;
      if (n_rows == 1) {
        convert_single(values, reinterpret_cast<ActRow256*>(act)[b]);
      } else {
        ActTile256* tile =
            reinterpret_cast<ActTile256*>(act) + std::uint64_t{r / kTileRows} * n_blocks;
        convert_into_tile(values, tile[b], r % kTileRows);
      }
    }
  }
}

// ---- several rows ----

/// sum[n] over one block of 256, without the rows' own scale; `t` is the first row within the tile.
template <int kRows>
inline void block_sums(const PanelMin& w, const ActTile256& x, std::uint32_t t,
                       __m256 (&sum)[kRows]) {
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm256_setzero_ps();
  }
#pragma GCC unroll 1
  for (int group = 0; group < 8; ++group) {
    __m256i acc[kRows];
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm256_setzero_si256();
    }
    dot_unsigned<8, 4>(acc, w.q + 8 * group, x.q + 8 * group, t);
    const __m256 scale = _mm256_load_ps(w.scale[group]);
    const __m256 min = _mm256_load_ps(w.min[group]);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      sum[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[n]), scale, sum[n]);
      const float x_sum = x.sum32[group / 2][t + static_cast<std::uint32_t>(n)][group % 2];
      sum[n] = _mm256_fnmadd_ps(min, _mm256_set1_ps(x_sum), sum[n]);
    }
  }
}

template <int kRows>
inline void block_sums(const Panel16& w, const ActTile256& x, std::uint32_t t,
                       __m256 (&sum)[kRows]) {
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm256_setzero_ps();
  }
#pragma GCC unroll 1
  for (int group = 0; group < 16; ++group) {
    __m256i acc[kRows];
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm256_set1_epi32(x.offset16[group][t + static_cast<std::uint32_t>(n)]);
    }
    dot_unsigned<4, 2>(acc, w.q + 4 * group, x.q + 4 * group, t);
    const __m256 scale = _mm256_load_ps(w.scale[group]);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      sum[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[n]), scale, sum[n]);
    }
  }
}

template <int kRows>
inline void block_sums(const PanelCrumbs& w, const ActTile256& x, std::uint32_t t,
                       __m256 (&sum)[kRows]) {
  __m256i acc[kRows];
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    acc[n] = _mm256_setzero_si256();
  }
#pragma GCC unroll 1
  for (int group = 0; group < 16; ++group) {
    dot_scaled<4, 4>(acc, w.q + 4 * group, x.q + 4 * group, t, load256(w.scale[group]));
  }
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[n]), _mm256_load_ps(w.d));
    acc[n] = _mm256_setzero_si256();
  }
#pragma GCC unroll 2
  for (int j = 0; j < 8; ++j) {
    const __m256i min = load256(w.min[j]);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      const std::uint32_t pair = load_u32(x.sum16[j][t + static_cast<std::uint32_t>(n)]);
      acc[n] = _mm256_add_epi32(acc[n],
                                _mm256_madd_epi16(min, _mm256_set1_epi32(static_cast<int>(pair))));
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(acc[n]), _mm256_load_ps(w.dmin), sum[n]);
  }
}

/// Signed weights with a scale per 4 * kSteps values; see dot_signed for kWiden.
template <int kSteps, int kWiden, class Panel, int kRows>
inline void signed_sums(const Panel& w, const ActTile256& x, std::uint32_t t,
                        __m256 (&sum)[kRows]) {
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm256_setzero_ps();
  }
#pragma GCC unroll 1
  for (int group = 0; group < 64 / kSteps; ++group) {
    __m256i acc[kRows];
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm256_setzero_si256();
    }
    dot_signed<kSteps, kWiden>(acc, w.q + kSteps * group, x.q + kSteps * group, t);
    const __m256 scale = _mm256_load_ps(w.scale[group]);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      sum[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[n]), scale, sum[n]);
    }
  }
}

template <int kRows>
inline void block_sums(const PanelSigned& w, const ActTile256& x, std::uint32_t t,
                       __m256 (&sum)[kRows]) {
  signed_sums<8, 1>(w, x, t, sum);
}
template <int kRows>
inline void block_sums(const PanelBytes& w, const ActTile256& x, std::uint32_t t,
                       __m256 (&sum)[kRows]) {
  signed_sums<4, 2>(w, x, t, sum);
}

/// One register tile: eight weight rows by kRows token rows over all of k.
template <class Type, int kRows>
void run_tile(const MatMulArgs& args, const typename Type::Panel* panel, const ActTile256* x,
              std::uint32_t token, std::uint32_t first, std::uint32_t alive) {
  const std::uint32_t t = token % kTileRows;
  __m256 total[kRows];
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    total[n] = _mm256_setzero_ps();
  }
  for (std::uint32_t b = 0; b < args.k / kBlock; ++b) {
    __m256 sum[kRows];
    block_sums<kRows>(panel[b], x[b], t, sum);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      const float d = x[b].d[t + static_cast<std::uint32_t>(n)];
      total[n] = _mm256_fmadd_ps(sum[n], _mm256_set1_ps(d), total[n]);
    }
  }
  store_outputs<kRows>(args, token, first, alive, total);
}

template <class Type>
void run_tiles(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  using Tile = void (*)(const MatMulArgs&, const typename Type::Panel*, const ActTile256*,
                        std::uint32_t, std::uint32_t, std::uint32_t);
  static constexpr Tile kTiles[kTokens + 1] = {nullptr, run_tile<Type, 1>, run_tile<Type, 2>,
                                               run_tile<Type, 3>, run_tile<Type, 4>};
  auto* panel = reinterpret_cast<typename Type::Panel*>(scratch);
  const auto* act = reinterpret_cast<const ActTile256*>(args.act);
  const std::uint32_t n_blocks = args.k / kBlock;
  for (std::uint32_t first = begin; first < end; first += kLanes) {
    const PanelRows rows(args, first, end);
    const std::uint8_t* ahead = rows.row[0] + 2 * kLanes * args.weight_row_bytes;
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const std::size_t offset = b * Type::kBytes;
      prefetch_range(ahead + kLanes * offset, kLanes * Type::kBytes);
      Type::unpack(rows, offset, panel[b]);
    }
    for (std::uint32_t token = 0; token < args.n_rows; token += kTokens) {
      const std::uint32_t alive = args.n_rows - token < kTokens ? args.n_rows - token : kTokens;
      kTiles[alive](args, panel, act + std::uint64_t{token / kTileRows} * n_blocks, token, first,
                    end - first);
    }
  }
}

// ---- table ----

template <class Type>
struct DotOf {
  using type = MinDot<Type>;
};
template <>
struct DotOf<Q6K> {
  using type = SixBitDot;
};
template <>
struct DotOf<Q2K> {
  using type = CrumbDot<Q2K>;
};
template <>
struct DotOf<Q3K> {
  using type = CrumbDot<Q3K>;
};
template <>
struct DotOf<Iq4Xs> {
  using type = Iq4XsDot;
};
template <class Bytes>
struct DotOf<Unpacked<Bytes>> {
  using type = ByteDot<Bytes>;
};

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  if (args.n_rows > 1) {
    run_tiles<Type>(args, begin, end, scratch);
    return;
  }
  const typename DotOf<Type>::type dot{reinterpret_cast<const ActRow256*>(args.act),
                                       args.k / kBlock};
  for_each_stream<kDecodeStreams, 1>(args, begin, end, dot);
}

template <class Type>
std::uint64_t scratch_bytes(std::uint32_t n_rows, std::uint32_t k) {
  return n_rows == 1 ? 0 : std::uint64_t{k / kBlock} * sizeof(typename Type::Panel);
}

template <class Type>
constexpr MatMulKernel make_kernel(DType weight) {
  return {weight,
          ActFormat::q8_256,
          kRowStep,
          tiled_act_bytes<ActRow256, ActTile256, kBlock, 1>,
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
