/// Quantised weights for machines without AVX2, and (without SSE4.1) as the portable form. A weight
/// row is unpacked once to int8 with a scale (and a minimum) per group, then dotted with every
/// activation row. Rows of activations are stored one by one (ActRow32, ActRow256) whatever their
/// number.

#if defined(__SSE4_1__)
#include <smmintrin.h>
#endif

#include <cmath>
#include <cstring>
#include <type_traits>

#include "backends/cpu/kernels/matmul_act.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/unpack_bytes.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kRowStep = 64;

/// A block of up to 256 values: w = scale[i / group] * q - min[i / group].
struct Unpacked {
  std::int8_t q[256];
  float scale[16];
  float min[16];
};

inline std::uint16_t load_u16(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline std::uint32_t load_u32(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline float float_of_bits(std::uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
inline std::uint32_t bits_of_float(float v) {
  std::uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

/// f16 to f32: the exponent is rebiased by a multiplication, which also brings subnormals into
/// place.
inline float load_half(const std::uint8_t* p) {
  const std::uint32_t h = load_u16(p);
  const std::uint32_t sign = (h & 0x8000u) << 16;
  const std::uint32_t magnitude = h & 0x7fffu;
  if (magnitude >= 0x7c00u) {
    return float_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  }
  return float_of_bits(sign | bits_of_float(float_of_bits(magnitude << 13) * 0x1p112f));
}

// ---- weight types: kGroup values share a scale, kBlock values a block of kBytes ----

struct Q80 {
  static constexpr std::uint32_t kBlock = 32, kGroup = 32, kBytes = 34;
  static constexpr bool kHasMin = false;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    out.scale[0] = load_half(b);
    std::memcpy(out.q, b + 2, 32);
  }
};

template <std::uint32_t kQuants, bool kMin, int kOffset>
struct Nibbles {
  static constexpr std::uint32_t kBlock = 32, kGroup = 32, kBytes = kQuants + 16;
  static constexpr bool kHasMin = kMin;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    out.scale[0] = load_half(b);
    out.min[0] = kMin ? -load_half(b + 2) : 0.0f;
    for (int i = 0; i < 16; ++i) {
      out.q[i] = static_cast<std::int8_t>((b[kQuants + i] & 15) - kOffset);
      out.q[16 + i] = static_cast<std::int8_t>((b[kQuants + i] >> 4) - kOffset);
    }
  }
};
using Q40 = Nibbles<2, false, 8>;
using Q41 = Nibbles<4, true, 0>;

template <std::uint32_t kQuants, bool kMin, int kOffset>
struct FiveBits {
  static constexpr std::uint32_t kBlock = 32, kGroup = 32, kBytes = kQuants + 16;
  static constexpr bool kHasMin = kMin;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    Nibbles<kQuants, kMin, kOffset>::unpack(b, out);
    const std::uint32_t fifth = load_u32(b + kQuants - 4);
    for (std::uint32_t i = 0; i < 32; ++i) {
      out.q[i] = static_cast<std::int8_t>(out.q[i] + static_cast<int>((fifth >> i & 1u) << 4));
    }
  }
};
using Q50 = FiveBits<6, false, 16>;
using Q51 = FiveBits<8, true, 0>;

template <std::uint32_t kQuants>
void unpack_table(const std::uint8_t* b, const std::int8_t (&table)[16], Unpacked& out) {
  for (int i = 0; i < 16; ++i) {
    out.q[i] = table[b[kQuants + i] & 15];
    out.q[16 + i] = table[b[kQuants + i] >> 4];
  }
}

constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};

struct Iq4Nl {
  static constexpr std::uint32_t kBlock = 32, kGroup = 32, kBytes = 18;
  static constexpr bool kHasMin = false;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    out.scale[0] = load_half(b);
    unpack_table<2>(b, kIq4Values, out);
  }
};

struct Mxfp4 {
  static constexpr std::uint32_t kBlock = 32, kGroup = 32, kBytes = 17;
  static constexpr bool kHasMin = false;
  static constexpr std::int8_t kTable[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                             0, -1, -2, -3, -4, -6, -8, -12};  // E2M1 doubled
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    // 2^(e - 128): half of what E8M0 means, because the table is doubled. 0 and 1 are subnormal.
    out.scale[0] = float_of_bits(b[0] < 2 ? 0x00200000u << b[0] : (std::uint32_t{b[0]} - 1u) << 23);
    unpack_table<1>(b, kTable, out);
  }
};

