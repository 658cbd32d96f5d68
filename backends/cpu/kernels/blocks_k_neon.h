/// Blocks of 256 values as the NEON kernels read them: a head of scales, and 32 signed bytes at a
/// time, of one row. Each type has kBytes of a block, kGroup values that share an integer scale,
/// and kMins of a block (0: none): w = d * scale * q - dmin * min. Internal linkage.
#pragma once

#include "backends/cpu/kernels/simd_neon.h"
#include "backends/cpu/kernels/unpack_bytes.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kBlock = 256;

struct Head {
  std::int16_t scale[16];
  std::int16_t min[16];
  float d;
  float dmin;
};

/// 32 bytes shifted right by `shift`, then masked.
inline uint8x16x2_t bits_at(const std::uint8_t* p, unsigned shift, std::uint8_t mask) {
  const int8x16_t by = vdupq_n_s8(static_cast<std::int8_t>(-static_cast<int>(shift)));
  const uint8x16_t only = vdupq_n_u8(mask);
  return {
      {vandq_u8(vshlq_u8(vld1q_u8(p), by), only), vandq_u8(vshlq_u8(vld1q_u8(p + 16), by), only)}};
}
/// (low | high << shift) - less.
template <int kShift>
inline int8x16x2_t joined(uint8x16x2_t low, uint8x16x2_t high, std::int8_t less) {
  const int8x16_t zero_point = vdupq_n_s8(less);
  int8x16x2_t v;
  for (int i = 0; i < 2; ++i) {
    const uint8x16_t bits = vorrq_u8(low.val[i], vshlq_n_u8(high.val[i], kShift));
    v.val[i] = vsubq_s8(vreinterpretq_s8_u8(bits), zero_point);
  }
  return v;
}
inline int8x16x2_t as_signed(uint8x16x2_t v) {
  return {{vreinterpretq_s8_u8(v.val[0]), vreinterpretq_s8_u8(v.val[1])}};
}

/// The head that Q4_K and Q5_K share: d, dmin and eight 6-bit pairs of scale and minimum.
inline void read_k_head(const std::uint8_t* block, Head& head) {
  head.d = load_half(block);
  head.dmin = load_half(block + 2);
  const std::uint32_t a = load_u32(block + 4);
  const std::uint32_t b = load_u32(block + 8);
  const std::uint32_t c = load_u32(block + 12);
  const std::uint64_t scale_high = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
  const std::uint64_t min_high = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
  const uint8x8_t scales = vcreate_u8((a & 0x3f3f3f3fu) | scale_high << 32);
  const uint8x8_t mins = vcreate_u8((b & 0x3f3f3f3fu) | min_high << 32);
  vst1q_s16(head.scale, vreinterpretq_s16_u16(vmovl_u8(scales)));
  vst1q_s16(head.min, vreinterpretq_s16_u16(vmovl_u8(mins)));
}

/// Sixteen signed bytes as int16.
inline void store_widened(int8x16_t v, std::int16_t* to) {
  vst1q_s16(to, vmovl_s8(vget_low_s8(v)));
  vst1q_s16(to + 8, vmovl_high_s8(v));
}

struct Q4K {
  static constexpr std::size_t kBytes = 144;
  static constexpr std::uint32_t kGroup = 32, kMins = 8;
  struct Block {
    Head head;
    const std::uint8_t* bytes;
    explicit Block(const std::uint8_t* b) : bytes(b) { read_k_head(b, head); }
    int8x16x2_t values(unsigned g) const {
      return as_signed(bits_at(bytes + 16 + 32 * (g / 2), 4 * (g % 2), 15));
    }
  };
};

struct Q5K {
  static constexpr std::size_t kBytes = 176;
  static constexpr std::uint32_t kGroup = 32, kMins = 8;
  struct Block {
    Head head;
    const std::uint8_t* bytes;
    explicit Block(const std::uint8_t* b) : bytes(b) { read_k_head(b, head); }
    int8x16x2_t values(unsigned g) const {
      return joined<4>(bits_at(bytes + 48 + 32 * (g / 2), 4 * (g % 2), 15),
                       bits_at(bytes + 16, g, 1), 0);
    }
  };
};

