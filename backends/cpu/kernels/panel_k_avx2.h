/// Blocks of 256 values (Q2_K to Q6_K, IQ4_XS) of eight rows unpacked into panels: row r in lane r,
/// four values of k a lane; and the same quants of one row. Internal linkage, for files compiled
/// for AVX2 only.
#pragma once

#include "backends/cpu/kernels/simd_avx2.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kBlock = 256;

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

/// Eight rows by 256 values of two or three bits with an integer scale and minimum per 16:
/// w = d * scale * q - dmin * min.
struct alignas(32) PanelCrumbs {
  std::uint8_t q[64][kLanes][4];
  std::int16_t scale[16][kLanes][2];  ///< twice the same
  std::int16_t min[8][kLanes][2];
  float d[kLanes];
  float dmin[kLanes];
};

/// Eight rows by 256 values with a scale per 32: w = scale * q.
struct alignas(32) PanelSigned {
  std::int8_t q[64][kLanes][4];
  float scale[8][kLanes];
};

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

/// Bits 2 * pair and 2 * pair + 1 of every byte.
inline __m256i crumbs(__m256i v, unsigned pair) {
  return _mm256_and_si256(_mm256_srli_epi16(v, static_cast<int>(2 * pair)), _mm256_set1_epi8(3));
}

/// Byte i of every lane, as the upper byte of both halves of the lane; the lower bytes are zero.
inline __m256i spread_byte(__m256i v, unsigned i) {
  const __m128i lane =
      _mm_setr_epi8(-128, 0, -128, 0, -128, 4, -128, 4, -128, 8, -128, 8, -128, 12, -128, 12);
  const __m128i pick = _mm_add_epi8(lane, _mm_set1_epi16(static_cast<short>(i << 8)));
  return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(pick));
}

/// Scales and minima of the sixteen groups of one Q2_K or Q3_K block.
struct CrumbScales {
  __m256i scale;
  __m256i min;
  float d;
  float dmin;
};

struct Q2K {
  static constexpr std::size_t kBytes = 84;
  using Panel = PanelCrumbs;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    _mm256_store_ps(out.d, load_halves(rows, offset + 80));
    _mm256_store_ps(out.dmin, load_halves(rows, offset + 82));
    const Dwords4 head = load_transposed(rows, offset);
    for (unsigned group = 0; group < 16; ++group) {
      const __m256i v = spread_byte(low_nibbles(head.dword[group / 4]), group % 4);
      store256(out.scale[group], _mm256_srli_epi16(v, 8));
    }
    for (unsigned j = 0; j < 8; ++j) {
      const __m256i even = spread_byte(high_nibbles(head.dword[j / 2]), 2 * j % 4);
      const __m256i odd = spread_byte(high_nibbles(head.dword[j / 2]), 2 * j % 4 + 1);
      store256(out.min[j], _mm256_srli_epi16(_mm256_blend_epi16(even, odd, 0xaa), 8));
    }
    for (unsigned h = 0; h < 2; ++h) {
      for (unsigned part = 0; part < 2; ++part) {  // 16 of the 32 bytes that groups share
        const Dwords4 v = load_transposed(rows, offset + 16 + 32 * h + 16 * part);
        for (unsigned pair = 0; pair < 4; ++pair) {
          for (unsigned c = 0; c < 4; ++c) {
            store256(out.q[32 * h + 8 * pair + 4 * part + c], crumbs(v.dword[c], pair));
          }
        }
      }
    }
  }
  /// Values from 128 h + 32 pair on of one block.
  static __m256i values(const std::uint8_t* block, unsigned h, unsigned pair) {
    return crumbs(load256(block + 16 + 32 * h), pair);
  }
  static CrumbScales scales(const std::uint8_t* block) {
    const __m256i v = _mm256_cvtepu8_epi16(load128(block));
    return {_mm256_and_si256(v, _mm256_set1_epi16(15)), _mm256_srli_epi16(v, 4),
            load_half(block + 80), load_half(block + 82)};
  }
};

/// Quants 0..7 with a minimum of four scales.
struct Q3K {
  static constexpr std::size_t kBytes = 110;
  using Panel = PanelCrumbs;

