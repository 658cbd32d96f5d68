/// Q4_K, Q5_K and Q6_K on AVX2. The forms are those of the AVX-512 file with eight weight rows in
/// the lanes, tiles of four token rows, and unsigned by signed byte products through int16.

#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/simd_avx2.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kBlock = 256;
constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 4;
constexpr std::ptrdiff_t kDecodeAhead =
    1024;  ///< prefetch distance of decode, bytes within each stream

/// Eight rows by 256 values: w = scale * q - min.
struct alignas(32) PanelMin {
  std::uint8_t q[64][kLanes][4];
  float scale[8][kLanes];
  float min[8][kLanes];
};

/// Eight rows by 256 values with a scale per 16: w = scale * (q - 32).
struct alignas(32) Panel16 {
  std::uint8_t q[64][kLanes][4];
  float scale[16][kLanes];
};

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

// ---- unpacking ----

/// The eight 6-bit scales and minima of a Q4_K or Q5_K block, one a byte.
struct KScales {
  std::uint64_t scale;
  std::uint64_t min;
};
inline KScales read_k_scales(const std::uint8_t* s) {
  const std::uint32_t a = load_u32(s);
  const std::uint32_t b = load_u32(s + 4);
  const std::uint32_t c = load_u32(s + 8);
  const std::uint32_t scale_hi = (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u);
  const std::uint32_t min_hi = ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u);
  return {(a & 0x3f3f3f3fu) | (std::uint64_t{scale_hi} << 32),
          (b & 0x3f3f3f3fu) | (std::uint64_t{min_hi} << 32)};
}
inline __m128i bytes_of(std::uint64_t v) {
  return _mm_cvtsi64_si128(static_cast<long long>(v));
}

inline __m256 byte_of_lanes(__m256i v, unsigned i) {
  const __m256i byte =
      _mm256_and_si256(_mm256_srli_epi32(v, static_cast<int>(8 * i)), _mm256_set1_epi32(0xff));
  return _mm256_cvtepi32_ps(byte);
}

/// The 16-byte head that Q4_K and Q5_K share: d, dmin and the packed scales of eight rows.
inline void unpack_head(const PanelRows& rows, std::size_t offset, PanelMin& out) {
  const Dwords4 head = load_transposed(rows, offset);
  const __m256 d = halves_of_lanes(head.dword[0]);
  const __m256 dmin = halves_of_lanes(_mm256_srli_epi32(head.dword[0], 16));
  const __m256i a = head.dword[1];
  const __m256i b = head.dword[2];
  const __m256i c = head.dword[3];
  const __m256i m6 = _mm256_set1_epi8(0x3f);
  const __m256i top2 = _mm256_set1_epi8(0x30);
  const __m256i scale_lo = _mm256_and_si256(a, m6);
  const __m256i min_lo = _mm256_and_si256(b, m6);
  const __m256i scale_hi =
      _mm256_or_si256(low_nibbles(c), _mm256_and_si256(_mm256_srli_epi32(a, 2), top2));
  const __m256i min_hi =
      _mm256_or_si256(high_nibbles(c), _mm256_and_si256(_mm256_srli_epi32(b, 2), top2));
  for (unsigned j = 0; j < 8; ++j) {
    const __m256 scale = byte_of_lanes(j < 4 ? scale_lo : scale_hi, j % 4);
    const __m256 min = byte_of_lanes(j < 4 ? min_lo : min_hi, j % 4);
    _mm256_store_ps(out.scale[j], _mm256_mul_ps(d, scale));
    _mm256_store_ps(out.min[j], _mm256_mul_ps(dmin, min));
  }
}

struct Q4K {
  static constexpr std::size_t kBytes = 144;
  using Panel = PanelMin;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    unpack_head(rows, offset, out);
    for (unsigned j = 0; j < 4; ++j) {  // 32 bytes: group 2j low, group 2j + 1 high
      for (unsigned h = 0; h < 2; ++h) {
        const Dwords4 v = load_transposed(rows, offset + 16 + 32 * j + 16 * h);
        for (unsigned c = 0; c < 4; ++c) {
          store256(out.q[16 * j + 4 * h + c], low_nibbles(v.dword[c]));
          store256(out.q[16 * j + 8 + 4 * h + c], high_nibbles(v.dword[c]));
        }
      }
    }
  }
  /// Groups 2j and 2j + 1 of one block.
  static void values(const std::uint8_t* block, int j, __m256i& even, __m256i& odd) {
    const __m256i v = load256(block + 16 + 32 * j);
    even = low_nibbles(v);
    odd = high_nibbles(v);
  }
};

