/// Blocks of 256 values (Q2_K to Q6_K, IQ4_XS) of sixteen rows unpacked into panels: row r in lane
/// r, four values of k a lane. Internal linkage, for files compiled for AVX-512 only.
#pragma once

#include "backends/cpu/kernels/simd_avx512.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kBlock = 256;

/// Sixteen rows by 256 values with a scale per 32 and a minimum per 32: w = scale * q - dmin * min.
struct alignas(64) PanelMin {
  std::uint8_t q[64][kLanes][4];
  float scale[8][kLanes];
  std::int16_t min[4][kLanes][2];
  float dmin[kLanes];
};

/// Sixteen rows by 256 values with a scale per 16: w = scale * (q - 32).
struct alignas(64) Panel16 {
  std::uint8_t q[64][kLanes][4];
  float scale[16][kLanes];
};

/// Sixteen rows by 256 values whose scales are multiplied into the quants already, which takes a
/// byte for types of two and three bits: w = d * q - dmin * min, a minimum per 16.
struct alignas(64) PanelScaled {
  std::uint8_t q[64][kLanes][4];
  std::int16_t min[8][kLanes][2];
  float d[kLanes];
  float dmin[kLanes];
};

inline void store_step(std::uint8_t (*step)[4], __m512i v) {
  _mm512_store_si512(step, v);
}

inline __m512i low_nibbles(__m512i v) {
  return _mm512_and_si512(v, _mm512_set1_epi8(15));
}
inline __m512i high_nibbles(__m512i v) {
  return low_nibbles(_mm512_srli_epi16(v, 4));
}

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

inline __m512i byte_of_lanes(__m512i v, unsigned i) {
  return _mm512_and_si512(_mm512_srli_epi32(v, 8 * i), _mm512_set1_epi32(0xff));
}

/// The 16-byte head that Q4_K and Q5_K share: d, dmin and the packed scales of sixteen rows.
inline void unpack_head(const PanelRows& rows, std::size_t offset, PanelMin& out) {
  const Dwords4 head = load_transposed(rows, offset);
  const __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(head.dword[0]));
  const __m512 dmin = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(head.dword[0], 16)));
  const __m512i a = head.dword[1];
  const __m512i b = head.dword[2];
  const __m512i c = head.dword[3];
  const __m512i m6 = _mm512_set1_epi8(0x3f);
  const __m512i top2 = _mm512_set1_epi8(0x30);
  const __m512i scale_lo = _mm512_and_si512(a, m6);
  const __m512i min_lo = _mm512_and_si512(b, m6);
  const __m512i scale_hi =
      _mm512_or_si512(low_nibbles(c), _mm512_and_si512(_mm512_srli_epi32(a, 2), top2));
  const __m512i min_hi =
      _mm512_or_si512(high_nibbles(c), _mm512_and_si512(_mm512_srli_epi32(b, 2), top2));
  _mm512_store_ps(out.dmin, dmin);
  for (unsigned j = 0; j < 8; ++j) {
    const __m512i s = byte_of_lanes(j < 4 ? scale_lo : scale_hi, j % 4);
    _mm512_store_ps(out.scale[j], _mm512_mul_ps(d, _mm512_cvtepi32_ps(s)));
  }
  for (unsigned j = 0; j < 4; ++j) {
    const __m512i m = j < 2 ? min_lo : min_hi;
    const __m512i even = byte_of_lanes(m, 2 * j % 4);
    const __m512i odd = byte_of_lanes(m, 2 * j % 4 + 1);
    _mm512_store_si512(out.min[j], _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
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
          store_step(out.q[16 * j + 4 * h + c], low_nibbles(v.dword[c]));
          store_step(out.q[16 * j + 8 + 4 * h + c], high_nibbles(v.dword[c]));
        }
      }
    }
  }
};

struct Q5K {
  static constexpr std::size_t kBytes = 176;
  using Panel = PanelMin;

  /// Bit `group` of every byte, as bit 4.
  static __m512i fifth_bits(__m512i high, unsigned group) {
    return _mm512_slli_epi16(_mm512_and_si512(_mm512_srli_epi16(high, group), _mm512_set1_epi8(1)),
                             4);
  }

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    unpack_head(rows, offset, out);
    for (unsigned h = 0; h < 2; ++h) {
      const Dwords4 high = load_transposed(rows, offset + 16 + 16 * h);
      for (unsigned j = 0; j < 4; ++j) {
        const Dwords4 v = load_transposed(rows, offset + 48 + 32 * j + 16 * h);
        for (unsigned c = 0; c < 4; ++c) {
          store_step(out.q[16 * j + 4 * h + c],
                     _mm512_or_si512(low_nibbles(v.dword[c]), fifth_bits(high.dword[c], 2 * j)));
          store_step(
              out.q[16 * j + 8 + 4 * h + c],
              _mm512_or_si512(high_nibbles(v.dword[c]), fifth_bits(high.dword[c], 2 * j + 1)));
        }
      }
    }
  }
};

