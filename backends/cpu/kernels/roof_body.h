// Source of roof_<isa>.cpp: vectors as wide as the flags allow, accumulators enough to hide the
// latency of a multiply-add (4 cycles, two a cycle). The empty asm statements keep the compiler
// from computing a round once for all.
#pragma once

#include "backends/cpu/kernels/roof.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace lm::cpu {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t kVectorBytes = 64;
#define LM_ROOF_REGISTER "+v"
#elif defined(__AVX2__)
constexpr std::size_t kVectorBytes = 32;
#define LM_ROOF_REGISTER "+x"
#elif defined(__x86_64__)
constexpr std::size_t kVectorBytes = 16;
#define LM_ROOF_REGISTER "+x"
#else
constexpr std::size_t kVectorBytes = 16;
#define LM_ROOF_REGISTER "+w"
#endif

using Floats __attribute__((vector_size(kVectorBytes))) = float;
using Words __attribute__((vector_size(kVectorBytes))) = std::uint64_t;
using Shorts __attribute__((vector_size(kVectorBytes))) = std::int16_t;

template <class Vector>
inline __attribute__((always_inline)) void opaque(Vector& v) {
  __asm__ volatile("" : LM_ROOF_REGISTER(v));
}

constexpr std::uint64_t kAccumulators = 10;
#define LM_ROOF_EACH(X) X(s0) X(s1) X(s2) X(s3) X(s4) X(s5) X(s6) X(s7) X(s8) X(s9)

float f32_fmas(std::uint64_t n) {
  Floats s0 = {}, s1 = {}, s2 = {}, s3 = {}, s4 = {}, s5 = {}, s6 = {}, s7 = {}, s8 = {}, s9 = {};
  Floats a = Floats{} + 1.0f;
  Floats b = Floats{} + 1e-9f;
  opaque(b);
  for (std::uint64_t i = 0; i < n; ++i) {
    opaque(a);
#define LM_ROOF_FMA(s) \
  s = a * b + s;       \
  opaque(s);
    LM_ROOF_EACH(LM_ROOF_FMA)
#undef LM_ROOF_FMA
  }
  const Floats all = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9;
  return all[0];
}

#if defined(__AVX512VNNI__)
using Dots = __m512i;
inline __attribute__((always_inline)) Dots dot(Dots sum, Dots a, Dots b) {
  return _mm512_dpbusd_epi32(sum, a, b);
}
constexpr std::uint64_t kOpsADot = 128;
#elif defined(__AVX512BW__)
using Dots = __m512i;
inline __attribute__((always_inline)) Dots dot(Dots sum, Dots a, Dots b) {
  const Dots pairs = _mm512_maddubs_epi16(a, b);
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
constexpr std::uint64_t kOpsADot = 128;
#elif defined(__AVX2__)
using Dots = __m256i;
inline __attribute__((always_inline)) Dots dot(Dots sum, Dots a, Dots b) {
  const Dots pairs = _mm256_maddubs_epi16(a, b);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
constexpr std::uint64_t kOpsADot = 64;
#elif defined(__SSSE3__)
using Dots = __m128i;
inline __attribute__((always_inline)) Dots dot(Dots sum, Dots a, Dots b) {
  const Dots pairs = _mm_maddubs_epi16(a, b);
  return _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
}
constexpr std::uint64_t kOpsADot = 32;
#elif defined(__ARM_FEATURE_MATMUL_INT8)
using Dots = int32x4_t;
inline __attribute__((always_inline)) Dots dot(Dots sum, Dots a, Dots b) {
  return vmmlaq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}
constexpr std::uint64_t kOpsADot = 64;
#elif defined(__ARM_FEATURE_DOTPROD)
using Dots = int32x4_t;
inline __attribute__((always_inline)) Dots dot(Dots sum, Dots a, Dots b) {
  return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}
constexpr std::uint64_t kOpsADot = 32;
#else
using Dots = Shorts;
inline __attribute__((always_inline)) Dots dot(Dots sum, Dots a, Dots b) {
  return sum + a * b;
}
constexpr std::uint64_t kOpsADot = 2 * sizeof(Dots) / sizeof(std::int16_t);
#endif

float int8_dots(std::uint64_t n) {
  Dots s0 = {}, s1 = {}, s2 = {}, s3 = {}, s4 = {}, s5 = {}, s6 = {}, s7 = {}, s8 = {}, s9 = {};
  Dots a = {};
  Dots b = {};
  opaque(b);
  for (std::uint64_t i = 0; i < n; ++i) {
#define LM_ROOF_DOT(s) \
  opaque(a);           \
  s = dot(s, a, b);    \
  opaque(s);
    LM_ROOF_EACH(LM_ROOF_DOT)
#undef LM_ROOF_DOT
  }
  Words all = {};
#define LM_ROOF_ADD(s) all += reinterpret_cast<Words>(s);
  LM_ROOF_EACH(LM_ROOF_ADD)
#undef LM_ROOF_ADD
  return static_cast<float>(all[0]);
}

/// Four lines of 64 bytes a turn and stream: what a decoding kernel takes in at once.
template <std::uint64_t kStreams>
std::uint64_t read_streams(const std::byte* begin, std::uint64_t bytes) {
  constexpr std::uint64_t kTurn = 256;
  constexpr std::uint64_t kAhead = 2048;
  const std::uint64_t apart = bytes / kStreams;
  Words sum = {};
  for (std::uint64_t at = 0; at + kTurn <= apart; at += kTurn) {
#pragma GCC unroll 8
    for (std::uint64_t s = 0; s < kStreams; ++s) {
      const std::byte* p = begin + s * apart + at;
      for (std::uint64_t line = 0; line < kTurn; line += 64) {
        __builtin_prefetch(p + kAhead + line);
      }
      for (std::uint64_t i = 0; i < kTurn; i += kVectorBytes) {
        Words v;
        __builtin_memcpy(&v, p + i, kVectorBytes);
        sum += v;
      }
    }
  }
  return sum[0];
}

constexpr RoofKernels kRoofKernels = {
    int8_dots,       kOpsADot* kAccumulators,
    f32_fmas,        2 * kAccumulators* kVectorBytes / sizeof(float),
    read_streams<1>, read_streams<8>};

}  // namespace
}  // namespace lm::cpu
