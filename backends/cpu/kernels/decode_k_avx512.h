/// Blocks of 256 values (Q2_K to Q6_K, IQ4_XS) against one to four activation rows, straight on the
/// blocks of the file, kStreams weight rows at once. Internal linkage, for files compiled for
/// AVX-512 with VNNI only.
#pragma once

#include "backends/cpu/kernels/panel_k_avx512.h"

namespace lm::cpu {
namespace {

constexpr std::ptrdiff_t kDecodeAhead = 1024;  ///< prefetch distance, bytes within each stream

/// 256 activations in the order of the nibbles: a 64-byte load of a Q4_K block holds groups 0 and 2
/// in its low nibbles, 1 and 3 in its high ones.
struct NibbleOrder {
  __m512i x[4];

  explicit NibbleOrder(const std::int8_t* q) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m512i a = load512(q + 128 * h);
      const __m512i b = load512(q + 128 * h + 64);
      x[2 * h] = _mm512_shuffle_i64x2(a, b, 0x44);
      x[2 * h + 1] = _mm512_shuffle_i64x2(a, b, 0xee);
    }
  }
};

/// Scales of groups as int16 in the order that vpackssdw leaves: in each 128-bit lane four of the
/// first, four of the second vector.
inline __m512i nibble_scale_order() {
  return _mm512_set_epi16(3, 3, 3, 3, 2, 2, 2, 2, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 1,
                          1, 1, 1, 0, 0, 0, 0);
}

/// Dots of the four weight vectors with scales: dots fit int16 (at most 4 * 63 * 127), so two
/// vectors pack into one and the scales are applied by a second integer dot.
inline __m512i scaled_dots(const __m512i (&w)[4], const __m512i (&x)[4], __m512i scale01,
                           __m512i scale23) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i d0 = _mm512_dpbusd_epi32(zero, w[0], x[0]);
  const __m512i d1 = _mm512_dpbusd_epi32(zero, w[1], x[1]);
  const __m512i d2 = _mm512_dpbusd_epi32(zero, w[2], x[2]);
  const __m512i d3 = _mm512_dpbusd_epi32(zero, w[3], x[3]);
  const __m512i sum = _mm512_dpwssd_epi32(zero, _mm512_packs_epi32(d0, d1), scale01);
  return _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(d2, d3), scale23);
}

template <int kStreams, int kRows>
inline void clear(__m512 (&acc)[kStreams][kRows]) {
#pragma GCC unroll 8
  for (int s = 0; s < kStreams; ++s) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      acc[s][r] = _mm512_setzero_ps();
    }
  }
}

template <int kStreams, int kRows>
inline void add_lanes(const __m512 (&acc)[kStreams][kRows], float (*out)[kRows]) {
#pragma GCC unroll 8
  for (int s = 0; s < kStreams; ++s) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      out[s][r] = _mm512_reduce_add_ps(acc[s][r]);
    }
  }
}

/// Q4_K and Q5_K.
template <class Type>
struct MinDot {
  const ActRow256* act;  ///< [rows, n_blocks]
  std::uint32_t n_blocks;