struct Q6K {
  static constexpr std::size_t kBytes = 210;
  static constexpr std::uint32_t kGroup = 16, kMins = 0;
  struct Block {
    Head head;
    const std::uint8_t* bytes;
    explicit Block(const std::uint8_t* b) : bytes(b) {
      head.d = load_half(b + 208);
      store_widened(vreinterpretq_s8_u8(vld1q_u8(b + 192)), head.scale);
    }
    int8x16x2_t values(unsigned g) const {
      const unsigned h = g / 4;
      return joined<4>(bits_at(bytes + 64 * h + 32 * (g % 2), 4 * (g / 2 % 2), 15),
                       bits_at(bytes + 128 + 32 * h, 2 * (g % 4), 3), 32);
    }
  };
};

struct Q2K {
  static constexpr std::size_t kBytes = 84;
  static constexpr std::uint32_t kGroup = 16, kMins = 16;
  struct Block {
    Head head;
    const std::uint8_t* bytes;
    explicit Block(const std::uint8_t* b) : bytes(b) {
      head.d = load_half(b + 80);
      head.dmin = load_half(b + 82);
      const uint8x16_t pairs = vld1q_u8(b);
      store_widened(vreinterpretq_s8_u8(vandq_u8(pairs, vdupq_n_u8(15))), head.scale);
      store_widened(vreinterpretq_s8_u8(vshrq_n_u8(pairs, 4)), head.min);
    }
    int8x16x2_t values(unsigned g) const {
      return as_signed(bits_at(bytes + 16 + 32 * (g / 4), 2 * (g % 4), 3));
    }
  };
};

struct Q3K {
  static constexpr std::size_t kBytes = 110;
  static constexpr std::uint32_t kGroup = 16, kMins = 0;
  struct Block {
    Head head;
    const std::uint8_t* bytes;
    explicit Block(const std::uint8_t* b) : bytes(b) {
      head.d = load_half(b + 108);
      const uint8x8_t nibbles = vld1_u8(b + 96);
      const uint8x16_t low = vcombine_u8(vand_u8(nibbles, vdup_n_u8(15)), vshr_n_u8(nibbles, 4));
      // Two bits of byte j % 4, the pair j / 4.
      const uint8x16_t four = vreinterpretq_u8_u32(vdupq_n_u32(load_u32(b + 104)));
      const int8x16_t shift = {0, 0, 0, 0, -2, -2, -2, -2, -4, -4, -4, -4, -6, -6, -6, -6};
      const uint8x16_t high = vandq_u8(vshlq_u8(four, shift), vdupq_n_u8(3));
      const uint8x16_t six = vorrq_u8(low, vshlq_n_u8(high, 4));
      store_widened(vsubq_s8(vreinterpretq_s8_u8(six), vdupq_n_s8(32)), head.scale);
    }
    int8x16x2_t values(unsigned g) const {
      return joined<2>(bits_at(bytes + 32 + 32 * (g / 4), 2 * (g % 4), 3), bits_at(bytes, g, 1), 4);
    }
  };
};

struct Iq4Xs {
  static constexpr std::size_t kBytes = 136;
  static constexpr std::uint32_t kGroup = 32, kMins = 0;
  struct Block {
    Head head;
    const std::uint8_t* bytes;
    explicit Block(const std::uint8_t* b) : bytes(b) {
      head.d = load_half(b);
      const std::uint32_t high = load_u16(b + 2);
      const std::uint32_t low = load_u32(b + 4);
      for (unsigned j = 0; j < 8; ++j) {
        const std::uint32_t six = (low >> 4 * j & 15u) | (high >> 2 * j & 3u) << 4;
        head.scale[j] = static_cast<std::int16_t>(static_cast<int>(six) - 32);
      }
    }
    int8x16x2_t values(unsigned g) const {
      const int8x16_t table = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};
      const uint8x16_t v = vld1q_u8(bytes + 8 + 16 * g);
      return {
          {vqtbl1q_s8(table, vandq_u8(v, vdupq_n_u8(15))), vqtbl1q_s8(table, vshrq_n_u8(v, 4))}};
    }
  };
};

/// A type of unpack_bytes.h.
template <class Bytes>
struct Unpacked {
  static constexpr std::size_t kBytes = Bytes::kBytes;
  static constexpr std::uint32_t kGroup = 16, kMins = 0;
  struct Block {
    Head head;
    ByteBlock block;
    explicit Block(const std::uint8_t* b) {
      Bytes::unpack(codebooks(), b, block);
      head.d = float_of_half(block.d) * Bytes::kFactor;
      std::memcpy(head.scale, block.scale, sizeof head.scale);
    }
    int8x16x2_t values(unsigned g) const {
      return {{vld1q_s8(block.q + 32 * g), vld1q_s8(block.q + 32 * g + 16)}};
    }
  };
};

}  // namespace
}  // namespace lm::cpu
