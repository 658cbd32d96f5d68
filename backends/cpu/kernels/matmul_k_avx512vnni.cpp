/// Types in blocks of 256 on AVX-512 with VNNI: Q2_K to Q6_K and IQ4_XS, and by way of bytes those
/// of unpack_bytes.h.
///
/// Up to four rows (decode): integer dots straight on the file's blocks, several far rows at once.
/// More rows: sixteen weight rows are unpacked once into a panel (row r in lane r, four values of k
/// a lane), then tiles of sixteen weight rows by eight token rows run on registers: the panel's
/// vector is loaded once and multiplied by each row's four bytes, broadcast. Scales are applied in
/// f32 per group (those of Q2_K and Q3_K are multiplied into the panel's bytes), the rows' own
/// scales per 256. Techniques: VNNI on nibbles and int16 scales as in
/// ik_llama.cpp's and our own measured sketches.

#include "backends/cpu/kernels/bytes_k_avx512.h"
#include "backends/cpu/kernels/decode_k_avx512.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/panel_k_avx512.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 4;

// ---- activations ----

inline ActScale scale_of_256(const float* x) {
  __m512i largest = _mm512_setzero_si512();
  for (int i = 0; i < 256; i += 16) {
    largest = _mm512_max_epi32(largest, abs_bits(_mm512_loadu_ps(x + i)));
  }
  return act_scale(float_of_bits(_mm512_reduce_max_epi32(largest)));
}

void convert_single(const float* x, ActRow256& out) {
  const ActScale scale = scale_of_256(x);
  const __m512 inverse = _mm512_set1_ps(scale.inverse);
  out.d = scale.d;
  for (int j = 0; j < 16; ++j) {
    const __m512i q = quantize16(x + 16 * j, inverse);
    _mm_store_si128(reinterpret_cast<__m128i*>(out.q + 16 * j), _mm512_cvtepi32_epi8(q));
    out.sum16[j] = static_cast<std::int16_t>(_mm512_reduce_add_epi32(q));
  }
  for (int j = 0; j < 8; ++j) {
    out.sum32[j] = static_cast<std::int16_t>(out.sum16[2 * j] + out.sum16[2 * j + 1]);
  }
}

void convert_into_tile(const float* x, ActTile256& out, std::uint32_t t) {
  const ActScale scale = scale_of_256(x);
  const __m512 inverse = _mm512_set1_ps(scale.inverse);
  out.d[t] = scale.d;
  std::int32_t sum16[16];
  for (int j = 0; j < 16; ++j) {
    const __m512i q = quantize16(x + 16 * j, inverse);
    alignas(16) std::uint32_t steps[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(steps), _mm512_cvtepi32_epi8(q));
    for (int s = 0; s < 4; ++s) {
      std::memcpy(out.q[4 * j + s][t], &steps[s], 4);
    }
    sum16[j] = _mm512_reduce_add_epi32(q);
    out.offset16[j][t] = -32 * sum16[j];
  }
  for (int j = 0; j < 8; ++j) {
    out.sum16[j][t][0] = static_cast<std::int16_t>(sum16[2 * j]);
    out.sum16[j][t][1] = static_cast<std::int16_t>(sum16[2 * j + 1]);
    out.sum32[j / 2][t][j % 2] = static_cast<std::int16_t>(sum16[2 * j] + sum16[2 * j + 1]);
  }
}

void convert(const float* x, std::uint64_t x_stride, std::uint32_t n_rows, std::uint32_t k,
             std::byte* act, std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint32_t n_blocks = k / kBlock;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const float* values = x + r * x_stride + std::uint64_t{b} * kBlock;
      if (n_rows <= kMaxSingles) {
        convert_single(values, reinterpret_cast<ActRow256*>(act)[r * n_blocks + b]);
      } else {
        ActTile256* tile =
            reinterpret_cast<ActTile256*>(act) + std::uint64_t{r / kTileRows} * n_blocks;
        convert_into_tile(values, tile[b], r % kTileRows);
      }
    }
  }
}

// ---- several rows ----

/// Four values of k for each token row: acc[n] += panel step * row n's four bytes.
template <int kRows>
inline void dot_step(__m512i (&acc)[kRows], const std::uint8_t (*w)[4], const std::int8_t (*x)[4]) {
  const __m512i weights = _mm512_load_si512(w);
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    acc[n] = _mm512_dpbusd_epi32(acc[n], weights, broadcast32(x[n]));
  }
}

/// sum[n] over one block of 256, without the rows' own scale.
template <int kRows>
inline void block_sums(const PanelMin& w, const ActTile256& x, __m512 (&sum)[kRows]) {
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm512_setzero_ps();
  }
#pragma GCC unroll 1
  for (int group = 0; group < 8; ++group) {
    __m512i acc[kRows];
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm512_setzero_si512();
    }
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      dot_step(acc, w.q[8 * group + s], x.q[8 * group + s]);
    }
    const __m512 scale = _mm512_load_ps(w.scale[group]);
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      sum[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[n]), scale, sum[n]);
    }
  }
  const __m512 dmin = _mm512_load_ps(w.dmin);
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    __m512i mins = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      mins = _mm512_dpwssd_epi32(mins, _mm512_load_si512(w.min[j]), broadcast32(x.sum32[j][n]));
    }
    sum[n] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(mins), dmin, sum[n]);
  }
}

