/// Weights in blocks of 32 on AVX-512 with VNNI: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4.
///
/// Every type becomes w = d * q (+ m) with q + 128 in an unsigned byte; the activations carry -128
/// * sum(q) as the value an integer dot starts from. Forms as in the K-quants: streams for few
/// rows, panels and register tiles for more.

#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/simd_avx512.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kBlock = 32;
constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 8;
constexpr std::ptrdiff_t kDecodeAhead =
    1024;  ///< prefetch distance of decode, bytes within each stream

/// Sixteen rows by 32 values: w = scale * (q - 128) + min.
struct alignas(64) Panel32 {
  std::uint8_t q[8][kLanes][4];
  float scale[kLanes];
  float min[kLanes];
};

// ---- activations ----

struct Quantized32 {
  __m128i q[2];
  std::int32_t sum;
  ActScale scale;
};

inline Quantized32 quantize32(const float* x) {
  const __m512i largest =
      _mm512_max_epi32(abs_bits(_mm512_loadu_ps(x)), abs_bits(_mm512_loadu_ps(x + 16)));
  Quantized32 out;
  out.scale = act_scale(float_of_bits(_mm512_reduce_max_epi32(largest)));
  const __m512 inverse = _mm512_set1_ps(out.scale.inverse);
  const __m512i a = quantize16(x, inverse);
  const __m512i b = quantize16(x + 16, inverse);
  out.q[0] = _mm512_cvtepi32_epi8(a);
  out.q[1] = _mm512_cvtepi32_epi8(b);
  out.sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
  return out;
}

void convert_single(const float* x, ActRow32& out) {
  const Quantized32 v = quantize32(x);
  const __m256i q = _mm256_set_m128i(v.q[1], v.q[0]);
  _mm256_store_si256(reinterpret_cast<__m256i*>(out.q), q);
  // Sums of four with the sign that the unsigned 128 needs: (unsigned 128) * q, subtracted from
  // zero.
  const __m256i by4 = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(-128), q);
  _mm256_store_si256(reinterpret_cast<__m256i*>(out.offset),
                     _mm256_sub_epi32(_mm256_setzero_si256(), by4));
  out.d = v.scale.d;
  out.d_sum = v.scale.d * static_cast<float>(v.sum);
}

void convert_into_tile(const float* x, ActTile32& out, std::uint32_t t) {
  const Quantized32 v = quantize32(x);
  alignas(32) std::uint32_t steps[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(steps), _mm256_set_m128i(v.q[1], v.q[0]));
  for (int s = 0; s < 8; ++s) {
    std::memcpy(out.q[s][t], &steps[s], 4);
  }
  out.offset[t] = -128 * v.sum;
  out.d[t] = v.scale.d;
  out.d_sum[t] = v.scale.d * static_cast<float>(v.sum);
}

void convert(const float* x, std::uint64_t x_stride, std::uint32_t n_rows, std::uint32_t k,
             std::byte* act, std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint32_t n_blocks = k / kBlock;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const float* values = x + r * x_stride + std::uint64_t{b} * kBlock;
      if (n_rows <= kMaxSingles) {
        convert_single(values, reinterpret_cast<ActRow32*>(act)[r * n_blocks + b]);
      } else {
        ActTile32* tile =
            reinterpret_cast<ActTile32*>(act) + std::uint64_t{r / kTileRows} * n_blocks;
        convert_into_tile(values, tile[b], r % kTileRows);
      }
    }
  }
}

// ---- weight types ----
// Each has: kBytes of a block, kHasMin, unpack (sixteen rows to a panel), and for one row values (q
// + 128), scale, min.

