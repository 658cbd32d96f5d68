/// Weights in blocks of 32 on AVX2: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4. Every type becomes
/// w = d * q (+ m) with a signed byte q.
///
/// Included by matmul_32_avx2.cpp and matmul_32_avxvnni.cpp: with AVX-VNNI the dots of simd_avx2.h
/// are one instruction instead of two or three. Internal linkage.
#pragma once

#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/simd_avx2.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kBlock = 32;
constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 8;
constexpr std::ptrdiff_t kDecodeAhead =
    1024;  ///< prefetch distance of decode, bytes within each stream

/// Eight rows by 32 values: w = scale * q + min.
struct alignas(32) Panel32 {
  std::int8_t q[8][kLanes][4];
  float scale[kLanes];
  float min[kLanes];
};

// ---- activations ----

void convert_single(const float* x, ActRow32& out) {
  __m256i largest = abs_bits(x);
  for (int i = 8; i < 32; i += 8) {
    largest = _mm256_max_epi32(largest, abs_bits(x + i));
  }
  const ActScale scale = act_scale(largest_lane(largest));
  const __m256i q = quantize32(x, scale.inverse);
  const __m256i fours = sum_fours(q);
  const std::int32_t sum =
      sum_lanes(_mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1)));
  store256(out.q, q);
  store256(out.offset, _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(fours, 7)));
  out.d = scale.d;
  out.d_sum = scale.d * static_cast<float>(sum);
}

void convert_into_tile(const float* x, ActTile32& out, std::uint32_t t) {
  ActRow32 row;
  convert_single(x, row);
  std::int32_t offset = 0;
  for (int s = 0; s < 8; ++s) {
    std::memcpy(out.q[s][t], row.q + 4 * s, 4);
    offset += row.offset[s];
  }
  out.offset[t] = offset;
  out.d[t] = row.d;
  out.d_sum[t] = row.d_sum;
}

void convert(const float* x, std::uint64_t x_stride, std::uint32_t n_rows, std::uint32_t k,
             std::byte* act, std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint32_t n_blocks = k / kBlock;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const float* values = x + r * x_stride + std::uint64_t{b} * kBlock;
      if (n_rows == 1) {
        convert_single(values, reinterpret_cast<ActRow32*>(act)[b]);
      } else {
        ActTile32* tile =
            reinterpret_cast<ActTile32*>(act) + std::uint64_t{r / kTileRows} * n_blocks;
        convert_into_tile(values, tile[b], r % kTileRows);
      }
    }
  }
}

// ---- weight types ----
// Each has: kBytes of a block, kHasMin, kWiden (steps whose int16 sums fit, see dot_signed), unpack
// (eight rows to a panel), and for one row values, scale, min.

/// 16 bytes of nibbles to 32 bytes: low nibbles first.
inline __m256i expand_nibbles(const std::uint8_t* p) {
  const __m128i v = load128(p);
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
}
inline __m256 half_scale(const std::uint8_t* p) {
  return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(load_u16(p))));
}

struct Q80 {
  static constexpr std::size_t kBytes = 34;
  static constexpr bool kHasMin = false;
  static constexpr int kWiden = 1;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm256_store_ps(out.scale, load_halves(rows, offset));
    for (unsigned h = 0; h < 2; ++h) {
      const Dwords4 v = load_transposed(rows, offset + 2 + 16 * h);
      for (unsigned c = 0; c < 4; ++c) {
        store256(out.q[4 * h + c], v.dword[c]);
      }
    }
  }
  static __m256i values(const std::uint8_t* block) { return load256(block + 2); }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
};

