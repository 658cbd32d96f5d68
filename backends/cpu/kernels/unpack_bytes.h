/// Types that become signed bytes with an integer scale per 16 values before they are multiplied:
/// IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, TQ1_0, TQ2_0. One `unpack` a type is all
/// that every instruction set needs. Included by files compiled for different ones, so everything
/// has internal linkage.
#pragma once

#if defined(__AVX2__)
#include "backends/cpu/kernels/intrinsics.h"
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backends/cpu/kernels/codebooks.h"

namespace lm::cpu {
namespace {

/// A block of 256 values: w = d * scale[i / 16] * q[i], with |q| <= 62 and 0 < scale < 32. `d` is
/// an f16, times `kFactor` of the type.
struct ByteBlock {
  alignas(64) std::int8_t q[256];
  alignas(32) std::int16_t scale[16];
  std::uint16_t d;
};

inline std::uint16_t u16_of(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline std::uint32_t u32_of(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class Word>
inline void put(std::int8_t* q, Word word) {
  std::memcpy(q, &word, sizeof word);
}

/// The signs of a block: bit k of byte i says that q[8 i + k] is negative. They stay in registers.
struct Signs {
  std::uint64_t word[4];
};

inline Signs load_signs(const std::uint8_t* p) {
  Signs signs;
  std::memcpy(signs.word, p, sizeof signs.word);
  return signs;
}

/// Four bytes of signs from four times seven bits: the eighth makes their number even.
inline std::uint32_t even_signs(std::uint32_t w) {
  const std::uint32_t sevens =
      (w & 0x7fu) | (w << 1 & 0x7f00u) | (w << 2 & 0x7f0000u) | (w << 3 & 0x7f000000u);
  std::uint32_t parity = sevens ^ sevens >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return sevens | (parity & 0x01010101u) << 7;
}

/// Applies the signs to quants of which none is zero.
inline void apply_signs(const Codebooks& books, const Signs& signs, std::int8_t* q) {
#if defined(__AVX512BW__)
  (void)books;
  for (int i = 0; i < 4; ++i) {
    const __m512i v = _mm512_load_si512(q + 64 * i);
    _mm512_store_si512(q + 64 * i,
                       _mm512_mask_sub_epi8(v, signs.word[i], _mm512_setzero_si512(), v));
  }
#elif defined(__AVX2__)
  (void)books;
  const __m256i byte_of =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  for (int i = 0; i < 8; ++i) {
    const auto four = static_cast<std::uint32_t>(signs.word[i / 2] >> 32 * (i % 2));
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(four)), byte_of);
    const __m256i sign = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    __m256i* p = reinterpret_cast<__m256i*>(q + 32 * i);
    const __m256i v = _mm256_load_si256(p);
    _mm256_store_si256(p, _mm256_sub_epi8(_mm256_xor_si256(v, sign), sign));
  }
#else
  for (int i = 0; i < 32; ++i) {
    std::uint64_t v;
    std::memcpy(&v, q + 8 * i, sizeof v);
    // ~v + 1 in every byte: no byte is zero, so none carries over.
    const std::uint64_t sign = books.signs[signs.word[i / 8] >> 8 * (i % 8) & 255u];
    put(q + 8 * i, (v ^ sign) + (sign & 0x0101010101010101u));
  }
#endif
}

/// 2 s + 1 for the sixteen 4-bit s of eight bytes, low nibbles first.
inline void odd_scales(const std::uint8_t* bytes, std::int16_t (&scale)[16]) {
  for (int j = 0; j < 8; ++j) {
    scale[2 * j] = static_cast<std::int16_t>(2 * (bytes[j] & 15) + 1);
    scale[2 * j + 1] = static_cast<std::int16_t>(2 * (bytes[j] >> 4) + 1);
  }
}

/// Eight values of IQ1: eight times the codebook's, plus or minus one.
inline void put_iq1(const Codebooks& books, std::uint32_t entry, std::uint32_t minus,
                    std::int8_t* q) {
  using Eight = std::int8_t __attribute__((vector_size(8)));
  const auto shift = static_cast<std::int8_t>(1 - 2 * static_cast<int>(minus));  // minus is random
  Eight v;
  std::memcpy(&v, &books.iq1[entry], sizeof v);
  v += shift;
  std::memcpy(q, &v, sizeof v);
}

struct Iq1S {
  static constexpr std::size_t kBytes = 50;
  static constexpr float kFactor = 0.125f;
  static void unpack(const Codebooks& books, const std::uint8_t* b, ByteBlock& out) {
    out.d = u16_of(b);
    for (std::uint32_t j = 0; j < 8; ++j) {
      const std::uint32_t h = u16_of(b + 34 + 2 * j);
      const std::uint32_t minus = h >> 15;
      for (std::uint32_t l = 0; l < 4; ++l) {
        const std::uint32_t entry = b[2 + 4 * j + l] | (h >> 3 * l & 7u) << 8;
        put_iq1(books, entry, minus, out.q + 32 * j + 8 * l);
      }
      out.scale[2 * j] = out.scale[2 * j + 1] = static_cast<std::int16_t>(2 * (h >> 12 & 7u) + 1);
    }
  }
};

struct Iq1M {
  static constexpr std::size_t kBytes = 56;
  static constexpr float kFactor = 0.125f;
  static void unpack(const Codebooks& books, const std::uint8_t* b, ByteBlock& out) {
    std::uint32_t d = 0;
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t s = u16_of(b + 48 + 2 * i);
      d |= s >> 12 << 4 * i;
      for (std::uint32_t l = 0; l < 4; ++l) {
        out.scale[4 * i + l] = static_cast<std::int16_t>(2 * (s >> 3 * l & 7u) + 1);
      }
    }
    out.d = static_cast<std::uint16_t>(d);
    for (std::uint32_t j = 0; j < 16; ++j) {
      const std::uint32_t h = b[32 + j];
      put_iq1(books, b[2 * j] | (h & 7u) << 8, h >> 3 & 1u, out.q + 16 * j);
      put_iq1(books, b[2 * j + 1] | (h >> 4 & 7u) << 8, h >> 7, out.q + 16 * j + 8);
    }
  }
};

struct Iq2Xxs {
  static constexpr std::size_t kBytes = 66;
  static constexpr float kFactor = 0.125f;
  static void unpack(const Codebooks& books, const std::uint8_t* b, ByteBlock& out) {
    Signs signs = {};
    out.d = u16_of(b);
    for (std::uint32_t j = 0; j < 8; ++j) {
      const std::uint8_t* index = b + 2 + 8 * j;
      const std::uint32_t w = u32_of(index + 4);
      for (std::uint32_t l = 0; l < 4; ++l) {
        put(out.q + 32 * j + 8 * l, books.iq2_xxs[index[l]]);
      }
      signs.word[j / 2] |= std::uint64_t{even_signs(w)} << 32 * (j % 2);
      out.scale[2 * j] = out.scale[2 * j + 1] = static_cast<std::int16_t>(2 * (w >> 28) + 1);
    }
    apply_signs(books, signs, out.q);
  }
};

struct Iq2Xs {
  static constexpr std::size_t kBytes = 74;
  static constexpr float kFactor = 0.125f;
  static void unpack(const Codebooks& books, const std::uint8_t* b, ByteBlock& out) {
    Signs signs = {};
    out.d = u16_of(b);
    for (std::uint32_t j = 0; j < 8; ++j) {
      std::uint32_t sevens = 0;
      for (std::uint32_t l = 0; l < 4; ++l) {
        const std::uint32_t v = u16_of(b + 2 + 8 * j + 2 * l);
        put(out.q + 32 * j + 8 * l, books.iq2_xs[v & 511u]);
        sevens |= v >> 9 << 7 * l;
      }
      signs.word[j / 2] |= std::uint64_t{even_signs(sevens)} << 32 * (j % 2);
    }
    odd_scales(b + 66, out.scale);
    apply_signs(books, signs, out.q);
  }
};

struct Iq2S {
  static constexpr std::size_t kBytes = 82;
  static constexpr float kFactor = 0.125f;
  static void unpack(const Codebooks& books, const std::uint8_t* b, ByteBlock& out) {
    const Signs signs = load_signs(b + 34);
    out.d = u16_of(b);
    for (std::uint32_t j = 0; j < 8; ++j) {
      const std::uint32_t high = b[66 + j];
      for (std::uint32_t l = 0; l < 4; ++l) {
        const std::uint32_t entry = b[2 + 4 * j + l] | (high >> 2 * l & 3u) << 8;
        put(out.q + 32 * j + 8 * l, books.iq2_s[entry]);
      }
    }
    odd_scales(b + 74, out.scale);
    apply_signs(books, signs, out.q);
  }
};

struct Iq3Xxs {
  static constexpr std::size_t kBytes = 98;
  static constexpr float kFactor = 0.25f;
  static void unpack(const Codebooks& books, const std::uint8_t* b, ByteBlock& out) {
    Signs signs = {};
    out.d = u16_of(b);
    for (std::uint32_t i = 0; i < 64; i += 2) {
      const std::uint64_t low = books.iq3_xxs[b[2 + i]];
      put(out.q + 4 * i, low | std::uint64_t{books.iq3_xxs[b[3 + i]]} << 32);
    }
    for (std::uint32_t j = 0; j < 8; ++j) {
      const std::uint32_t w = u32_of(b + 66 + 4 * j);
      signs.word[j / 2] |= std::uint64_t{even_signs(w)} << 32 * (j % 2);
      out.scale[2 * j] = out.scale[2 * j + 1] = static_cast<std::int16_t>(2 * (w >> 28) + 1);
    }
    apply_signs(books, signs, out.q);
  }
};

struct Iq3S {
  static constexpr std::size_t kBytes = 110;
  static constexpr float kFactor = 1.0f;
  static void unpack(const Codebooks& books, const std::uint8_t* b, ByteBlock& out) {
    const Signs signs = load_signs(b + 74);
    out.d = u16_of(b);
    for (std::uint32_t j = 0; j < 8; ++j) {
      const std::uint32_t high = b[66 + j];
      for (std::uint32_t l = 0; l < 8; l += 2) {
        const std::uint32_t first = b[2 + 8 * j + l] | (high >> l & 1u) << 8;
        const std::uint32_t second = b[3 + 8 * j + l] | (high >> (l + 1) & 1u) << 8;
        const std::uint64_t low = books.iq3_s[first];
        put(out.q + 32 * j + 4 * l, low | std::uint64_t{books.iq3_s[second]} << 32);
      }
      const int s = b[106 + j / 2] >> 4 * (j % 2) & 15;
      out.scale[2 * j] = out.scale[2 * j + 1] = static_cast<std::int16_t>(2 * s + 1);
    }
    apply_signs(books, signs, out.q);
  }
};

inline void scales_of_one(std::int16_t (&scale)[16]) {
  for (std::int16_t& s : scale) {
    s = 1;
  }
}

/// Digit kDigit (from the most significant) of the five base-3 digits in each of n bytes.
template <int kDigit>
inline void put_digits(const std::uint8_t* b, int n, std::int8_t* q) {
  constexpr int kPower[5] = {1, 3, 9, 27, 81};
  for (int i = 0; i < n; ++i) {
    const auto fraction = static_cast<std::uint8_t>(b[i] * kPower[kDigit]);
    q[i] = static_cast<std::int8_t>((fraction * 3 >> 8) - 1);
  }
}

struct Tq10 {
  static constexpr std::size_t kBytes = 54;
  static constexpr float kFactor = 1.0f;
  static void unpack(const Codebooks&, const std::uint8_t* b, ByteBlock& out) {
    out.d = u16_of(b + 52);
    scales_of_one(out.scale);
    put_digits<0>(b, 32, out.q);
    put_digits<1>(b, 32, out.q + 32);
    put_digits<2>(b, 32, out.q + 64);
    put_digits<3>(b, 32, out.q + 96);
    put_digits<4>(b, 32, out.q + 128);
    put_digits<0>(b + 32, 16, out.q + 160);
    put_digits<1>(b + 32, 16, out.q + 176);
    put_digits<2>(b + 32, 16, out.q + 192);
    put_digits<3>(b + 32, 16, out.q + 208);
    put_digits<4>(b + 32, 16, out.q + 224);
    put_digits<0>(b + 48, 4, out.q + 240);
    put_digits<1>(b + 48, 4, out.q + 244);
    put_digits<2>(b + 48, 4, out.q + 248);
    put_digits<3>(b + 48, 4, out.q + 252);
  }
};

struct Tq20 {
  static constexpr std::size_t kBytes = 66;
  static constexpr float kFactor = 1.0f;
  static void unpack(const Codebooks&, const std::uint8_t* b, ByteBlock& out) {
    out.d = u16_of(b + 64);
    scales_of_one(out.scale);
    for (int h = 0; h < 2; ++h) {
      for (int pair = 0; pair < 4; ++pair) {
        for (int i = 0; i < 32; ++i) {
          out.q[128 * h + 32 * pair + i] =
              static_cast<std::int8_t>((b[32 * h + i] >> 2 * pair & 3) - 1);
        }
      }
    }
  }
};

}  // namespace
}  // namespace lm::cpu