/// Head of Q4_K and Q5_K: d, dmin and eight 6-bit pairs of scale and minimum.
void unpack_head(const std::uint8_t* b, Unpacked& out) {
  const float d = load_half(b);
  const float dmin = load_half(b + 2);
  const std::uint8_t* s = b + 4;
  for (int j = 0; j < 8; ++j) {
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    const int min = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    out.scale[j] = d * static_cast<float>(scale);
    out.min[j] = dmin * static_cast<float>(min);
  }
}

void unpack_nibble_groups(const std::uint8_t* quants, Unpacked& out) {
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 32; ++i) {
      out.q[64 * j + i] = static_cast<std::int8_t>(quants[32 * j + i] & 15);
      out.q[64 * j + 32 + i] = static_cast<std::int8_t>(quants[32 * j + i] >> 4);
    }
  }
}

struct Q4K {
  static constexpr std::uint32_t kBlock = 256, kGroup = 32, kBytes = 144;
  static constexpr bool kHasMin = true;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    unpack_head(b, out);
    unpack_nibble_groups(b + 16, out);
  }
};

struct Q5K {
  static constexpr std::uint32_t kBlock = 256, kGroup = 32, kBytes = 176;
  static constexpr bool kHasMin = true;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    unpack_head(b, out);
    unpack_nibble_groups(b + 48, out);
    for (int j = 0; j < 8; ++j) {
      for (int i = 0; i < 32; ++i) {
        out.q[32 * j + i] = static_cast<std::int8_t>(out.q[32 * j + i] | (b[16 + i] >> j & 1) << 4);
      }
    }
  }
};

struct Q6K {
  static constexpr std::uint32_t kBlock = 256, kGroup = 16, kBytes = 210;
  static constexpr bool kHasMin = false;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    const float d = load_half(b + 208);
    for (int j = 0; j < 16; ++j) {
      out.scale[j] = d * static_cast<float>(static_cast<std::int8_t>(b[192 + j]));
    }
    for (int h = 0; h < 2; ++h) {
      for (int g = 0; g < 4; ++g) {
        for (int i = 0; i < 32; ++i) {
          const int low = b[64 * h + 32 * (g % 2) + i] >> 4 * (g / 2) & 15;
          const int high = b[128 + 32 * h + i] >> 2 * g & 3;
          out.q[128 * h + 32 * g + i] = static_cast<std::int8_t>((low | high << 4) - 32);
        }
      }
    }
  }
};

/// Two bits of every byte: each 32 bytes hold four groups of 32 values.
void unpack_crumbs(const std::uint8_t* quants, Unpacked& out) {
  for (int h = 0; h < 2; ++h) {
    for (int pair = 0; pair < 4; ++pair) {
      for (int i = 0; i < 32; ++i) {
        out.q[128 * h + 32 * pair + i] =
            static_cast<std::int8_t>(quants[32 * h + i] >> 2 * pair & 3);
      }
    }
  }
}

struct Q2K {
  static constexpr std::uint32_t kBlock = 256, kGroup = 16, kBytes = 84;
  static constexpr bool kHasMin = true;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    const float d = load_half(b + 80);
    const float dmin = load_half(b + 82);
    for (int j = 0; j < 16; ++j) {
      out.scale[j] = d * static_cast<float>(b[j] & 15);
      out.min[j] = dmin * static_cast<float>(b[j] >> 4);
    }
    unpack_crumbs(b + 16, out);
  }
};

struct Q3K {
  static constexpr std::uint32_t kBlock = 256, kGroup = 16, kBytes = 110;
  static constexpr bool kHasMin = false;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    const float d = load_half(b + 108);
    const std::uint8_t* s = b + 96;
    for (int j = 0; j < 16; ++j) {
      const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
      const int high = s[8 + j % 4] >> 2 * (j / 4) & 3;
      out.scale[j] = d * static_cast<float>((low | high << 4) - 32);
    }
    unpack_crumbs(b + 32, out);
    for (int g = 0; g < 8; ++g) {
      for (int i = 0; i < 32; ++i) {
        const int top = (b[i] >> g & 1) << 2;
        out.q[32 * g + i] = static_cast<std::int8_t>((out.q[32 * g + i] | top) - 4);
      }
    }
  }
};

struct Iq4Xs {
  static constexpr std::uint32_t kBlock = 256, kGroup = 32, kBytes = 136;
  static constexpr bool kHasMin = false;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    const float d = load_half(b);
    const int top = load_u16(b + 2);
    for (int j = 0; j < 8; ++j) {
      const int low = b[4 + j / 2] >> 4 * (j % 2) & 15;
      const int high = top >> 2 * j & 3;
      out.scale[j] = d * static_cast<float>((low | high << 4) - 32);
      for (int i = 0; i < 16; ++i) {
        out.q[32 * j + i] = kIq4Values[b[8 + 16 * j + i] & 15];
        out.q[32 * j + 16 + i] = kIq4Values[b[8 + 16 * j + i] >> 4];
      }
    }
  }
};