inline __m512i low_nibbles(__m512i v) {
  return _mm512_and_si512(v, _mm512_set1_epi8(15));
}
inline __m512i high_nibbles(__m512i v) {
  return low_nibbles(_mm512_srli_epi16(v, 4));
}

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

  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm512_store_ps(out.scale, load_halves(rows, offset));
    for (unsigned h = 0; h < 2; ++h) {
      const Dwords4 v = load_transposed(rows, offset + 2 + 16 * h);
      for (unsigned c = 0; c < 4; ++c) {
        _mm512_store_si512(out.q[4 * h + c], _mm512_xor_si512(v.dword[c], _mm512_set1_epi8(-128)));
      }
    }
  }
  static __m256i values(const std::uint8_t* block) {
    return _mm256_xor_si256(load256(block + 2), _mm256_set1_epi8(-128));
  }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
};

/// Four-bit types with a f16 scale; kOffset is what a nibble needs to become q + 128.
template <std::size_t kQuants, bool kMin, int kOffset>
struct Nibbles {
  static constexpr std::size_t kBytes = kQuants + 16;
  static constexpr bool kHasMin = kMin;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm512_store_ps(out.scale, load_halves(rows, offset));
    if (kMin) {
      _mm512_store_ps(out.min, load_halves(rows, offset + 2));
    }
    const __m512i add = _mm512_set1_epi8(static_cast<char>(kOffset));
    const Dwords4 v = load_transposed(rows, offset + kQuants);
    for (unsigned c = 0; c < 4; ++c) {
      _mm512_store_si512(out.q[c], _mm512_add_epi8(low_nibbles(v.dword[c]), add));
      _mm512_store_si512(out.q[4 + c], _mm512_add_epi8(high_nibbles(v.dword[c]), add));
    }
  }
  static __m256i values(const std::uint8_t* block) {
    return _mm256_add_epi8(expand_nibbles(block + kQuants),
                           _mm256_set1_epi8(static_cast<char>(kOffset)));
  }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
  static float min(const std::uint8_t* block) { return load_half(block + 2); }
};
using Q40 = Nibbles<2, false, 120>;
using Q41 = Nibbles<4, true, 128>;

/// Five-bit types: nibbles and a word of fifth bits before them.
template <std::size_t kQuants, bool kMin, int kOffset>
struct FiveBits {
  static constexpr std::size_t kBytes = kQuants + 16;
  static constexpr bool kHasMin = kMin;

  /// Bits 4c..4c+3 of every lane as bit 4 of its four bytes.
  static __m512i fifth_bits(__m512i bits, unsigned c) {
    const __m512i four = _mm512_and_si512(_mm512_srli_epi32(bits, 4 * c), _mm512_set1_epi32(15));
    const __m512i spread = _mm512_mullo_epi32(four, _mm512_set1_epi32(0x00204081));
    return _mm512_slli_epi32(_mm512_and_si512(spread, _mm512_set1_epi8(1)), 4);
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm512_store_ps(out.scale, load_halves(rows, offset));
    if (kMin) {
      _mm512_store_ps(out.min, load_halves(rows, offset + 2));
    }
    alignas(64) std::uint32_t words[kLanes];
    for (unsigned r = 0; r < kLanes; ++r) {
      words[r] = load_u32(rows.row[r] + offset + kQuants - 4);
    }
    const __m512i bits = _mm512_load_si512(words);
    const __m512i add = _mm512_set1_epi8(static_cast<char>(kOffset));
    const Dwords4 v = load_transposed(rows, offset + kQuants);
    for (unsigned c = 0; c < 4; ++c) {
      const __m512i low = _mm512_or_si512(low_nibbles(v.dword[c]), fifth_bits(bits, c));
      const __m512i high = _mm512_or_si512(high_nibbles(v.dword[c]), fifth_bits(bits, 4 + c));
      _mm512_store_si512(out.q[c], _mm512_add_epi8(low, add));
      _mm512_store_si512(out.q[4 + c], _mm512_add_epi8(high, add));
    }
  }
  static __m256i values(const std::uint8_t* block) {
    const __m256i low = _mm256_add_epi8(expand_nibbles(block + kQuants),
                                        _mm256_set1_epi8(static_cast<char>(kOffset)));
    return _mm256_mask_add_epi8(low, load_u32(block + kQuants - 4), low, _mm256_set1_epi8(16));
  }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
  static float min(const std::uint8_t* block) { return load_half(block + 2); }
};
using Q50 = FiveBits<6, false, 112>;
using Q51 = FiveBits<8, true, 128>;