/// Four-bit types with a f16 scale.
template <std::size_t kQuants, bool kMin, int kOffset>
struct Nibbles {
  static constexpr std::size_t kBytes = kQuants + 16;
  static constexpr bool kHasMin = kMin;
  static constexpr int kWiden = 4;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm256_store_ps(out.scale, load_halves(rows, offset));
    if (kMin) {
      _mm256_store_ps(out.min, load_halves(rows, offset + 2));
    }
    const __m256i zero_point = _mm256_set1_epi8(kOffset);
    const Dwords4 v = load_transposed(rows, offset + kQuants);
    for (unsigned c = 0; c < 4; ++c) {
      store256(out.q[c], _mm256_sub_epi8(low_nibbles(v.dword[c]), zero_point));
      store256(out.q[4 + c], _mm256_sub_epi8(high_nibbles(v.dword[c]), zero_point));
    }
  }
  static __m256i values(const std::uint8_t* block) {
    return _mm256_sub_epi8(expand_nibbles(block + kQuants), _mm256_set1_epi8(kOffset));
  }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
  static float min(const std::uint8_t* block) { return load_half(block + 2); }
};
using Q40 = Nibbles<2, false, 8>;
using Q41 = Nibbles<4, true, 0>;

/// Five-bit types: nibbles and a word of fifth bits before them.
template <std::size_t kQuants, bool kMin, int kOffset>
struct FiveBits {
  static constexpr std::size_t kBytes = kQuants + 16;
  static constexpr bool kHasMin = kMin;
  static constexpr int kWiden = 4;

  /// Bit i of the word as bit 4 of byte i.
  static __m256i fifth_bits(std::uint32_t word) {
    const __m256i byte_of =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(word)), byte_of);
    const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    return _mm256_and_si256(set, _mm256_set1_epi8(16));
  }
  static __m256i values(const std::uint8_t* block) {
    const __m256i v =
        _mm256_or_si256(expand_nibbles(block + kQuants), fifth_bits(load_u32(block + kQuants - 4)));
    return _mm256_sub_epi8(v, _mm256_set1_epi8(kOffset));
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm256_store_ps(out.scale, load_halves(rows, offset));
    if (kMin) {
      _mm256_store_ps(out.min, load_halves(rows, offset + 2));
    }
    for (unsigned r = 0; r < kLanes; ++r) {
      alignas(32) std::uint32_t steps[8];
      store256(steps, values(rows.row[r] + offset));
      for (unsigned s = 0; s < 8; ++s) {
        std::memcpy(out.q[s][r], &steps[s], 4);
      }
    }
  }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
  static float min(const std::uint8_t* block) { return load_half(block + 2); }
};
using Q50 = FiveBits<6, false, 16>;
using Q51 = FiveBits<8, true, 0>;

/// Nibbles that index a table of sixteen int8.
inline void unpack_table(const PanelRows& rows, std::size_t offset, __m128i table, Panel32& out) {
  const __m256i wide = _mm256_broadcastsi128_si256(table);
  const Dwords4 v = load_transposed(rows, offset);
  for (unsigned c = 0; c < 4; ++c) {
    store256(out.q[c], _mm256_shuffle_epi8(wide, low_nibbles(v.dword[c])));
    store256(out.q[4 + c], _mm256_shuffle_epi8(wide, high_nibbles(v.dword[c])));
  }
}
inline __m256i table_values(const std::uint8_t* p, __m128i table) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), expand_nibbles(p));
}

struct Iq4Nl {
  static constexpr std::size_t kBytes = 18;
  static constexpr bool kHasMin = false;
  static constexpr int kWiden = 1;
  static __m128i table() {
    return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm256_store_ps(out.scale, load_halves(rows, offset));
    unpack_table(rows, offset + 2, table(), out);
  }
  static __m256i values(const std::uint8_t* block) { return table_values(block + 2, table()); }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
};

struct Mxfp4 {
  static constexpr std::size_t kBytes = 17;
  static constexpr bool kHasMin = false;
  static constexpr int kWiden = 4;
  static __m128i table() {  // E2M1 doubled
    return _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
  }
  /// 2^(e - 128), half of what E8M0 means, because the table is doubled. 0 and 1 are subnormal.
  static float power(std::uint8_t e) {
    return float_of_bits(e < 2 ? 0x00200000u << e : (std::uint32_t{e} - 1u) << 23);
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    for (unsigned r = 0; r < kLanes; ++r) {
      out.scale[r] = power(rows.row[r][offset]);
    }
    unpack_table(rows, offset + 1, table(), out);
  }
  static __m256i values(const std::uint8_t* block) { return table_values(block + 1, table()); }
  static __m256 scale(const std::uint8_t* block) { return _mm256_set1_ps(power(block[0])); }
};

