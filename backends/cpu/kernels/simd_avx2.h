/// AVX2 helpers of the matmul kernels. Only for files compiled for AVX2; everything has internal
/// linkage, so that no function of theirs is ever linked into code for older machines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backends/cpu/kernels/intrinsics.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/matmul_act.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kLanes = 8;   ///< weight rows of a panel: one a 32-bit lane
constexpr std::uint32_t kTokens = 4;  ///< token rows of a register tile: half a tile of activations
static_assert(kTileRows == 2 * kTokens);

inline __m256i load256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline __m128i load128(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline void store256(void* p, __m256i v) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}

inline std::uint16_t load_u16(const void* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline std::uint32_t load_u32(const void* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline float load_half(const void* p) {
  return _cvtsh_ss(load_u16(p));
}
inline float float_of_bits(std::uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

inline void prefetch(const std::uint8_t* p, std::ptrdiff_t ahead) {
  _mm_prefetch(reinterpret_cast<const char*>(p) + ahead, _MM_HINT_T0);
}

inline __m256i low_nibbles(__m256i v) {
  return _mm256_and_si256(v, _mm256_set1_epi8(15));
}
inline __m256i high_nibbles(__m256i v) {
  return low_nibbles(_mm256_srli_epi16(v, 4));
}

inline float sum_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/// Asks for the lines of [p, p + bytes) in the second-level cache. The rows of a panel are
/// neighbours, so walking the bytes of the one after the next in order, while this one is unpacked,
/// hides memory's latency (measured on Zen 4: 1.5 times as fast as the same into L1 one panel
/// ahead, and 1.7 times as without).
inline void prefetch_range(const std::uint8_t* p, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
  }
}

/// Eight rows of weights: row r of the panel in lane r. Past the last row the last one is repeated.
struct PanelRows {
  const std::uint8_t* row[kLanes];

  PanelRows(const MatMulArgs& args, std::uint32_t first, std::uint32_t end) {
    for (std::uint32_t r = 0; r < kLanes; ++r) {
      const std::uint32_t o = first + r < end ? first + r : end - 1;
      row[r] = reinterpret_cast<const std::uint8_t*>(args.weight) + o * args.weight_row_bytes;
    }
  }
};

/// 16 bytes at `offset` of eight rows, transposed: dword[c] holds bytes 4c..4c+3, lane r those of
/// row r.
struct Dwords4 {
  __m256i dword[4];
};

inline __m256i load_rows_2(const PanelRows& rows, std::size_t offset, int first) {
  return _mm256_set_m128i(load128(rows.row[first + 4] + offset), load128(rows.row[first] + offset));
}

inline Dwords4 load_transposed(const PanelRows& rows, std::size_t offset) {
  const __m256i r0 = load_rows_2(rows, offset, 0);
  const __m256i r1 = load_rows_2(rows, offset, 1);
  const __m256i r2 = load_rows_2(rows, offset, 2);
  const __m256i r3 = load_rows_2(rows, offset, 3);
  const __m256i lo01 = _mm256_unpacklo_epi32(r0, r1);
  const __m256i hi01 = _mm256_unpackhi_epi32(r0, r1);
  const __m256i lo23 = _mm256_unpacklo_epi32(r2, r3);
  const __m256i hi23 = _mm256_unpackhi_epi32(r2, r3);
  return {{_mm256_unpacklo_epi64(lo01, lo23), _mm256_unpackhi_epi64(lo01, lo23),
           _mm256_unpacklo_epi64(hi01, hi23), _mm256_unpackhi_epi64(hi01, hi23)}};
}

/// The low 16 bits of every lane as f16.
inline __m256 halves_of_lanes(__m256i v) {
  const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}

/// The f16 at `offset` of eight rows.
inline __m256 load_halves(const PanelRows& rows, std::size_t offset) {
  alignas(16) std::uint16_t bits[kLanes];
  for (std::uint32_t r = 0; r < kLanes; ++r) {
    bits[r] = load_u16(rows.row[r] + offset);
  }
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(bits)));
}

/// All bits set in the first n lanes.
inline __m256i lane_mask(std::uint32_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < kLanes ? n : kLanes)), lane);
}

/// out[token, first..] (+)= sums + bias for kRows token rows and `alive` (up to eight) weight rows.
template <int kRows>
inline void store_outputs(const MatMulArgs& args, std::uint32_t token, std::uint32_t first,
                          std::uint32_t alive, const __m256 (&sum)[kRows]) {
  const __m256i mask = lane_mask(alive);
  const __m256 bias =
      args.bias != nullptr ? _mm256_maskload_ps(args.bias + first, mask) : _mm256_setzero_ps();
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    float* out = args.out + (token + static_cast<std::uint32_t>(n)) * args.out_stride + first;
    __m256 v = _mm256_add_ps(sum[n], bias);
    if (args.accumulate) {
      v = _mm256_add_ps(v, _mm256_maskload_ps(out, mask));
    }
    _mm256_maskstore_ps(out, mask, v);
  }
}