/// Nibbles that index a table of sixteen int8, stored + 128.
template <std::size_t kQuants>
struct TableNibbles {
  static void unpack_values(const PanelRows& rows, std::size_t offset, __m128i table,
                            Panel32& out) {
    const __m512i wide = _mm512_broadcast_i32x4(table);
    const Dwords4 v = load_transposed(rows, offset + kQuants);
    for (unsigned c = 0; c < 4; ++c) {
      _mm512_store_si512(out.q[c], _mm512_shuffle_epi8(wide, low_nibbles(v.dword[c])));
      _mm512_store_si512(out.q[4 + c], _mm512_shuffle_epi8(wide, high_nibbles(v.dword[c])));
    }
  }
  static __m256i table_values(const std::uint8_t* block, __m128i table) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), expand_nibbles(block + kQuants));
  }
};

struct Iq4Nl : TableNibbles<2> {
  static constexpr std::size_t kBytes = 18;
  static constexpr bool kHasMin = false;
  static __m128i table() {  // IQ4_NL's values + 128
    return _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129),
                         static_cast<char>(141), static_cast<char>(153), static_cast<char>(166),
                         static_cast<char>(181), static_cast<char>(197), static_cast<char>(217),
                         static_cast<char>(241));
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    _mm512_store_ps(out.scale, load_halves(rows, offset));
    unpack_values(rows, offset, table(), out);
  }
  static __m256i values(const std::uint8_t* block) { return table_values(block, table()); }
  static __m256 scale(const std::uint8_t* block) { return half_scale(block); }
};

struct Mxfp4 : TableNibbles<1> {
  static constexpr std::size_t kBytes = 17;
  static constexpr bool kHasMin = false;
  static __m128i table() {  // E2M1 doubled + 128
    return _mm_xor_si128(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12),
                         _mm_set1_epi8(-128));
  }
  /// 2^(e - 128), half of what E8M0 means, because the table is doubled. 0 and 1 are subnormal.
  static float power(std::uint8_t e) {
    const std::uint32_t bits = e < 2 ? 0x00200000u << e : (std::uint32_t{e} - 1u) << 23;
    return float_of_bits(static_cast<int>(bits));
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel32& out) {
    for (unsigned r = 0; r < kLanes; ++r) {
      out.scale[r] = power(rows.row[r][offset]);
    }
    unpack_values(rows, offset, table(), out);
  }
  static __m256i values(const std::uint8_t* block) { return table_values(block, table()); }
  static __m256 scale(const std::uint8_t* block) { return _mm256_set1_ps(power(block[0])); }
};

// ---- several rows ----

/// One register tile: sixteen weight rows by kRows token rows over all of k.
template <bool kHasMin, int kRows>
void run_tile(const MatMulArgs& args, const Panel32* panel, const ActTile32* x, std::uint32_t token,
              std::uint32_t first, __mmask16 mask) {
  __m512 total[kRows];
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    total[n] = _mm512_setzero_ps();
  }
  for (std::uint32_t b = 0; b < args.k / kBlock; ++b) {
    const Panel32& w = panel[b];
    const ActTile32& a = x[b];
    __m512i acc[kRows];
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm512_set1_epi32(a.offset[n]);
    }
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      const __m512i weights = _mm512_load_si512(w.q[s]);
#pragma GCC unroll 8
      for (int n = 0; n < kRows; ++n) {
        acc[n] = _mm512_dpbusd_epi32(acc[n], weights, broadcast32(a.q[s][n]));
      }
    }
    const __m512 scale = _mm512_load_ps(w.scale);
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      total[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[n]),
                                 _mm512_mul_ps(scale, _mm512_set1_ps(a.d[n])), total[n]);
    }
    if (kHasMin) {
      const __m512 min = _mm512_load_ps(w.min);
#pragma GCC unroll 8
      for (int n = 0; n < kRows; ++n) {
        total[n] = _mm512_fmadd_ps(min, _mm512_set1_ps(a.d_sum[n]), total[n]);
      }
    }
  }
  store_outputs<kRows>(args, token, first, mask, total);
}