// ---- several rows ----

/// One register tile: eight weight rows by kRows token rows over all of k.
template <class Type, int kRows>
void run_tile(const MatMulArgs& args, const Panel32* panel, const ActTile32* x, std::uint32_t token,
              std::uint32_t first, std::uint32_t alive) {
  const std::uint32_t t = token % kTileRows;
  __m256 total[kRows];
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    total[n] = _mm256_setzero_ps();
  }
  for (std::uint32_t b = 0; b < args.k / kBlock; ++b) {
    const Panel32& w = panel[b];
    const ActTile32& a = x[b];
    __m256i acc[kRows];
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      acc[n] = kHasVnni ? _mm256_set1_epi32(a.offset[t + static_cast<std::uint32_t>(n)])
                        : _mm256_setzero_si256();
    }
    if constexpr (kHasVnni) {
      dot_shifted<8>(acc, w.q, a.q, t);
    } else {
      dot_signed<8, Type::kWiden>(acc, w.q, a.q, t);
    }
    const __m256 scale = _mm256_load_ps(w.scale);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      const __m256 d = _mm256_mul_ps(scale, _mm256_set1_ps(a.d[t + static_cast<std::uint32_t>(n)]));
      total[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[n]), d, total[n]);
    }
    if (Type::kHasMin) {
      const __m256 min = _mm256_load_ps(w.min);
#pragma GCC unroll 4
      for (int n = 0; n < kRows; ++n) {
        const float d_sum = a.d_sum[t + static_cast<std::uint32_t>(n)];
        total[n] = _mm256_fmadd_ps(min, _mm256_set1_ps(d_sum), total[n]);
      }
    }
  }
  store_outputs<kRows>(args, token, first, alive, total);
}

template <class Type>
void run_tiles(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  using Tile = void (*)(const MatMulArgs&, const Panel32*, const ActTile32*, std::uint32_t,
                        std::uint32_t, std::uint32_t);
  static constexpr Tile kTiles[kTokens + 1] = {nullptr, run_tile<Type, 1>, run_tile<Type, 2>,
                                               run_tile<Type, 3>, run_tile<Type, 4>};
  auto* panel = reinterpret_cast<Panel32*>(scratch);
  const auto* act = reinterpret_cast<const ActTile32*>(args.act);
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

// ---- one row ----

template <class Type>
struct BlockDot {
  const ActRow32* act;
  std::uint32_t n_blocks;

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    const __m256i one = _mm256_set1_epi16(1);
    __m256 acc[kStreams];
    float min[kStreams];
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = _mm256_setzero_ps();
      min[s] = 0.0f;
    }
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow32& a = act[b];
      const __m256i x = load256(a.q);
      const __m256 d = _mm256_set1_ps(a.d);
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Type::kBytes;
        prefetch(block, kDecodeAhead);
        const __m256i v = Type::values(block);
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(v), _mm256_sign_epi8(x, v));
        const __m256i dots = _mm256_madd_epi16(pairs, one);
        acc[s] =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(Type::scale(block), d), acc[s]);
        if constexpr (Type::kHasMin) {
          min[s] += Type::min(block) * a.d_sum;
        }
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s][0] = sum_lanes(acc[s]) + min[s];
    }
  }
};

// ---- table ----

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  if (args.n_rows > 1) {
    run_tiles<Type>(args, begin, end, scratch);
    return;
  }
  const BlockDot<Type> dot{reinterpret_cast<const ActRow32*>(args.act), args.k / kBlock};
  for_each_stream<kDecodeStreams, 1>(args, begin, end, dot);
}

std::uint64_t scratch_bytes(std::uint32_t n_rows, std::uint32_t k) {
  return n_rows == 1 ? 0 : std::uint64_t{k / kBlock} * sizeof(Panel32);
}

template <class Type>
constexpr MatMulKernel make_kernel(DType weight) {
  return {weight,  ActFormat::q8_32, kRowStep,      tiled_act_bytes<ActRow32, ActTile32, kBlock, 1>,
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