/// A type of unpack_bytes.h.
template <class Bytes>
struct FromBytes {
  static constexpr std::uint32_t kBlock = 256, kGroup = 16, kBytes = Bytes::kBytes;
  static constexpr bool kHasMin = false;
  static void unpack(const std::uint8_t* b, Unpacked& out) {
    ByteBlock block;
    Bytes::unpack(codebooks(), b, block);
    std::uint8_t half[2];
    std::memcpy(half, &block.d, sizeof half);
    const float d = load_half(half) * Bytes::kFactor;
    for (int j = 0; j < 16; ++j) {
      out.scale[j] = d * static_cast<float>(block.scale[j]);
    }
    std::memcpy(out.q, block.q, sizeof out.q);
  }
};

// ---- activations ----

/// Quantises n values and returns their scale. Compares as integers, so that NaN and Inf are the
/// largest.
float quantize(const float* x, std::uint32_t n, std::int8_t* q) {
  std::uint32_t bits = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint32_t v = bits_of_float(x[i]) & 0x7fffffffu;
    bits = v > bits ? v : bits;
  }
  const float largest = float_of_bits(bits);
  if (!(largest > kTinyScale && largest < 3e38f)) {  // zeros, or not finite: the scale says which
    std::memset(q, 0, n);
    return largest <= kTinyScale ? 0.0f : largest / 127.0f;
  }
  const float inverse = 127.0f / largest;
  for (std::uint32_t i = 0; i < n; ++i) {
    q[i] = static_cast<std::int8_t>(std::lrintf(x[i] * inverse));
  }
  return largest / 127.0f;
}

inline int sum_of(const std::int8_t* q, int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) {
    sum += q[i];
  }
  return sum;
}

void convert_block(const float* x, ActRow32& out) {
  out.d = quantize(x, 32, out.q);
  for (int j = 0; j < 8; ++j) {
    out.offset[j] = -128 * sum_of(out.q + 4 * j, 4);
  }
  out.d_sum = out.d * static_cast<float>(sum_of(out.q, 32));
}

void convert_block(const float* x, ActRow256& out) {
  out.d = quantize(x, 256, out.q);
  for (int j = 0; j < 16; ++j) {
    out.sum16[j] = static_cast<std::int16_t>(sum_of(out.q + 16 * j, 16));
  }
  for (int j = 0; j < 8; ++j) {
    out.sum32[j] = static_cast<std::int16_t>(out.sum16[2 * j] + out.sum16[2 * j + 1]);
  }
}

template <class Row, std::uint32_t kBlock>
void convert(const float* x, std::uint64_t x_stride, std::uint32_t, std::uint32_t k, std::byte* act,
             std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint64_t n_blocks = k / kBlock;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    for (std::uint64_t b = 0; b < n_blocks; ++b) {
      convert_block(x + r * x_stride + b * kBlock, reinterpret_cast<Row*>(act)[r * n_blocks + b]);
    }
  }
}

// ---- products ----

template <std::uint32_t kGroup>
inline float sum_of_group(const ActRow32& x, std::uint32_t) {
  return x.d_sum;
}
template <std::uint32_t kGroup>
inline float sum_of_group(const ActRow256& x, std::uint32_t group) {
  return x.d * static_cast<float>(kGroup == 32 ? x.sum32[group] : x.sum16[group]);
}

#if defined(__SSE4_1__)
/// Products of 16 int8, as four sums.
inline __m128i dot16(const std::int8_t* a, const std::int8_t* b) {
  const __m128i va = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a));
  const __m128i vb = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
  const __m128i low = _mm_madd_epi16(_mm_cvtepi8_epi16(va), _mm_cvtepi8_epi16(vb));
  const __m128i high = _mm_madd_epi16(_mm_cvtepi8_epi16(_mm_srli_si128(va, 8)),
                                      _mm_cvtepi8_epi16(_mm_srli_si128(vb, 8)));
  return _mm_add_epi32(low, high);
}