/// Bits 0..1, 2..3, 4..5 or 6..7 (pair 0..3) of every byte, as bits 4..5.
template <unsigned kPair>
inline __m512i top_bits(__m512i v) {
  const __m512i shifted =
      kPair < 2 ? _mm512_slli_epi16(v, 4 - 2 * (kPair % 2)) : _mm512_srli_epi16(v, 2 * (kPair % 2));
  return _mm512_and_si512(shifted, _mm512_set1_epi8(0x30));
}

struct Q6K {
  static constexpr std::size_t kBytes = 210;
  using Panel = Panel16;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    const __m512 d = load_halves(rows, offset + 208);
    const Dwords4 scales = load_transposed(rows, offset + 192);
    for (unsigned j = 0; j < 16; ++j) {
      const __m512i s =
          _mm512_srai_epi32(_mm512_slli_epi32(scales.dword[j / 4], 24 - 8 * (j % 4)), 24);
      _mm512_store_ps(out.scale[j], _mm512_mul_ps(d, _mm512_cvtepi32_ps(s)));
    }
    for (unsigned h = 0; h < 2; ++h) {
      for (unsigned part = 0; part < 2; ++part) {  // 16 of the 32 bytes that groups share
        const Dwords4 high = load_transposed(rows, offset + 128 + 32 * h + 16 * part);
        const Dwords4 first = load_transposed(rows, offset + 64 * h + 16 * part);
        const Dwords4 second = load_transposed(rows, offset + 64 * h + 32 + 16 * part);
        for (unsigned c = 0; c < 4; ++c) {
          const __m512i top = high.dword[c];
          std::uint8_t(*step)[kLanes][4] = out.q + 32 * h + 4 * part + c;
          store_step(step[0], _mm512_or_si512(low_nibbles(first.dword[c]), top_bits<0>(top)));
          store_step(step[8], _mm512_or_si512(low_nibbles(second.dword[c]), top_bits<1>(top)));
          store_step(step[16], _mm512_or_si512(high_nibbles(first.dword[c]), top_bits<2>(top)));
          store_step(step[24], _mm512_or_si512(high_nibbles(second.dword[c]), top_bits<3>(top)));
        }
      }
    }
  }
};

/// Bits 2 * pair and 2 * pair + 1 of every byte.
inline __m512i crumbs(__m512i v, unsigned pair) {
  return _mm512_and_si512(_mm512_srli_epi16(v, 2 * pair), _mm512_set1_epi8(3));
}

/// Byte i of every lane, as the upper byte of both halves of the lane; the lower bytes are zero.
inline __m512i spread_byte(__m512i v, unsigned i) {
  const __m128i lane =
      _mm_setr_epi8(-128, 0, -128, 0, -128, 4, -128, 4, -128, 8, -128, 8, -128, 12, -128, 12);
  const __m128i pick = _mm_add_epi8(lane, _mm_set1_epi16(static_cast<short>(i << 8)));
  return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(pick));
}