/// A scale per 16 and weights w + 32 * kTimes, whose surplus the activations' offsets take back.
template <int kTimes, class Panel, int kRows>
inline void centred_sums(const Panel& w, const ActTile256& x, __m512 (&sum)[kRows]) {
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm512_setzero_ps();
  }
#pragma GCC unroll 1
  for (int group = 0; group < 16; ++group) {
    __m512i acc[kRows];
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm512_set1_epi32(kTimes * x.offset16[group][n]);
    }
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      dot_step(acc, w.q[4 * group + s], x.q[4 * group + s]);
    }
    const __m512 scale = _mm512_load_ps(w.scale[group]);
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      sum[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[n]), scale, sum[n]);
    }
  }
}

template <int kRows>
inline void block_sums(const Panel16& w, const ActTile256& x, __m512 (&sum)[kRows]) {
  centred_sums<1>(w, x, sum);
}
template <int kRows>
inline void block_sums(const PanelBytes& w, const ActTile256& x, __m512 (&sum)[kRows]) {
  centred_sums<2>(w, x, sum);
}

template <int kRows>
inline void block_sums(const PanelScaled& w, const ActTile256& x, __m512 (&sum)[kRows]) {
  __m512i acc[kRows];
  __m512i mins[kRows];
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    acc[n] = _mm512_setzero_si512();
    mins[n] = _mm512_setzero_si512();
  }
#pragma GCC unroll 4
  for (int s = 0; s < 64; ++s) {
    dot_step(acc, w.q[s], x.q[s]);
  }
#pragma GCC unroll 2
  for (int j = 0; j < 8; ++j) {
    const __m512i min = _mm512_load_si512(w.min[j]);
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      mins[n] = _mm512_dpwssd_epi32(mins[n], min, broadcast32(x.sum16[j][n]));
    }
  }
  const __m512 d = _mm512_load_ps(w.d);
  const __m512 dmin = _mm512_load_ps(w.dmin);
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    sum[n] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(mins[n]), dmin,
                              _mm512_mul_ps(_mm512_cvtepi32_ps(acc[n]), d));
  }
}

/// One register tile: sixteen weight rows by kRows token rows over all of k.
template <class Type, int kRows>
void run_tile(const MatMulArgs& args, const typename Type::Panel* panel, const ActTile256* x,
              std::uint32_t token, std::uint32_t first, __mmask16 mask) {
  __m512 total[kRows];
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    total[n] = _mm512_setzero_ps();
  }
  for (std::uint32_t b = 0; b < args.k / kBlock; ++b) {
    __m512 sum[kRows];
    block_sums<kRows>(panel[b], x[b], sum);
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      total[n] = _mm512_fmadd_ps(sum[n], _mm512_set1_ps(x[b].d[n]), total[n]);
    }
  }
  store_outputs<kRows>(args, token, first, mask, total);
}

template <class Type>
using TileFunction = void (*)(const MatMulArgs&, const typename Type::Panel*, const ActTile256*,
                              std::uint32_t, std::uint32_t, __mmask16);

template <class Type>
void run_tiles(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  static constexpr TileFunction<Type> kTiles[kTileRows + 1] = {
      nullptr,           run_tile<Type, 1>, run_tile<Type, 2>, run_tile<Type, 3>, run_tile<Type, 4>,
      run_tile<Type, 5>, run_tile<Type, 6>, run_tile<Type, 7>, run_tile<Type, 8>};
  auto* panel = reinterpret_cast<typename Type::Panel*>(scratch);
  const auto* act = reinterpret_cast<const ActTile256*>(args.act);
  const std::uint32_t n_blocks = args.k / kBlock;
  for (std::uint32_t first = begin; first < end; first += kLanes) {
    const PanelRows rows(args, first, end);
    const std::uint8_t* ahead = rows.row[0] + 2 * kLanes * args.weight_row_bytes;
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const std::size_t offset = b * Type::kBytes;
      prefetch_range(ahead + kLanes * offset, kLanes * Type::kBytes);
      prefetch_next_block<Type::kBytes>(rows, offset);
      Type::unpack(rows, offset, panel[b]);
    }
    const __mmask16 mask = row_mask(first, end);
    for (std::uint32_t token = 0; token < args.n_rows; token += kTileRows) {
      const std::uint32_t alive = args.n_rows - token < kTileRows ? args.n_rows - token : kTileRows;
      kTiles[alive](args, panel, act + std::uint64_t{token / kTileRows} * n_blocks, token, first,
                    mask);
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
  if (args.n_rows > kMaxSingles) {
    run_tiles<Type>(args, begin, end, scratch);
    return;
  }
  const typename DotOf<Type>::type dot{reinterpret_cast<const ActRow256*>(args.act),
                                       args.k / kBlock};
  for_each_row<kDecodeStreams>(args, begin, end, dot);
}

template <class Type>
std::uint64_t scratch_bytes(std::uint32_t n_rows, std::uint32_t k) {
  return n_rows <= kMaxSingles ? 0 : std::uint64_t{k / kBlock} * sizeof(typename Type::Panel);
}

template <class Type>
constexpr MatMulKernel make_kernel(DType weight) {
  return {weight,
          ActFormat::q8_256,
          kRowStep,
          tiled_act_bytes<ActRow256, ActTile256, kBlock, kMaxSingles>,
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

}  // namespace

const MatMulKernel* matmul_k_avx512vnni(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
