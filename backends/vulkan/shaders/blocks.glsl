// Weight types: 16 values of a row at a time. A shader is compiled once a type with TYPE_<name>.
// Layouts and formulas: backends/reference/dequant*.cpp. ALIGN is what a block's start and fields
// are aligned to; wider loads are put together from it.

#if defined(TYPE_q4_k)
#define BLOCK 256
#define BLOCK_BYTES 144
#define ALIGN 4
#elif defined(TYPE_q5_k)
#define BLOCK 256
#define BLOCK_BYTES 176
#define ALIGN 4
#elif defined(TYPE_q6_k)
#define BLOCK 256
#define BLOCK_BYTES 210
#define ALIGN 2
#elif defined(TYPE_q2_k)
#define BLOCK 256
#define BLOCK_BYTES 84
#define ALIGN 4
#elif defined(TYPE_q3_k)
#define BLOCK 256
#define BLOCK_BYTES 110
#define ALIGN 2
#elif defined(TYPE_q4_0)
#define BLOCK 32
#define BLOCK_BYTES 18
#define ALIGN 2
#elif defined(TYPE_q4_1)
#define BLOCK 32
#define BLOCK_BYTES 20
#define ALIGN 4
#elif defined(TYPE_q5_0)
#define BLOCK 32
#define BLOCK_BYTES 22
#define ALIGN 2
#elif defined(TYPE_q5_1)
#define BLOCK 32
#define BLOCK_BYTES 24
#define ALIGN 4
#elif defined(TYPE_q8_0)
#define BLOCK 32
#define BLOCK_BYTES 34
#define ALIGN 2
#elif defined(TYPE_iq1_s)
#define BLOCK 256
#define BLOCK_BYTES 50
#define ALIGN 2
#elif defined(TYPE_iq1_m)
#define BLOCK 256
#define BLOCK_BYTES 56
#define ALIGN 2
#elif defined(TYPE_iq2_xxs)
#define BLOCK 256
#define BLOCK_BYTES 66
#define ALIGN 2
#elif defined(TYPE_iq2_xs)
#define BLOCK 256
#define BLOCK_BYTES 74
#define ALIGN 2
#elif defined(TYPE_iq2_s)
#define BLOCK 256
#define BLOCK_BYTES 82
#define ALIGN 2
#elif defined(TYPE_iq3_xxs)
#define BLOCK 256
#define BLOCK_BYTES 98
#define ALIGN 2
#elif defined(TYPE_iq3_s)
#define BLOCK 256
#define BLOCK_BYTES 110
#define ALIGN 2
#elif defined(TYPE_iq4_nl)
#define BLOCK 32
#define BLOCK_BYTES 18
#define ALIGN 2
#elif defined(TYPE_iq4_xs)
#define BLOCK 256
#define BLOCK_BYTES 136
#define ALIGN 4
#elif defined(TYPE_tq1_0)
#define BLOCK 256
#define BLOCK_BYTES 54
#define ALIGN 2
#elif defined(TYPE_tq2_0)
#define BLOCK 256
#define BLOCK_BYTES 66
#define ALIGN 2
#elif defined(TYPE_q1_0)
#define BLOCK 128
#define BLOCK_BYTES 18
#define ALIGN 2
#elif defined(TYPE_q2_0)
#define BLOCK 64
#define BLOCK_BYTES 18
#define ALIGN 2
#elif defined(TYPE_mxfp4)
#define BLOCK 32
#define BLOCK_BYTES 17
#define ALIGN 1
#elif defined(TYPE_nvfp4)
#define BLOCK 64
#define BLOCK_BYTES 36
#define ALIGN 4
#elif defined(TYPE_f16) || defined(TYPE_bf16)
#define BLOCK 1
#define ALIGN 2
#elif defined(TYPE_f32)
#define BLOCK 1
#define ALIGN 4
#else
#error "no TYPE_ is defined"
#endif

uint u8_at(uint64_t b, uint offset) {
  return uint(U8(b + offset).at[0]);
}

uint u16_at(uint64_t b, uint offset) {
#if ALIGN >= 2
  return uint(U16(b + offset).at[0]);
#else
  return u8_at(b, offset) | u8_at(b, offset + 1) << 8;
#endif
}

uint u32_at(uint64_t b, uint offset) {
#if ALIGN >= 4
  return U32(b + offset).at[0];
#else
  return u16_at(b, offset) | u16_at(b, offset + 2) << 16;
#endif
}