template <class Type>
void run_tiles(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  using Tile = void (*)(const MatMulArgs&, const Panel32*, const ActTile32*, std::uint32_t,
                        std::uint32_t, __mmask16);
  constexpr bool kMin = Type::kHasMin;
  static constexpr Tile kTiles[kTileRows + 1] = {
      nullptr,           run_tile<kMin, 1>, run_tile<kMin, 2>, run_tile<kMin, 3>, run_tile<kMin, 4>,
      run_tile<kMin, 5>, run_tile<kMin, 6>, run_tile<kMin, 7>, run_tile<kMin, 8>};
  auto* panel = reinterpret_cast<Panel32*>(scratch);
  const auto* act = reinterpret_cast<const ActTile32*>(args.act);
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

// ---- up to four rows ----

inline float sum_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

template <class Type>
struct BlockDot {
  const ActRow32* act;  ///< [rows, n_blocks]
  std::uint32_t n_blocks;

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m256 acc[kStreams][kRows];
    float min[kStreams][kRows];
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        acc[s][r] = _mm256_setzero_ps();
        min[s][r] = 0.0f;
      }
    }
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Type::kBytes;
        prefetch(block, kDecodeAhead);
        const __m256i values = Type::values(block);
        const __m256 scale = Type::scale(block);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const ActRow32& x = act[static_cast<std::size_t>(r) * n_blocks + b];
          const __m256i dots = _mm256_dpbusd_epi32(load256(x.offset), values, load256(x.q));
          acc[s][r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots),
                                      _mm256_mul_ps(scale, _mm256_set1_ps(x.d)), acc[s][r]);
          if constexpr (Type::kHasMin) {
            min[s][r] += Type::min(block) * x.d_sum;
          }
        }
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      for (int r = 0; r < kRows; ++r) {
        out[s][r] = sum_lanes(acc[s][r]) + min[s][r];
      }
    }
  }
};

// ---- table ----

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  if (args.n_rows > kMaxSingles) {
    run_tiles<Type>(args, begin, end, scratch);
    return;
  }
  const BlockDot<Type> dot{reinterpret_cast<const ActRow32*>(args.act), args.k / kBlock};
  for_each_row<kDecodeStreams>(args, begin, end, dot);
}

std::uint64_t scratch_bytes(std::uint32_t n_rows, std::uint32_t k) {
  return n_rows <= kMaxSingles ? 0 : std::uint64_t{k / kBlock} * sizeof(Panel32);
}

template <class Type>
constexpr MatMulKernel make_kernel(DType weight) {
  return {weight,        ActFormat::q8_32,
          kRowStep,      tiled_act_bytes<ActRow32, ActTile32, kBlock, kMaxSingles>,
          convert,       kTileRows,
          scratch_bytes, run<Type>};
}

constexpr MatMulKernel kKernels[] = {
    make_kernel<Q80>(DType::q8_0),   make_kernel<Q40>(DType::q4_0),
    make_kernel<Q41>(DType::q4_1),   make_kernel<Q50>(DType::q5_0),
    make_kernel<Q51>(DType::q5_1),   make_kernel<Iq4Nl>(DType::iq4_nl),
    make_kernel<Mxfp4>(DType::mxfp4)};

}  // namespace

const MatMulKernel* matmul_32_avx512vnni(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
