/// AVX-512 helpers of the matmul kernels. Only for files compiled for AVX-512; everything has
/// internal linkage, so that no function of theirs is ever linked into code for older machines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backends/cpu/kernels/intrinsics.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/matmul_act.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kLanes = 16;  ///< weight rows of a panel: one a 32-bit lane

inline __m512i load512(const void* p) {
  return _mm512_loadu_si512(p);
}
inline __m256i load256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline __m128i load128(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
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

/// The same 32 bits of memory in every lane.
inline __m512i broadcast32(const void* p) {
  return _mm512_set1_epi32(static_cast<int>(load_u32(p)));
}

inline void prefetch(const std::uint8_t* p, std::ptrdiff_t ahead) {
  _mm_prefetch(reinterpret_cast<const char*>(p) + ahead, _MM_HINT_T0);
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

/// Sixteen rows of weights: row r of the panel in lane r. Past the last row the last one is
/// repeated.
struct PanelRows {
  const std::uint8_t* row[kLanes];

  PanelRows(const MatMulArgs& args, std::uint32_t first, std::uint32_t end) {
    for (std::uint32_t r = 0; r < kLanes; ++r) {
      const std::uint32_t o = first + r < end ? first + r : end - 1;
      row[r] = reinterpret_cast<const std::uint8_t*>(args.weight) + o * args.weight_row_bytes;
    }
  }
};

/// Brings the rows' next block from L2, where prefetch_range has it, to L1.
template <std::size_t kBytes>
inline void prefetch_next_block(const PanelRows& rows, std::size_t offset) {
  for (const std::uint8_t* row : rows.row) {
    for (std::size_t line = 0; line < kBytes; line += 64) {
      prefetch(row + offset + kBytes, static_cast<std::ptrdiff_t>(line));
    }
  }
}

/// Lanes of the rows [first, first + 16) that lie before `end`.
inline __mmask16 row_mask(std::uint32_t first, std::uint32_t end) {
  const std::uint32_t n = end - first;
  return n >= kLanes ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << n) - 1u);
}

/// 16 bytes at `offset` of sixteen rows, transposed: dword[c] holds bytes 4c..4c+3, lane r those of
/// row r.
struct Dwords4 {
  __m512i dword[4];
};

inline __m512i load_rows_4(const PanelRows& rows, std::size_t offset, int first) {
  __m512i v = _mm512_castsi128_si512(load128(rows.row[first] + offset));
  v = _mm512_inserti32x4(v, load128(rows.row[first + 4] + offset), 1);
  v = _mm512_inserti32x4(v, load128(rows.row[first + 8] + offset), 2);
  return _mm512_inserti32x4(v, load128(rows.row[first + 12] + offset), 3);
}

inline Dwords4 load_transposed(const PanelRows& rows, std::size_t offset) {
  const __m512i r0 = load_rows_4(rows, offset, 0);
  const __m512i r1 = load_rows_4(rows, offset, 1);
  const __m512i r2 = load_rows_4(rows, offset, 2);
  const __m512i r3 = load_rows_4(rows, offset, 3);
  const __m512i lo01 = _mm512_unpacklo_epi32(r0, r1);
  const __m512i hi01 = _mm512_unpackhi_epi32(r0, r1);
  const __m512i lo23 = _mm512_unpacklo_epi32(r2, r3);
  const __m512i hi23 = _mm512_unpackhi_epi32(r2, r3);
  return {{_mm512_unpacklo_epi64(lo01, lo23), _mm512_unpackhi_epi64(lo01, lo23),
           _mm512_unpacklo_epi64(hi01, hi23), _mm512_unpackhi_epi64(hi01, hi23)}};
}

/// The f16 at `offset` of sixteen rows.
inline __m512 load_halves(const PanelRows& rows, std::size_t offset) {
  alignas(32) std::uint16_t bits[kLanes];
  for (std::uint32_t r = 0; r < kLanes; ++r) {
    bits[r] = load_u16(rows.row[r] + offset);
  }
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(bits)));
}

/// out[token, first..] (+)= sums + bias for kRows token rows and the weight rows of `mask`.
template <int kRows>
inline void store_outputs(const MatMulArgs& args, std::uint32_t token, std::uint32_t first,
                          __mmask16 mask, const __m512 (&sum)[kRows]) {
  const __m512 bias =
      args.bias != nullptr ? _mm512_maskz_loadu_ps(mask, args.bias + first) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n) {
    float* out = args.out + (token + static_cast<std::uint32_t>(n)) * args.out_stride + first;
    __m512 v = _mm512_add_ps(sum[n], bias);
    if (args.accumulate) {
      v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, out));
    }
    _mm512_mask_storeu_ps(out, mask, v);
  }
}

inline void store_output(const MatMulArgs& args, std::uint32_t token, std::uint32_t o, float sum) {
  const float v = args.bias != nullptr ? sum + args.bias[o] : sum;
  float& out = args.out[token * args.out_stride + o];
  out = args.accumulate ? out + v : v;
}

/// The largest magnitude among non-negative floats' bits; as integers NaN and Inf rank highest, so
/// neither gets lost.
inline __m512i abs_bits(__m512 v) {
  return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}

inline float float_of_bits(int bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
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

/// 16 values to int8 in 32-bit lanes. NaN becomes -127: the scale of its block carries it on.
inline __m512i quantize16(const float* x, __m512 inverse) {
  const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), inverse));
  return _mm512_max_epi32(q, _mm512_set1_epi32(-127));
}

constexpr std::uint32_t kMaxSingles =
    4;  ///< up to so many token rows: dots by rows, more: panels and tiles

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

/// for_each_stream for the 1..kMaxSingles token rows of args. More than four streams of several
/// rows spill registers.
template <int kStreams, class Dot>
inline void for_each_row(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end,
                         const Dot& dot) {
  switch (args.n_rows) {
    case 1:
      return for_each_stream<kStreams, 1>(args, begin, end, dot);
    case 2:
      return for_each_stream<4, 2>(args, begin, end, dot);
    case 3:
      return for_each_stream<4, 3>(args, begin, end, dot);
    default:
      return for_each_stream<4, 4>(args, begin, end, dot);
  }
}

}  // namespace
}  // namespace lm::cpu