int i8_at(uint64_t b, uint offset) {
  return int(u8_at(b, offset) << 24) >> 24;
}

float half_at(uint64_t b, uint offset) {
  return half_to_float(u16_at(b, offset));
}

// Field j of 16 bytes that begin at `offset`, read in words of four: shift and mask pick the bits.
#define BYTES_16(b, offset) \
  uvec4(u32_at(b, offset), u32_at(b, (offset) + 4), u32_at(b, (offset) + 8), u32_at(b, (offset) + 12))
#define FIELD(words, j, shift, mask) ((words)[(j) >> 2] >> (8 * ((j) & 3) + (shift)) & (mask))

// Eight signs from seven bits: their number is even.
uint even_signs(uint seven) {
  return seven | uint(bitCount(seven) & 1) << 7;
}
float sign_of(uint mask, uint k) {
  return (mask >> k & 1u) != 0 ? -1.0 : 1.0;
}

// Codebooks of the IQ types lie in one buffer, entries of 16 bits (device tables: grids.h).
const uint kIq1Grid = 0, kIq2XxsGrid = 2048, kIq2XsGrid = 2304, kIq2SGrid = 2816,
           kIq3XxsGrid = 3840, kIq3SGrid = 4096;
uint grid_entry(uint64_t grids, uint index) {
  return uint(U16(grids).at[index]);
}
// Levels 8, 25, 43 and -1, 0, 1, by two bits.
float iq2_level(uint code) {
  return float(0x2b1908u >> 8 * code & 255u);
}
float iq1_level(uint code) {
  return code == 3 ? 0.0 : float(int(code) - 1);
}
float iq3_xxs_level(uint code) {
  return code == 7 ? 62.0 : float(4 + 8 * code);
}

// -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113, four to a word.
float iq4_value(uint code) {
  const uint word = code < 8 ? (code < 4 ? 0xbfad9881u : 0xf6eaddcfu)
                             : (code < 12 ? 0x26190d01u : 0x71594535u);
  return float(int(word << (24 - 8 * (code & 3u))) >> 24);
}

// Twice the value of an E2M1 code.
float e2m1_doubled(uint code) {
  const float magnitude = float(0xC8643210u >> 4 * (code & 7u) & 15u);
  return (code & 8u) != 0 ? -magnitude : magnitude;
}

#if defined(TYPE_q4_k) || defined(TYPE_q5_k)
// 6-bit scale and minimum of sub-block j of 8.
uvec2 scale_min(uint64_t b, uint j) {
  if (j < 4) {
    return uvec2(u8_at(b, 4 + j) & 63u, u8_at(b, 8 + j) & 63u);
  }
  const uint packed = u8_at(b, 8 + j);
  return uvec2((packed & 15u) | u8_at(b, j) >> 6 << 4, packed >> 4 | u8_at(b, 4 + j) >> 6 << 4);
}
#endif

#if BLOCK == 1
// Chunk `chunk` of the row at `row`, whose end may lie inside: beyond n there are zeros.
void unpack(uint64_t row, uint chunk, uint n, uint64_t grids, out float w[16]) {
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    const uint i = 16 * chunk + j;
    w[j] = 0.0;
    if (i < n) {
#if defined(TYPE_f32)
      w[j] = F32(row).at[i];
#elif defined(TYPE_f16)
      w[j] = half_to_float(uint(U16(row).at[i]));
#else
      w[j] = bf16_to_float(uint(U16(row).at[i]));
#endif
    }
  }
}
#else
void unpack(uint64_t row, uint chunk, uint n, uint64_t grids, out float w[16]) {
  const uint part = chunk % (BLOCK / 16);
  const uint64_t b = row + uint64_t(chunk / (BLOCK / 16)) * BLOCK_BYTES;
#if defined(TYPE_q4_0)
  const float d = half_at(b, 0);
  const uvec4 q = BYTES_16(b, 2);
  const uint shift = 4 * part;
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * (float(FIELD(q, j, shift, 15u)) - 8.0);
  }
#elif defined(TYPE_q4_1)
  const float d = half_at(b, 0);
  const float m = half_at(b, 2);
  const uvec4 q = BYTES_16(b, 4);
  const uint shift = 4 * part;
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * float(FIELD(q, j, shift, 15u)) + m;
  }