  static void load_weights(const std::uint8_t* block, __m512i (&w)[4]) {
    if constexpr (Type::kBytes == Q4K::kBytes) {
      const __m512i z0 = load512(block + 16);
      const __m512i z1 = load512(block + 80);
      w[0] = low_nibbles(z0);
      w[1] = high_nibbles(z0);
      w[2] = low_nibbles(z1);
      w[3] = high_nibbles(z1);
    } else {
      const __m512i high = _mm512_broadcast_i64x4(load256(block + 16));
      const __m512i z0 = load512(block + 48);
      const __m512i z1 = load512(block + 112);
      // 64-bit halves 0..3 hold the first group of a load, 4..7 the one two further on.
      const __m512i by2 = _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0);
      const __m512i h0 = _mm512_srlv_epi64(high, by2);
      const __m512i h2 = _mm512_srli_epi64(h0, 4);
      w[0] = _mm512_or_si512(low_nibbles(z0), Q5K::fifth_bits(h0, 0));
      w[1] = _mm512_or_si512(high_nibbles(z0), Q5K::fifth_bits(h0, 1));
      w[2] = _mm512_or_si512(low_nibbles(z1), Q5K::fifth_bits(h2, 0));
      w[3] = _mm512_or_si512(high_nibbles(z1), Q5K::fifth_bits(h2, 1));
    }
  }

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m512 acc[kStreams][kRows];
    clear(acc);
    const __m512i order01 = nibble_scale_order();
    const __m512i order23 = _mm512_add_epi16(order01, _mm512_set1_epi16(4));
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256* a = act + b;
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Type::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        prefetch(block + 128, kDecodeAhead);
        const KScales k = read_k_scales(block + 4);
        __m512i w[4];
        load_weights(block, w);
        const __m512i scales = _mm512_castsi128_si512(
            _mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<long long>(k.scale))));
        const __m512i scale01 = _mm512_permutexvar_epi16(order01, scales);
        const __m512i scale23 = _mm512_permutexvar_epi16(order23, scales);
        const __m128i min16 = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<long long>(k.min)));
        const float d = load_half(block);
        const float dmin = load_half(block + 2);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const ActRow256& x = a[static_cast<std::size_t>(r) * n_blocks];
          const NibbleOrder order(x.q);
          const __m512i dots = scaled_dots(w, order.x, scale01, scale23);
          const __m128i mins = _mm_madd_epi16(min16, load128(x.sum32));
          acc[s][r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_set1_ps(d * x.d), acc[s][r]);
          acc[s][r] = _mm512_fnmadd_ps(_mm512_zextps128_ps512(_mm_cvtepi32_ps(mins)),
                                       _mm512_set1_ps(dmin * x.d), acc[s][r]);
        }
      }
    }
    add_lanes(acc, out);
  }
};

/// Q6_K.
struct SixBitDot {
  const ActRow256* act;  ///< [rows, n_blocks]
  std::uint32_t n_blocks;

  static void load_weights(const std::uint8_t* block, __m512i (&w)[4]) {
    const __m512i l0 = load512(block);
    const __m512i l1 = load512(block + 64);
    const __m512i h0 = _mm512_broadcast_i64x4(load256(block + 128));
    const __m512i h1 = _mm512_broadcast_i64x4(load256(block + 160));
    // Lower half of a vector: groups 0 and 2 (bits 0..1 and 4..5 of qh), upper half: 1 and 3.
    const __m512i left = _mm512_set_epi64(2, 2, 2, 2, 4, 4, 4, 4);
    const __m512i right = _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0);
    const __m512i top2 = _mm512_set1_epi8(0x30);
    constexpr int kOrAnd = 0xf8;  // a | (b & c)
    w[0] = _mm512_ternarylogic_epi32(low_nibbles(l0), _mm512_sllv_epi64(h0, left), top2, kOrAnd);
    w[1] = _mm512_ternarylogic_epi32(high_nibbles(l0), _mm512_srlv_epi64(h0, right), top2, kOrAnd);
    w[2] = _mm512_ternarylogic_epi32(low_nibbles(l1), _mm512_sllv_epi64(h1, left), top2, kOrAnd);
    w[3] = _mm512_ternarylogic_epi32(high_nibbles(l1), _mm512_srlv_epi64(h1, right), top2, kOrAnd);
  }

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m512 acc[kStreams][kRows];
    clear(acc);
    const __m512i order01 = _mm512_set_epi16(7, 7, 7, 7, 3, 3, 3, 3, 6, 6, 6, 6, 2, 2, 2, 2, 5, 5,
                                             5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 0, 0, 0, 0);
    const __m512i order23 = _mm512_add_epi16(order01, _mm512_set1_epi16(8));
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256* a = act + b;
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Q6K::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        prefetch(block + 128, kDecodeAhead);
        prefetch(block + 192, kDecodeAhead);
        __m512i w[4];
        load_weights(block, w);
        const __m256i scale16 = _mm256_cvtepi8_epi16(load128(block + 192));
        const __m512i scales = _mm512_castsi256_si512(scale16);
        const __m512i scale01 = _mm512_permutexvar_epi16(order01, scales);
        const __m512i scale23 = _mm512_permutexvar_epi16(order23, scales);
        const float d = load_half(block + 208);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const ActRow256& x = a[static_cast<std::size_t>(r) * n_blocks];
          const __m512i q[4] = {load512(x.q), load512(x.q + 64), load512(x.q + 128),
                                load512(x.q + 192)};
          const __m512i dots = scaled_dots(w, q, scale01, scale23);
          const __m256i offset = _mm256_slli_epi32(_mm256_madd_epi16(scale16, load256(x.sum16)), 5);
          const __m512i sum = _mm512_sub_epi32(dots, _mm512_zextsi256_si512(offset));
          acc[s][r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(d * x.d), acc[s][r]);
        }
      }
    }
    add_lanes(acc, out);
  }
};