inline void store_output(const MatMulArgs& args, std::uint32_t token, std::uint32_t o, float sum) {
  const float v = args.bias != nullptr ? sum + args.bias[o] : sum;
  float& out = args.out[token * args.out_stride + o];
  out = args.accumulate ? out + v : v;
}

/// Magnitudes as integers: NaN and Inf rank highest, so neither gets lost in a maximum.
inline __m256i abs_bits(const float* x) {
  return _mm256_and_si256(load256(x), _mm256_set1_epi32(0x7fffffff));
}
inline float largest_lane(__m256i bits) {
  __m128i v = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
  v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0x4e));
  v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0xb1));
  return float_of_bits(static_cast<std::uint32_t>(_mm_cvtsi128_si32(v)));
}

/// Scale of a block whose largest magnitude is `largest`, and its reciprocal (0 for a block of
/// zeros, NaN or Inf).
struct ActScale {
  float d;
  float inverse;
};
inline ActScale act_scale(float largest) {
  const bool usable = largest > kTinyScale && largest < 3e38f;
  return {largest > kTinyScale || largest != largest ? largest / 127.0f : 0.0f,
          usable ? 127.0f / largest : 0.0f};
}

/// 32 values to int8. What becomes of a NaN or Inf does not matter: the scale of its block carries
/// it on.
inline __m256i quantize32(const float* x, float inverse) {
  const __m256 scale = _mm256_set1_ps(inverse);
  __m256i v[4];
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), scale));
  }
  const __m256i packed =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return _mm256_permutevar8x32_epi32(packed, order);
}

/// Sums of four signed bytes in every lane.
inline __m256i sum_fours(__m256i q) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1));
}
inline std::int32_t sum_lanes(__m128i v) {
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
  return _mm_cvtsi128_si32(v);
}

/// Splits [begin, end) into kStreams far parts and runs the dot for kStreams weight rows at a time,
/// each with all kRows token rows. One core reads several distant streams about 1.5 times as fast
/// as a single one; neighbouring rows share pages and do not help.
template <int kStreams, int kRows, class Dot>
inline void for_each_stream(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end,
                            const Dot& dot) {
  const std::uint8_t* weight = reinterpret_cast<const std::uint8_t*>(args.weight);
  const std::uint32_t part = (end - begin) / kStreams;
  const std::uint8_t* row[kStreams];
  float sum[kStreams][kRows];
  for (std::uint32_t i = 0; i < part; ++i) {
    for (std::uint32_t s = 0; s < kStreams; ++s) {
      row[s] = weight + (begin + s * part + i) * args.weight_row_bytes;
    }
    dot.template run<kStreams, kRows>(row, sum);
    for (std::uint32_t s = 0; s < kStreams; ++s) {
      for (std::uint32_t r = 0; r < kRows; ++r) {
        store_output(args, r, begin + s * part + i, sum[s][r]);
      }
    }
  }
  for (std::uint32_t o = begin + part * kStreams; o < end; ++o) {
    row[0] = weight + o * args.weight_row_bytes;
    dot.template run<1, kRows>(row, sum);
    for (std::uint32_t r = 0; r < kRows; ++r) {
      store_output(args, r, o, sum[0][r]);
    }
  }
}

/// A step of four values of k: int16 pair sums of panel bytes (unsigned) with one row's four signed
/// bytes, broadcast.
inline __m256i dot_pairs(__m256i w, const void* x) {
  return _mm256_maddubs_epi16(w, _mm256_set1_epi32(static_cast<int>(load_u32(x))));
}

/// acc[n] += scale * dots of kSteps steps with row t + n of the tile. Pair sums of kWiden steps fit
/// int16 together, then they are widened by a multiplication with `scale` (int16, the same in both
/// halves of a lane).
template <int kSteps, int kWiden, int kRows>
inline void dot_scaled(__m256i (&acc)[kRows], const std::uint8_t (*w)[kLanes][4],
                       const std::int8_t (*x)[kTileRows][4], std::uint32_t t, __m256i scale) {
#pragma GCC unroll 8
  for (int s = 0; s < kSteps; s += kWiden) {
    __m256i pairs[kRows];
    const __m256i first = load256(w[s]);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      pairs[n] = dot_pairs(first, x[s][t + static_cast<std::uint32_t>(n)]);
    }
#pragma GCC unroll 8
    for (int j = 1; j < kWiden; ++j) {
      const __m256i next = load256(w[s + j]);
#pragma GCC unroll 4
      for (int n = 0; n < kRows; ++n) {
        pairs[n] = _mm256_add_epi16(pairs[n],
                                    dot_pairs(next, x[s + j][t + static_cast<std::uint32_t>(n)]));
      }
    }
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm256_add_epi32(acc[n], _mm256_madd_epi16(pairs[n], scale));
    }
  }
}