  /// Bit `group` of every byte of the mask as bit 2.
  static __m256i third_bits(__m256i mask, unsigned group) {
    const __m256i bit =
        _mm256_and_si256(_mm256_srli_epi16(mask, static_cast<int>(group)), _mm256_set1_epi8(1));
    return _mm256_slli_epi16(bit, 2);
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    // The last 16 bytes of the block: two of qs, twelve of scales, d.
    const Dwords4 tail = load_transposed(rows, offset + 94);
    __m256i packed[3];
    for (int i = 0; i < 3; ++i) {
      packed[i] = _mm256_or_si256(_mm256_srli_epi32(tail.dword[i], 16),
                                  _mm256_slli_epi32(tail.dword[i + 1], 16));
    }
    const __m256 d = halves_of_lanes(_mm256_srli_epi32(tail.dword[3], 16));
    _mm256_store_ps(out.d, d);
    _mm256_store_ps(out.dmin, d);
    for (unsigned i = 0; i < 4; ++i) {
      const __m256i low = i < 2 ? low_nibbles(packed[i]) : high_nibbles(packed[i - 2]);
      const __m256i high = _mm256_slli_epi16(crumbs(packed[2], i), 4);
      const __m256i bytes = _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
      for (unsigned j = 0; j < 4; j += 2) {
        const __m256i even = _mm256_srai_epi16(spread_byte(bytes, j), 8);
        const __m256i odd = _mm256_srai_epi16(spread_byte(bytes, j + 1), 8);
        store256(out.scale[4 * i + j], even);
        store256(out.scale[4 * i + j + 1], odd);
        store256(out.min[2 * i + j / 2], _mm256_slli_epi16(_mm256_blend_epi16(even, odd, 0xaa), 2));
      }
    }
    for (unsigned part = 0; part < 2; ++part) {
      const Dwords4 mask = load_transposed(rows, offset + 16 * part);
      for (unsigned h = 0; h < 2; ++h) {
        const Dwords4 v = load_transposed(rows, offset + 32 + 32 * h + 16 * part);
        for (unsigned pair = 0; pair < 4; ++pair) {
          for (unsigned c = 0; c < 4; ++c) {
            const __m256i top = third_bits(mask.dword[c], 4 * h + pair);
            store256(out.q[32 * h + 8 * pair + 4 * part + c],
                     _mm256_or_si256(crumbs(v.dword[c], pair), top));
          }
        }
      }
    }
  }
  static __m256i values(const std::uint8_t* block, unsigned h, unsigned pair) {
    return _mm256_or_si256(crumbs(load256(block + 32 + 32 * h), pair),
                           third_bits(load256(block), 4 * h + pair));
  }
  static CrumbScales scales(const std::uint8_t* block) {
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
};

struct Iq4Xs {
  static constexpr std::size_t kBytes = 136;
  using Panel = PanelSigned;

  static __m256i table() {
    return _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    const Dwords4 head = load_transposed(rows, offset);
    const __m256 d = halves_of_lanes(head.dword[0]);
    for (int j = 0; j < 8; ++j) {
      const __m256i low =
          _mm256_and_si256(_mm256_srli_epi32(head.dword[1], 4 * j), _mm256_set1_epi32(15));
      const __m256i high =
          _mm256_and_si256(_mm256_srli_epi32(head.dword[0], 16 + 2 * j), _mm256_set1_epi32(3));
      const __m256i six = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
      const __m256i scale = _mm256_sub_epi32(six, _mm256_set1_epi32(32));
      _mm256_store_ps(out.scale[j], _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale)));
    }
    for (unsigned j = 0; j < 8; ++j) {
      const Dwords4 v = load_transposed(rows, offset + 8 + 16 * j);
      for (unsigned c = 0; c < 4; ++c) {
        store256(out.q[8 * j + c], _mm256_shuffle_epi8(table(), low_nibbles(v.dword[c])));
        store256(out.q[8 * j + 4 + c], _mm256_shuffle_epi8(table(), high_nibbles(v.dword[c])));
      }
    }
  }
  /// The 32 values of group j of one block.
  static __m256i values(const std::uint8_t* block, unsigned j) {
    const __m128i v = load128(block + 8 + 16 * j);
    return _mm256_shuffle_epi8(table(), low_nibbles(_mm256_set_m128i(_mm_srli_epi16(v, 4), v)));
  }
  /// The scales of the eight groups as int16.
  static __m128i scales(const std::uint8_t* block) {
    const __m128i low = _mm_cvtsi32_si128(static_cast<int>(load_u32(block + 4)));
    const __m128i nibbles = _mm_cvtepu8_epi16(
        _mm_and_si128(_mm_unpacklo_epi8(low, _mm_srli_epi16(low, 4)), _mm_set1_epi8(15)));
    // A multiplication moves each pair of bits to the top of its word.
    const __m128i high = _mm_set1_epi16(static_cast<short>(load_u16(block + 2)));
    const __m128i to_top = _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 64, 16, 4, 1);
    const __m128i top = _mm_slli_epi16(_mm_srli_epi16(_mm_mullo_epi16(high, to_top), 14), 4);
    return _mm_sub_epi16(_mm_or_si128(nibbles, top), _mm_set1_epi16(32));
  }
};

}  // namespace
}  // namespace lm::cpu