/// Scales and minima of the sixteen groups of a Q2_K block.
struct CrumbScales {
  __m256i scale;
  __m256i min;
  float d;
  float dmin;
};

inline CrumbScales read_crumb_scales(Q2K, const std::uint8_t* block) {
  const __m256i v = _mm256_cvtepu8_epi16(load128(block));
  return {_mm256_and_si256(v, _mm256_set1_epi16(15)), _mm256_srli_epi16(v, 4),
          load_half(block + 80), load_half(block + 82)};
}

/// Q3_K: quants 0..7 with a minimum of four scales.
inline CrumbScales read_crumb_scales(Q3K, const std::uint8_t* block) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 96));
  const __m128i nibbles = _mm_unpacklo_epi64(bytes, _mm_srli_epi16(bytes, 4));
  const __m128i word = _mm_set1_epi32(static_cast<int>(load_u32(block + 104)));
  const __m128i pairs = _mm_srlv_epi32(word, _mm_setr_epi32(0, 2, 4, 6));
  const __m128i six = _mm_or_si128(_mm_and_si128(nibbles, _mm_set1_epi8(15)),
                                   _mm_slli_epi16(_mm_and_si128(pairs, _mm_set1_epi8(3)), 4));
  const __m256i scale = _mm256_sub_epi16(_mm256_cvtepu8_epi16(six), _mm256_set1_epi16(32));
  const float d = load_half(block + 108);
  return {scale, _mm256_slli_epi16(scale, 2), d, d};
}

/// Q2_K and Q3_K: vector j holds the values from 32 j on in its lower half, those from 128 + 32 j
/// on in its upper half.
template <class Type>
struct CrumbDot {
  const ActRow256* act;  ///< [rows, n_blocks]
  std::uint32_t n_blocks;

  static void load_weights(const std::uint8_t* block, __m512i (&w)[4]) {
    if constexpr (Type::kBytes == Q2K::kBytes) {
      const __m512i v = load512(block + 16);
#pragma GCC unroll 4
      for (unsigned j = 0; j < 4; ++j) {
        w[j] = crumbs(v, j);
      }
    } else {
      const __m512i v = load512(block + 32);
      const __m512i mask = _mm512_broadcast_i64x4(load256(block));
      const __m512i top = _mm512_srlv_epi64(mask, _mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0));
      const __m512i bit2 = _mm512_set1_epi8(4);
      constexpr int kOrAnd = 0xf8;  // a | (b & c)
      w[0] = _mm512_ternarylogic_epi32(crumbs(v, 0), _mm512_slli_epi16(top, 2), bit2, kOrAnd);
      w[1] = _mm512_ternarylogic_epi32(crumbs(v, 1), _mm512_slli_epi16(top, 1), bit2, kOrAnd);
      w[2] = _mm512_ternarylogic_epi32(crumbs(v, 2), top, bit2, kOrAnd);
      w[3] = _mm512_ternarylogic_epi32(crumbs(v, 3), _mm512_srli_epi16(top, 1), bit2, kOrAnd);
    }
  }

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m512 acc[kStreams][kRows];
    clear(acc);
    const __m512i order01 = _mm512_set_epi16(11, 11, 11, 11, 9, 9, 9, 9, 10, 10, 10, 10, 8, 8, 8, 8,
                                             3, 3, 3, 3, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0);
    const __m512i order23 = _mm512_add_epi16(order01, _mm512_set1_epi16(4));
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256* a = act + b;
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Type::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        __m512i w[4];
        load_weights(block, w);
        const CrumbScales k = read_crumb_scales(Type{}, block);
        const __m512i scales = _mm512_castsi256_si512(k.scale);
        const __m512i scale01 = _mm512_permutexvar_epi16(order01, scales);
        const __m512i scale23 = _mm512_permutexvar_epi16(order23, scales);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const ActRow256& x = a[static_cast<std::size_t>(r) * n_blocks];
          __m512i q[4];
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            q[j] = _mm512_inserti64x4(_mm512_castsi256_si512(load256(x.q + 32 * j)),
                                      load256(x.q + 128 + 32 * j), 1);
          }
          const __m512i dots = scaled_dots(w, q, scale01, scale23);
          const __m256i mins = _mm256_madd_epi16(k.min, load256(x.sum16));
          acc[s][r] =
              _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_set1_ps(k.d * x.d), acc[s][r]);
          acc[s][r] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(_mm512_zextsi256_si512(mins)),
                                       _mm512_set1_ps(k.dmin * x.d), acc[s][r]);
        }
      }
    }
    add_lanes(acc, out);
  }
};