#elif defined(TYPE_q5_0)
  const float d = half_at(b, 0);
  const uint high = u32_at(b, 2) >> 16 * part;
  const uvec4 q = BYTES_16(b, 6);
  const uint shift = 4 * part;
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * (float(FIELD(q, j, shift, 15u) | (high >> j & 1u) << 4) - 16.0);
  }
#elif defined(TYPE_q5_1)
  const float d = half_at(b, 0);
  const float m = half_at(b, 2);
  const uint high = u32_at(b, 4) >> 16 * part;
  const uvec4 q = BYTES_16(b, 8);
  const uint shift = 4 * part;
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * float(FIELD(q, j, shift, 15u) | (high >> j & 1u) << 4) + m;
  }
#elif defined(TYPE_q8_0)
  const float d = half_at(b, 0);
  const uvec4 q = BYTES_16(b, 2 + 16 * part);
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * float(int(q[j >> 2] << (24 - 8 * (j & 3))) >> 24);
  }
#elif defined(TYPE_q2_k)
  const uint s = u8_at(b, part);
  const float dl = half_at(b, 80) * float(s & 15u);
  const float ml = half_at(b, 82) * float(s >> 4);
  const uint shift = 2 * (part % 8 / 2);
  const uvec4 q = BYTES_16(b, 16 + 32 * (part / 8) + 16 * (part % 2));
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = dl * float(FIELD(q, j, shift, 3u)) - ml;
  }
#elif defined(TYPE_q3_k)
  const uint low = part < 8 ? u8_at(b, 96 + part) & 15u : u8_at(b, 88 + part) >> 4;
  const uint top = u8_at(b, 104 + part % 4) >> 2 * (part / 4) & 3u;
  const float dl = half_at(b, 108) * (float(low | top << 4) - 32.0);
  const uint shift = 2 * (part % 8 / 2);
  const uvec4 q = BYTES_16(b, 32 + 32 * (part / 8) + 16 * (part % 2));
  const uvec4 high = BYTES_16(b, 16 * (part % 2));
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    const float borrow = FIELD(high, j, part / 2, 1u) != 0 ? 0.0 : 4.0;
    w[j] = dl * (float(FIELD(q, j, shift, 3u)) - borrow);
  }
#elif defined(TYPE_q4_k)
  const uint s = part / 2;
  const uvec2 sm = scale_min(b, s);
  const vec2 d = unpackHalf2x16(u32_at(b, 0));
  const float dl = d.x * float(sm.x);
  const float ml = d.y * float(sm.y);
  const uint shift = 4 * (s % 2);
  const uvec4 q = BYTES_16(b, 16 + 32 * (s / 2) + 16 * (part % 2));
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = dl * float(FIELD(q, j, shift, 15u)) - ml;
  }
#elif defined(TYPE_q5_k)
  const uint s = part / 2;
  const uvec2 sm = scale_min(b, s);
  const vec2 d = unpackHalf2x16(u32_at(b, 0));
  const float dl = d.x * float(sm.x);
  const float ml = d.y * float(sm.y);
  const uint shift = 4 * (s % 2);
  const uvec4 high = BYTES_16(b, 16 + 16 * (part % 2));
  const uvec4 q = BYTES_16(b, 48 + 32 * (s / 2) + 16 * (part % 2));
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = dl * float(FIELD(q, j, shift, 15u) | FIELD(high, j, s, 1u) << 4) - ml;
  }
#elif defined(TYPE_q6_k)
  const uint quarter = part % 8 / 2;
  const uint begin = 16 * (part % 2);
  const float dl = half_at(b, 208) * float(i8_at(b, 192 + part));
  const uvec4 low = BYTES_16(b, 64 * (part / 8) + 32 * (quarter % 2) + begin);
  const uvec4 high = BYTES_16(b, 128 + 32 * (part / 8) + begin);
  const uint low_shift = 4 * (quarter / 2);
  const uint high_shift = 2 * quarter;
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = dl * (float(FIELD(low, j, low_shift, 15u) | FIELD(high, j, high_shift, 3u) << 4) - 32.0);
  }