#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))

/// Four products of unsigned and signed bytes added to every lane by one instruction. VEX encoded
/// with AVX-VNNI; the same operation of AVX-512 lets machines without AVX-VNNI test this code.
inline __m256i dot_bytes(__m256i acc, __m256i w, __m256i x) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(acc, w, x);
#else
  return _mm256_dpbusd_epi32(acc, w, x);
#endif
}

constexpr bool kHasVnni = true;

/// acc[n] += dots of kSteps steps with row t + n of the tile; `weights(s)` gives a step's unsigned
/// bytes and `signs(s, x)` what they meet. Two chains a row: the instruction's latency is four or
/// five cycles, its rate two a cycle, and kRows is at most four.
template <int kSteps, int kRows, class Weights, class Signs>
inline void dot_chains(__m256i (&acc)[kRows], const std::int8_t (*x)[kTileRows][4], std::uint32_t t,
                       const Weights& weights, const Signs& signs) {
  __m256i odd[kRows];
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    odd[n] = _mm256_setzero_si256();
  }
#pragma GCC unroll 8
  for (int s = 0; s < kSteps; ++s) {
    const __m256i w = weights(s);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      const std::int8_t* bytes = x[s][t + static_cast<std::uint32_t>(n)];
      const __m256i four = signs(s, _mm256_set1_epi32(static_cast<int>(load_u32(bytes))));
      __m256i& chain = s % 2 == 0 ? acc[n] : odd[n];
      chain = dot_bytes(chain, w, four);
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n) {
    acc[n] = _mm256_add_epi32(acc[n], odd[n]);
  }
}

template <int kSteps, int kWiden, int kRows>
inline void dot_unsigned(__m256i (&acc)[kRows], const std::uint8_t (*w)[kLanes][4],
                         const std::int8_t (*x)[kTileRows][4], std::uint32_t t) {
  dot_chains<kSteps>(
      acc, x, t, [&](int s) { return load256(w[s]); }, [](int, __m256i v) { return v; });
}

/// Signed weights: the sign moves to the activations. -128 works, because activations end at -127.
template <int kSteps, int kWiden, int kRows>
inline void dot_signed(__m256i (&acc)[kRows], const std::int8_t (*w)[kLanes][4],
                       const std::int8_t (*x)[kTileRows][4], std::uint32_t t) {
  dot_chains<kSteps>(
      acc, x, t, [&](int s) { return _mm256_abs_epi8(load256(w[s])); },
      [&](int s, __m256i v) { return _mm256_sign_epi8(v, load256(w[s])); });
}

/// Signed weights made unsigned by 128, which the caller's start values take back.
template <int kSteps, int kRows>
inline void dot_shifted(__m256i (&acc)[kRows], const std::int8_t (*w)[kLanes][4],
                        const std::int8_t (*x)[kTileRows][4], std::uint32_t t) {
  dot_chains<kSteps>(
      acc, x, t, [&](int s) { return _mm256_xor_si256(load256(w[s]), _mm256_set1_epi8(-128)); },
      [](int, __m256i v) { return v; });
}

#else

constexpr bool kHasVnni = false;

template <int kSteps, int kWiden, int kRows>
inline void dot_unsigned(__m256i (&acc)[kRows], const std::uint8_t (*w)[kLanes][4],
                         const std::int8_t (*x)[kTileRows][4], std::uint32_t t) {
  dot_scaled<kSteps, kWiden>(acc, w, x, t, _mm256_set1_epi16(1));
}

/// The same for signed weights: the sign moves to the activations. -128 works, because activations
/// end at -127.
template <int kSteps, int kWiden, int kRows>
inline void dot_signed(__m256i (&acc)[kRows], const std::int8_t (*w)[kLanes][4],
                       const std::int8_t (*x)[kTileRows][4], std::uint32_t t) {
  const __m256i one = _mm256_set1_epi16(1);
#pragma GCC unroll 8
  for (int s = 0; s < kSteps; s += kWiden) {
    __m256i pairs[kRows];
#pragma GCC unroll 8
    for (int j = 0; j < kWiden; ++j) {
      const __m256i v = load256(w[s + j]);
      const __m256i magnitude = _mm256_abs_epi8(v);
#pragma GCC unroll 4
      for (int n = 0; n < kRows; ++n) {
        const std::int8_t* bytes = x[s + j][t + static_cast<std::uint32_t>(n)];
        const __m256i four = _mm256_set1_epi32(static_cast<int>(load_u32(bytes)));
        const __m256i products = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(four, v));
        pairs[n] = j == 0 ? products : _mm256_add_epi16(pairs[n], products);
      }
    }
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      acc[n] = _mm256_add_epi32(acc[n], _mm256_madd_epi16(pairs[n], one));
    }
  }
}

#endif

}  // namespace
}  // namespace lm::cpu