/// IQ4_XS. Its dots do not fit int16, so groups are scaled in f32: a vector holds four of them.
struct Iq4XsDot {
  const ActRow256* act;  ///< [rows, n_blocks]
  std::uint32_t n_blocks;

  /// The scales of the eight groups.
  static __m128i scales(const std::uint8_t* block) {
    const __m128i low = _mm_cvtsi32_si128(static_cast<int>(load_u32(block + 4)));
    const __m128i nibbles = _mm_cvtepu8_epi16(
        _mm_and_si128(_mm_unpacklo_epi8(low, _mm_srli_epi16(low, 4)), _mm_set1_epi8(15)));
    const __m128i high = _mm_set1_epi16(static_cast<short>(load_u16(block + 2)));
    const __m128i pairs = _mm_srlv_epi16(high, _mm_setr_epi16(0, 2, 4, 6, 8, 10, 12, 14));
    const __m128i top = _mm_slli_epi16(_mm_and_si128(pairs, _mm_set1_epi16(3)), 4);
    return _mm_sub_epi16(_mm_or_si128(nibbles, top), _mm_set1_epi16(32));
  }

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m512 acc[kStreams][kRows];
    clear(acc);
    const __m512i table = Iq4Xs::table();
    const __m512i order0 = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512i order1 = _mm512_add_epi32(order0, _mm512_set1_epi32(4));
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256* a = act + b;
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Iq4Xs::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        prefetch(block + 128, kDecodeAhead);
        const __m512i z0 = load512(block + 8);
        const __m512i z1 = load512(block + 72);
        const __m512i w[4] = {_mm512_shuffle_epi8(table, low_nibbles(z0)),
                              _mm512_shuffle_epi8(table, high_nibbles(z0)),
                              _mm512_shuffle_epi8(table, low_nibbles(z1)),
                              _mm512_shuffle_epi8(table, high_nibbles(z1))};
        const __m128i scale16 = scales(block);
        const __m512 scale =
            _mm512_castps256_ps512(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(scale16)));
        const __m512 scale0 = _mm512_permutexvar_ps(order0, scale);
        const __m512 scale1 = _mm512_permutexvar_ps(order1, scale);
        const float d = load_half(block);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const ActRow256& x = a[static_cast<std::size_t>(r) * n_blocks];
          __m512 sum = _mm512_zextps128_ps512(
              _mm_cvtepi32_ps(_mm_slli_epi32(_mm_madd_epi16(scale16, load128(x.sum32)), 7)));
          // Lanes of 16 bytes: the first halves of four groups, then the second ones.
          const __m512i q0 = load512(x.q);
          const __m512i q1 = load512(x.q + 64);
          const __m512i q2 = load512(x.q + 128);
          const __m512i q3 = load512(x.q + 192);
          const __m512i zero = _mm512_setzero_si512();
          __m512i dots0 = _mm512_dpbusd_epi32(zero, w[0], _mm512_shuffle_i64x2(q0, q1, 0x88));
          dots0 = _mm512_dpbusd_epi32(dots0, w[1], _mm512_shuffle_i64x2(q0, q1, 0xdd));
          __m512i dots1 = _mm512_dpbusd_epi32(zero, w[2], _mm512_shuffle_i64x2(q2, q3, 0x88));
          dots1 = _mm512_dpbusd_epi32(dots1, w[3], _mm512_shuffle_i64x2(q2, q3, 0xdd));
          sum = _mm512_fmsub_ps(_mm512_cvtepi32_ps(dots0), scale0, sum);
          sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots1), scale1, sum);
          acc[s][r] = _mm512_fmadd_ps(sum, _mm512_set1_ps(d * x.d), acc[s][r]);
        }
      }
    }
    add_lanes(acc, out);
  }
};

}  // namespace
}  // namespace lm::cpu