struct Q5K {
  static constexpr std::size_t kBytes = 176;
  using Panel = PanelMin;

  /// Bit `group` of every byte, as bit 4.
  static __m256i fifth_bits(__m256i high, int group) {
    const __m256i bit = _mm256_and_si256(_mm256_srli_epi16(high, group), _mm256_set1_epi8(1));
    return _mm256_slli_epi16(bit, 4);
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    unpack_head(rows, offset, out);
    for (unsigned h = 0; h < 2; ++h) {
      const Dwords4 high = load_transposed(rows, offset + 16 + 16 * h);
      for (unsigned j = 0; j < 4; ++j) {
        const Dwords4 v = load_transposed(rows, offset + 48 + 32 * j + 16 * h);
        const int group = static_cast<int>(2 * j);
        for (unsigned c = 0; c < 4; ++c) {
          store256(out.q[16 * j + 4 * h + c],
                   _mm256_or_si256(low_nibbles(v.dword[c]), fifth_bits(high.dword[c], group)));
          store256(out.q[16 * j + 8 + 4 * h + c],
                   _mm256_or_si256(high_nibbles(v.dword[c]), fifth_bits(high.dword[c], group + 1)));
        }
      }
    }
  }
  static void values(const std::uint8_t* block, int j, __m256i& even, __m256i& odd) {
    const __m256i v = load256(block + 48 + 32 * j);
    const __m256i high = load256(block + 16);
    even = _mm256_or_si256(low_nibbles(v), fifth_bits(high, 2 * j));
    odd = _mm256_or_si256(high_nibbles(v), fifth_bits(high, 2 * j + 1));
  }
};

struct Q6K {
  static constexpr std::size_t kBytes = 210;
  using Panel = Panel16;

  /// Four groups of 32 from their shared words: `first` and `second` hold the nibbles, `top` the
  /// upper pairs of bits.
  static void combine(__m256i first, __m256i second, __m256i top, __m256i (&out)[4]) {
    const __m256i top2 = _mm256_set1_epi8(0x30);
    out[0] = _mm256_or_si256(low_nibbles(first), _mm256_and_si256(_mm256_slli_epi16(top, 4), top2));
    out[1] =
        _mm256_or_si256(low_nibbles(second), _mm256_and_si256(_mm256_slli_epi16(top, 2), top2));
    out[2] = _mm256_or_si256(high_nibbles(first), _mm256_and_si256(top, top2));
    out[3] =
        _mm256_or_si256(high_nibbles(second), _mm256_and_si256(_mm256_srli_epi16(top, 2), top2));
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    const __m256 d = load_halves(rows, offset + 208);
    const Dwords4 scales = load_transposed(rows, offset + 192);
    for (int j = 0; j < 16; ++j) {
      const __m256i s =
          _mm256_srai_epi32(_mm256_slli_epi32(scales.dword[j / 4], 24 - 8 * (j % 4)), 24);
      _mm256_store_ps(out.scale[j], _mm256_mul_ps(d, _mm256_cvtepi32_ps(s)));
    }
    for (unsigned h = 0; h < 2; ++h) {
      for (unsigned part = 0; part < 2; ++part) {  // 16 of the 32 bytes that groups share
        const Dwords4 top = load_transposed(rows, offset + 128 + 32 * h + 16 * part);
        const Dwords4 first = load_transposed(rows, offset + 64 * h + 16 * part);
        const Dwords4 second = load_transposed(rows, offset + 64 * h + 32 + 16 * part);
        for (unsigned c = 0; c < 4; ++c) {
          __m256i group[4];
          combine(first.dword[c], second.dword[c], top.dword[c], group);
          for (unsigned g = 0; g < 4; ++g) {
            store256(out.q[32 * h + 8 * g + 4 * part + c], group[g]);
          }
        }
      }
    }
  }
};

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