struct Q2K {
  static constexpr std::size_t kBytes = 84;
  using Panel = PanelScaled;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    _mm512_store_ps(out.d, load_halves(rows, offset + 80));
    _mm512_store_ps(out.dmin, load_halves(rows, offset + 82));
    const Dwords4 head = load_transposed(rows, offset);
    for (unsigned j = 0; j < 8; ++j) {
      const __m512i m = high_nibbles(head.dword[j / 2]);
      const __m512i even = byte_of_lanes(m, 2 * j % 4);
      const __m512i odd = byte_of_lanes(m, 2 * j % 4 + 1);
      _mm512_store_si512(out.min[j], _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
    for (unsigned h = 0; h < 2; ++h) {
      for (unsigned part = 0; part < 2; ++part) {  // 16 of the 32 bytes that groups share
        const Dwords4 v = load_transposed(rows, offset + 16 + 32 * h + 16 * part);
        for (unsigned pair = 0; pair < 4; ++pair) {
          const unsigned group = 8 * h + 2 * pair + part;
          const __m512i nibbles = low_nibbles(head.dword[group / 4]);
          const __m512i scale = _mm512_srli_epi16(spread_byte(nibbles, group % 4), 8);
          for (unsigned c = 0; c < 4; ++c) {
            // Both bytes of a half at once: neither product exceeds 45.
            store_step(out.q[4 * group + c], _mm512_mullo_epi16(crumbs(v.dword[c], pair), scale));
          }
        }
      }
    }
  }
};

struct Q3K {
  static constexpr std::size_t kBytes = 110;
  static constexpr int kZero = 124;  ///< brings scale * quant, -124..128, into a byte
  using Panel = PanelScaled;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    // The last 16 bytes of the block: two of qs, twelve of scales, d.
    const Dwords4 tail = load_transposed(rows, offset + 94);
    __m512i packed[3];
    for (int i = 0; i < 3; ++i) {
      packed[i] = _mm512_or_si512(_mm512_srli_epi32(tail.dword[i], 16),
                                  _mm512_slli_epi32(tail.dword[i + 1], 16));
    }
    const __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(tail.dword[3], 16)));
    _mm512_store_ps(out.d, d);
    _mm512_store_ps(out.dmin, d);
    for (auto& min : out.min) {
      _mm512_store_si512(min, _mm512_set1_epi16(kZero));
    }
    __m512i scales[4];  // signed bytes
    for (unsigned i = 0; i < 4; ++i) {
      const __m512i low = i < 2 ? low_nibbles(packed[i]) : high_nibbles(packed[i - 2]);
      const __m512i high = _mm512_slli_epi16(crumbs(packed[2], i), 4);
      scales[i] = _mm512_sub_epi8(_mm512_or_si512(low, high), _mm512_set1_epi8(32));
    }
    for (unsigned part = 0; part < 2; ++part) {
      const Dwords4 mask = load_transposed(rows, offset + 16 * part);
      for (unsigned h = 0; h < 2; ++h) {
        const Dwords4 v = load_transposed(rows, offset + 32 + 32 * h + 16 * part);
        for (unsigned pair = 0; pair < 4; ++pair) {
          const unsigned group = 8 * h + 2 * pair + part;
          const __m512i scale = _mm512_srai_epi16(spread_byte(scales[group / 4], group % 4), 8);
          // scale * (q - 4) + zero = scale * q + (zero - 4 * scale), in both bytes of a half.
          const __m512i byte =
              _mm512_sub_epi16(_mm512_set1_epi16(kZero), _mm512_slli_epi16(scale, 2));
          const __m512i add = _mm512_or_si512(byte, _mm512_slli_epi16(byte, 8));
          for (unsigned c = 0; c < 4; ++c) {
            const __m512i top = _mm512_and_si512(_mm512_srli_epi16(mask.dword[c], 4 * h + pair),
                                                 _mm512_set1_epi8(1));
            const __m512i q = _mm512_or_si512(crumbs(v.dword[c], pair), _mm512_slli_epi16(top, 2));
            store_step(out.q[4 * group + c], _mm512_add_epi16(_mm512_mullo_epi16(q, scale), add));
          }
        }
      }
    }
  }
};

struct Iq4Xs {
  static constexpr std::size_t kBytes = 136;
  using Panel = PanelMin;

  static __m512i table() {  // IQ4_NL's values + 128
    return _mm512_broadcast_i32x4(_mm_xor_si128(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113),
        _mm_set1_epi8(-128)));
  }
  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    const Dwords4 head = load_transposed(rows, offset);
    const __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(head.dword[0]));
    _mm512_store_ps(out.dmin, d);
    __m512i scale[8];
    for (unsigned j = 0; j < 8; ++j) {
      const __m512i low =
          _mm512_and_si512(_mm512_srli_epi32(head.dword[1], 4 * j), _mm512_set1_epi32(15));
      const __m512i high =
          _mm512_and_si512(_mm512_srli_epi32(head.dword[0], 16 + 2 * j), _mm512_set1_epi32(3));
      const __m512i six = _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
      scale[j] = _mm512_sub_epi32(six, _mm512_set1_epi32(32));
      _mm512_store_ps(out.scale[j], _mm512_mul_ps(d, _mm512_cvtepi32_ps(scale[j])));
    }
    for (unsigned j = 0; j < 4; ++j) {  // what the 128 adds: a minimum of 128 scales
      const __m512i even = _mm512_srli_epi32(_mm512_slli_epi32(scale[2 * j], 16 + 7), 16);
      const __m512i odd = _mm512_slli_epi32(scale[2 * j + 1], 16 + 7);
      _mm512_store_si512(out.min[j], _mm512_or_si512(even, odd));
    }
    for (unsigned j = 0; j < 8; ++j) {
      const Dwords4 v = load_transposed(rows, offset + 8 + 16 * j);
      for (unsigned c = 0; c < 4; ++c) {
        store_step(out.q[8 * j + c], _mm512_shuffle_epi8(table(), low_nibbles(v.dword[c])));
        store_step(out.q[8 * j + 4 + c], _mm512_shuffle_epi8(table(), high_nibbles(v.dword[c])));
      }
    }
  }
};

}  // namespace
}  // namespace lm::cpu