/// Sum over a block of scale * dot, group by group.
template <class Type>
inline float scaled_dots(const Unpacked& w, const std::int8_t* x) {
  __m128 sum = _mm_setzero_ps();
  for (std::uint32_t g = 0; g < Type::kBlock / Type::kGroup; ++g) {
    __m128i dots = dot16(w.q + g * Type::kGroup, x + g * Type::kGroup);
    if (Type::kGroup == 32) {
      dots = _mm_add_epi32(dots, dot16(w.q + g * Type::kGroup + 16, x + g * Type::kGroup + 16));
    }
    sum = _mm_add_ps(sum, _mm_mul_ps(_mm_cvtepi32_ps(dots), _mm_set1_ps(w.scale[g])));
  }
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps(sum, sum, 1)));
}
#else
template <class Type>
inline float scaled_dots(const Unpacked& w, const std::int8_t* x) {
  float sum = 0.0f;
  for (std::uint32_t g = 0; g < Type::kBlock / Type::kGroup; ++g) {
    int dot = 0;
    for (std::uint32_t i = g * Type::kGroup; i < (g + 1) * Type::kGroup; ++i) {
      dot += w.q[i] * x[i];
    }
    sum += w.scale[g] * static_cast<float>(dot);
  }
  return sum;
}
#endif

template <class Type, class Row>
float dot_block(const Unpacked& w, const Row& x) {
  float mins = 0.0f;
  if (Type::kHasMin) {
    for (std::uint32_t g = 0; g < Type::kBlock / Type::kGroup; ++g) {
      mins += w.min[g] * sum_of_group<Type::kGroup>(x, g);
    }
  }
  return scaled_dots<Type>(w, x.q) * x.d - mins;
}

template <class Type>
using RowOf = std::conditional_t<Type::kBlock == 32, ActRow32, ActRow256>;

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  using Row = RowOf<Type>;
  auto* unpacked = reinterpret_cast<Unpacked*>(scratch);
  const auto* act = reinterpret_cast<const Row*>(args.act);
  const std::uint64_t n_blocks = args.k / Type::kBlock;
  for (std::uint32_t o = begin; o < end; ++o) {
    const auto* row =
        reinterpret_cast<const std::uint8_t*>(args.weight) + o * args.weight_row_bytes;
    for (std::uint64_t b = 0; b < n_blocks; ++b) {
      Type::unpack(row + b * Type::kBytes, unpacked[b]);
    }
    for (std::uint32_t r = 0; r < args.n_rows; ++r) {
      const Row* x = act + r * n_blocks;
      float sum = args.bias != nullptr ? args.bias[o] : 0.0f;
      for (std::uint64_t b = 0; b < n_blocks; ++b) {
        sum += dot_block<Type>(unpacked[b], x[b]);
      }
      float& out = args.out[r * args.out_stride + o];
      out = args.accumulate ? out + sum : sum;
    }
  }
}

template <class Type>
std::uint64_t scratch_bytes(std::uint32_t, std::uint32_t k) {
  return std::uint64_t{k / Type::kBlock} * sizeof(Unpacked);
}

template <class Type>
constexpr MatMulKernel make_kernel(DType weight) {
  using Row = RowOf<Type>;
  return {weight,
          Type::kBlock == 32 ? ActFormat::q8_32 : ActFormat::q8_256,
          kRowStep,
          row_act_bytes<Row, Type::kBlock>,
          convert<Row, Type::kBlock>,
          1,
          scratch_bytes<Type>,
          run<Type>};
}

constexpr MatMulKernel kKernels[] = {
    make_kernel<Q80>(DType::q8_0),
    make_kernel<Q40>(DType::q4_0),
    make_kernel<Q41>(DType::q4_1),
    make_kernel<Q50>(DType::q5_0),
    make_kernel<Q51>(DType::q5_1),
    make_kernel<Iq4Nl>(DType::iq4_nl),
    make_kernel<Mxfp4>(DType::mxfp4),
    make_kernel<Q4K>(DType::q4_k),
    make_kernel<Q5K>(DType::q5_k),
    make_kernel<Q6K>(DType::q6_k),
    make_kernel<Q2K>(DType::q2_k),
    make_kernel<Q3K>(DType::q3_k),
    make_kernel<Iq4Xs>(DType::iq4_xs),
    make_kernel<FromBytes<Iq2Xxs>>(DType::iq2_xxs),
    make_kernel<FromBytes<Iq2Xs>>(DType::iq2_xs),
    make_kernel<FromBytes<Iq2S>>(DType::iq2_s),
    make_kernel<FromBytes<Iq3Xxs>>(DType::iq3_xxs),
    make_kernel<FromBytes<Iq3S>>(DType::iq3_s),
    make_kernel<FromBytes<Iq1S>>(DType::iq1_s),
    make_kernel<FromBytes<Iq1M>>(DType::iq1_m),
    make_kernel<FromBytes<Tq10>>(DType::tq1_0),
    make_kernel<FromBytes<Tq20>>(DType::tq2_0),
};

}  // namespace

const MatMulKernel* matmul_quant_baseline(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