// ---- one row ----

/// Q4_K and Q5_K against a single row: int16 products of a group times its scale in one more
/// multiply-add.
template <class Type>
struct MinDot {
  const ActRow256* act;
  std::uint32_t n_blocks;

  static __m256i block_dots(const std::uint8_t* block, const std::int8_t* x, __m256i scales) {
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      __m256i even;
      __m256i odd;
      Type::values(block, j, even, odd);
      const __m256i even_dots = _mm256_maddubs_epi16(even, load256(x + 64 * j));
      const __m256i odd_dots = _mm256_maddubs_epi16(odd, load256(x + 64 * j + 32));
      const __m256i pick = _mm256_set1_epi16(static_cast<short>(0x0100 + 0x0404 * j));
      const __m256i even_scale = _mm256_shuffle_epi8(scales, pick);
      const __m256i odd_scale =
          _mm256_shuffle_epi8(scales, _mm256_add_epi8(pick, _mm256_set1_epi8(2)));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even_dots, even_scale));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(odd_dots, odd_scale));
    }
    return sum;
  }

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m256 acc[kStreams];
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = _mm256_setzero_ps();
    }
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256& a = act[b];
      const __m128i sums = load128(a.sum32);
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Type::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        prefetch(block + 128, kDecodeAhead);
        const KScales k = read_k_scales(block + 4);
        const __m256i scales = _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(bytes_of(k.scale)));
        const __m256i dots = block_dots(block, a.q, scales);
        const __m128i mins = _mm_madd_epi16(_mm_cvtepu8_epi16(bytes_of(k.min)), sums);
        const float d = load_half(block) * a.d;
        const float dmin = load_half(block + 2) * a.d;
        acc[s] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_set1_ps(d), acc[s]);
        acc[s] = _mm256_fnmadd_ps(_mm256_zextps128_ps256(_mm_cvtepi32_ps(mins)),
                                  _mm256_set1_ps(dmin), acc[s]);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s][0] = sum_lanes(acc[s]);
    }
  }
};

/// Q6_K against a single row.
struct SixBitDot {
  const ActRow256* act;
  std::uint32_t n_blocks;

  static __m256i block_dots(const std::uint8_t* block, const std::int8_t* x, __m128i scales) {
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m256i group[4];
      Q6K::combine(load256(block + 64 * h), load256(block + 64 * h + 32),
                   load256(block + 128 + 32 * h), group);
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        const int first = 8 * h + 2 * g;
        const __m128i pick =
            _mm_set_epi64x(0x0101010101010101LL * (first + 1), 0x0101010101010101LL * first);
        const __m256i scale = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, pick));
        const __m256i dots = _mm256_maddubs_epi16(group[g], load256(x + 128 * h + 32 * g));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dots, scale));
      }
    }
    return sum;
  }

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m256 acc[kStreams];
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = _mm256_setzero_ps();
    }
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256& a = act[b];
      const __m256i sums = load256(a.sum16);
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Q6K::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        prefetch(block + 128, kDecodeAhead);
        prefetch(block + 192, kDecodeAhead);
        const __m128i scales = load128(block + 192);
        const __m256i dots = block_dots(block, a.q, scales);
        const __m256i offset =
            _mm256_slli_epi32(_mm256_madd_epi16(_mm256_cvtepi8_epi16(scales), sums), 5);
        const float d = load_half(block + 208) * a.d;
        acc[s] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(dots, offset)),
                                 _mm256_set1_ps(d), acc[s]);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s][0] = sum_lanes(acc[s]);
    }
  }
};

// ---- table ----

template <class Type>
struct DotOf {
  using type = MinDot<Type>;
};
template <>
struct DotOf<Q6K> {
  using type = SixBitDot;
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

constexpr MatMulKernel kKernels[] = {make_kernel<Q4K>(DType::q4_k), make_kernel<Q5K>(DType::q5_k),
                                     make_kernel<Q6K>(DType::q6_k)};

}  // namespace

const MatMulKernel* matmul_k_avx2(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