#elif defined(TYPE_iq1_s)
  const uint h = u16_at(b, 34 + part / 2 * 2);
  const float dl = half_at(b, 0) * float(2 * (h >> 12 & 7u) + 1);
  const float shift = (h & 0x8000u) != 0 ? -0.125 : 0.125;
  [[unroll]] for (uint g = 0; g < 2; ++g) {
    const uint group = 2 * part + g;
    const uint entry = u8_at(b, 2 + group) | (h >> 3 * (group % 4) & 7u) << 8;
    const uint codes = grid_entry(grids, kIq1Grid + entry);
    [[unroll]] for (uint k = 0; k < 8; ++k) {
      w[8 * g + k] = dl * (iq1_level(codes >> 2 * k & 3u) + shift);
    }
  }
#elif defined(TYPE_iq1_m)
  const uint bits = u16_at(b, 48) >> 12 | (u16_at(b, 50) >> 8 & 0xF0u) |
                    (u16_at(b, 52) >> 4 & 0xF00u) | (u16_at(b, 54) & 0xF000u);
  const uint s = u16_at(b, 48 + part / 4 * 2) >> 3 * (part % 4) & 7u;
  const float dl = half_to_float(bits) * float(2 * s + 1);
  const uint packed = u8_at(b, 32 + part);
  [[unroll]] for (uint g = 0; g < 2; ++g) {
    const uint q = packed >> 4 * g;
    const uint entry = u8_at(b, 2 * part + g) | (q & 7u) << 8;
    const uint codes = grid_entry(grids, kIq1Grid + entry);
    const float shift = (q & 8u) != 0 ? -0.125 : 0.125;
    [[unroll]] for (uint k = 0; k < 8; ++k) {
      w[8 * g + k] = dl * (iq1_level(codes >> 2 * k & 3u) + shift);
    }
  }
#elif defined(TYPE_iq2_xxs)
  const uint begin = 2 + part / 2 * 8;
  const uint packed = u32_at(b, begin + 4);
  const float db = half_at(b, 0) * (0.5 + float(packed >> 28)) * 0.25;
  [[unroll]] for (uint g = 0; g < 2; ++g) {
    const uint l = 2 * (part % 2) + g;
    const uint codes = grid_entry(grids, kIq2XxsGrid + u8_at(b, begin + l));
    const uint signs = even_signs(packed >> 7 * l & 127u);
    [[unroll]] for (uint k = 0; k < 8; ++k) {
      w[8 * g + k] = db * iq2_level(codes >> 2 * k & 3u) * sign_of(signs, k);
    }
  }
#elif defined(TYPE_iq2_xs)
  const uint s = u8_at(b, 66 + part / 2) >> 4 * (part % 2) & 15u;
  const float db = half_at(b, 0) * (0.5 + float(s)) * 0.25;
  [[unroll]] for (uint g = 0; g < 2; ++g) {
    const uint v = u16_at(b, 2 + 2 * (2 * part + g));
    const uint codes = grid_entry(grids, kIq2XsGrid + (v & 511u));
    const uint signs = even_signs(v >> 9);
    [[unroll]] for (uint k = 0; k < 8; ++k) {
      w[8 * g + k] = db * iq2_level(codes >> 2 * k & 3u) * sign_of(signs, k);
    }
  }
#elif defined(TYPE_iq2_s)
  const uint s = u8_at(b, 74 + part / 2) >> 4 * (part % 2) & 15u;
  const float db = half_at(b, 0) * (0.5 + float(s)) * 0.25;
  [[unroll]] for (uint g = 0; g < 2; ++g) {
    const uint group = 2 * part + g;
    const uint high = u8_at(b, 66 + group / 4) >> 2 * (group % 4) & 3u;
    const uint codes = grid_entry(grids, kIq2SGrid + (u8_at(b, 2 + group) | high << 8));
    const uint signs = u8_at(b, 34 + group);
    [[unroll]] for (uint k = 0; k < 8; ++k) {
      w[8 * g + k] = db * iq2_level(codes >> 2 * k & 3u) * sign_of(signs, k);
    }
  }
#elif defined(TYPE_iq3_xxs)
  const uint packed = u32_at(b, 66 + part / 2 * 4);
  const float db = half_at(b, 0) * (0.5 + float(packed >> 28)) * 0.5;
  [[unroll]] for (uint g = 0; g < 2; ++g) {
    const uint signs = even_signs(packed >> 7 * (2 * (part % 2) + g) & 127u);
    [[unroll]] for (uint e = 0; e < 2; ++e) {
      const uint codes = grid_entry(grids, kIq3XxsGrid + u8_at(b, 2 + 4 * part + 2 * g + e));
      [[unroll]] for (uint k = 0; k < 4; ++k) {
        w[8 * g + 4 * e + k] =
            db * iq3_xxs_level(codes >> 3 * k & 7u) * sign_of(signs, 4 * e + k);
      }
    }
  }
