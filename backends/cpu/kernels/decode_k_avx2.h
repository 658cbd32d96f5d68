/// Blocks of 256 values (Q2_K to Q6_K, IQ4_XS) against a single activation row, straight on the
/// blocks of the file, kStreams weight rows at once. Internal linkage, for files compiled for AVX2
/// only.
#pragma once

#include "backends/cpu/kernels/panel_k_avx2.h"

namespace lm::cpu {
namespace {

constexpr std::ptrdiff_t kDecodeAhead = 1024;  ///< prefetch distance, bytes within each stream

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

/// Sixteen int16 scales as values lie in vectors of 32: even groups in the lower half, odd ones in
/// the upper.
inline __m256i even_odd_groups(__m256i scales) {
  const __m128i split = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  const __m256i by_half = _mm256_shuffle_epi8(scales, _mm256_broadcastsi128_si256(split));
  return _mm256_permute4x64_epi64(by_half, 0xd8);
}

/// Q2_K and Q3_K.
template <class Type>
struct CrumbDot {
  const ActRow256* act;
  std::uint32_t n_blocks;

  static __m256i block_dots(const std::uint8_t* block, const std::int8_t* x, __m256i scales) {
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 2
    for (unsigned h = 0; h < 2; ++h) {
#pragma GCC unroll 4
      for (unsigned pair = 0; pair < 4; ++pair) {
        const __m256i values = Type::values(block, h, pair);
        const __m256i dots = _mm256_maddubs_epi16(values, load256(x + 128 * h + 32 * pair));
        const int chunk = static_cast<int>(4 * h + pair);
        const __m256i pick = _mm256_set1_epi16(static_cast<short>(0x0100 + 0x0202 * chunk));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dots, _mm256_shuffle_epi8(scales, pick)));
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
        const std::uint8_t* block = row[s] + b * Type::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        const CrumbScales k = Type::scales(block);
        const __m256i scales = even_odd_groups(k.scale);
        const __m256i dots = block_dots(block, a.q, scales);
        const __m256i mins = _mm256_madd_epi16(k.min, sums);
        acc[s] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_set1_ps(k.d * a.d), acc[s]);
        acc[s] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(mins), _mm256_set1_ps(k.dmin * a.d), acc[s]);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s][0] = sum_lanes(acc[s]);
    }
  }
};

struct Iq4XsDot {
  const ActRow256* act;
  std::uint32_t n_blocks;

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m256 acc[kStreams];
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = _mm256_setzero_ps();
    }
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256& a = act[b];
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* block = row[s] + b * Iq4Xs::kBytes;
        prefetch(block, kDecodeAhead);
        prefetch(block + 64, kDecodeAhead);
        prefetch(block + 128, kDecodeAhead);
        const __m256i scales = _mm256_broadcastsi128_si256(Iq4Xs::scales(block));
        __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (unsigned j = 0; j < 8; ++j) {
          const __m256i v = Iq4Xs::values(block, j);
          const __m256i x = load256(a.q + 32 * j);
          const __m256i dots = _mm256_maddubs_epi16(_mm256_abs_epi8(v), _mm256_sign_epi8(x, v));
          const __m256i pick =
              _mm256_set1_epi16(static_cast<short>(0x0100 + 0x0202 * static_cast<int>(j)));
          sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dots, _mm256_shuffle_epi8(scales, pick)));
        }
        acc[s] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(load_half(block) * a.d),
                                 acc[s]);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s][0] = sum_lanes(acc[s]);
    }
  }
};

}  // namespace
}  // namespace lm::cpu