#elif defined(TYPE_iq3_s)
  const uint s = u8_at(b, 106 + part / 4) >> 4 * (part / 2 % 2) & 15u;
  const float db = half_at(b, 0) * float(1 + 2 * s);
  [[unroll]] for (uint g = 0; g < 2; ++g) {
    const uint signs = u8_at(b, 74 + 2 * part + g);
    [[unroll]] for (uint e = 0; e < 2; ++e) {
      const uint index = 4 * part + 2 * g + e;
      const uint high = u8_at(b, 66 + index / 8) >> index % 8 & 1u;
      const uint codes = grid_entry(grids, kIq3SGrid + (u8_at(b, 2 + index) | high << 8));
      [[unroll]] for (uint k = 0; k < 4; ++k) {
        w[8 * g + 4 * e + k] =
            db * float(2 * (codes >> 3 * k & 7u) + 1) * sign_of(signs, 4 * e + k);
      }
    }
  }
#elif defined(TYPE_iq4_nl)
  const float d = half_at(b, 0);
  const uvec4 q = BYTES_16(b, 2);
  const uint shift = 4 * part;
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * iq4_value(FIELD(q, j, shift, 15u));
  }
#elif defined(TYPE_iq4_xs)
  const uint s = part / 2;
  const uint low = u8_at(b, 4 + s / 2) >> 4 * (s % 2) & 15u;
  const float dl =
      half_at(b, 0) * (float(low | (u16_at(b, 2) >> 2 * s & 3u) << 4) - 32.0);
  const uvec4 q = BYTES_16(b, 8 + 16 * s);
  const uint shift = 4 * (part % 2);
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = dl * iq4_value(FIELD(q, j, shift, 15u));
  }
#elif defined(TYPE_tq1_0)
  const float d = half_at(b, 52);
  const uint pow3[5] = uint[5](1, 3, 9, 27, 81);
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    uint at;
    uint digit;
    if (part < 10) {
      at = 16 * (part % 2) + j;
      digit = part / 2;
    } else if (part < 15) {
      at = 32 + j;
      digit = part - 10;
    } else {
      at = 48 + j % 4;
      digit = j / 4;
    }
    const uint fraction = u8_at(b, at) * pow3[digit] & 255u;
    w[j] = d * (float(fraction * 3 >> 8) - 1.0);
  }
#elif defined(TYPE_tq2_0)
  const float d = half_at(b, 64);
  const uint shift = 2 * (part % 8 / 2);
  const uvec4 q = BYTES_16(b, 32 * (part / 8) + 16 * (part % 2));
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * (float(FIELD(q, j, shift, 3u)) - 1.0);
  }
#elif defined(TYPE_q1_0)
  const float d = half_at(b, 0);
  const uint bits = u16_at(b, 2 + 2 * part);
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = (bits >> j & 1u) != 0 ? d : -d;
  }
#elif defined(TYPE_q2_0)
  const float d = half_at(b, 0);
  const uint crumbs = u32_at(b, 2 + 4 * part);
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * (float(crumbs >> 2 * j & 3u) - 1.0);
  }
#elif defined(TYPE_mxfp4)
  const uint e = u8_at(b, 0);
  const float d = uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  const uvec4 q = BYTES_16(b, 1);
  const uint shift = 4 * part;
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    w[j] = d * e2m1_doubled(FIELD(q, j, shift, 15u));
  }
#elif defined(TYPE_nvfp4)
  const uint code = u8_at(b, part);
  const uint exponent = code >> 3 & 15u;
  float d = 0.0;
  if (code != 0 && code != 0x7f) {
    d = exponent == 0 ? float(code & 7u) * 0.0009765625
                      : (1.0 + float(code & 7u) * 0.125) *
                            uintBitsToFloat((exponent + 120) << 23) * 0.5;
  }
  const uvec2 q = uvec2(u32_at(b, 4 + 8 * part), u32_at(b, 8 + 8 * part));
  [[unroll]] for (uint j = 0; j < 16; ++j) {
    const uint byte = j % 8;
    w[j] = d * e2m1_doubled(q[byte >> 2] >> (8 * (byte & 3) + 4 * (j / 8)) & 15u);
  }
#endif
}
#endif
