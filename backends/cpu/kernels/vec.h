/// The widest float vector of the instruction set that the including file is compiled for, and what
/// kernels do with it.
///
/// Everything here has internal linkage on purpose: the same source becomes different code in
/// norm_baseline.cpp and norm_avx512.cpp, and the linker must never take one for the other. For the
/// same reason kernel files call no inline functions of the standard library.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LM_INLINE inline __attribute__((always_inline))

namespace lm::cpu {
namespace {

#if defined(__AVX512F__)
constexpr std::uint32_t kLanes = 16;
#elif defined(__AVX2__)
constexpr std::uint32_t kLanes = 8;
#else
constexpr std::uint32_t kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef std::int32_t IntVec __attribute__((vector_size(4 * kLanes)));

template <class To, class From>
LM_INLINE To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

LM_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

LM_INLINE void store(float* p, Vec v) {
  __builtin_memcpy(p, &v, sizeof v);
}

LM_INLINE Vec splat(float x) {
#if defined(__AVX512F__)
  return _mm512_set1_ps(x);
#elif defined(__AVX2__)
  return _mm256_set1_ps(x);
#else
  return Vec{x, x, x, x};
#endif
}

LM_INLINE Vec zero() {
  return Vec{};
}

LM_INLINE Vec max(Vec a, Vec b) {
  return a > b ? a : b;
}  // one instruction

typedef float Quad __attribute__((vector_size(16)));

/// Four lanes that `join` makes of all by halving, in a fixed order.
template <class Join>
LM_INLINE Quad halved(Vec v, const Join& join) {
#if defined(__AVX512F__)
  typedef float Oct __attribute__((vector_size(32)));
  const Oct half = join(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                        __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
  return join(__builtin_shufflevector(half, half, 0, 1, 2, 3),
              __builtin_shufflevector(half, half, 4, 5, 6, 7));
#elif defined(__AVX2__)
  return join(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7));
#else
  static_cast<void>(join);
  return v;
#endif
}

LM_INLINE float sum(Vec v) {
  const Quad q = halved(v, [](auto a, auto b) { return a + b; });
  return (q[0] + q[2]) + (q[1] + q[3]);
}

LM_INLINE float highest(Vec v) {
  const Quad q = halved(v, [](auto a, auto b) { return a > b ? a : b; });
  const float even = q[0] > q[2] ? q[0] : q[2];
  const float odd = q[1] > q[3] ? q[1] : q[3];
  return even > odd ? even : odd;
}

/// e^x: relative error below 2e-7 where the result is a normal number, 0 below; NaN stays NaN.
/// Cody-Waite reduction to |r| <= ln(2)/2 and the series of e^r to the sixth power.
LM_INLINE Vec exp(Vec x) {
  const Vec low = splat(-87.3f);
  const Vec high = splat(88.3f);
  const Vec bounded = x < low ? low : (x > high ? high : x);
  const Vec magic =
      splat(12582912.0f);  // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
  const Vec shifted = bounded * splat(1.44269504f) + magic;
  const Vec n = shifted - magic;
  Vec r = bounded - n * splat(0.693359375f);
  r = r - n * splat(-2.12194440e-4f);
  Vec p = splat(1.0f / 720.0f);
  p = p * r + splat(1.0f / 120.0f);
  p = p * r + splat(1.0f / 24.0f);
  p = p * r + splat(1.0f / 6.0f);
  p = p * r + splat(0.5f);
  p = p * r + splat(1.0f);
  p = p * r + splat(1.0f);
  const IntVec exponent = (bits_as<IntVec>(shifted) - bits_as<IntVec>(magic) + 127) << 23;
  const Vec result = p * bits_as<Vec>(exponent);
  return x < low ? zero() : result;
}

/// Absolute error below 2e-7.
LM_INLINE Vec tanh(Vec x) {
  return splat(1.0f) - splat(2.0f) / (exp(x + x) + splat(1.0f));
}

/// kLanes f16 values.
LM_INLINE Vec load_f16(const std::uint16_t* p) {
#if defined(__AVX512F__)
  // The masked form: the plain one has an undefined operand, of which g++ 12 warns.
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__)
  return bits_as<Vec>(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))));
#else
  // Exponent and fraction moved into place and scaled by 2^112, which also makes subnormals right;
  // infinities and NaN get the top exponent instead.
  const IntVec h = {p[0], p[1], p[2], p[3]};
  const IntVec magnitude = (h & 0x7fff) << 13;
  const Vec finite = bits_as<Vec>(magnitude) * splat(0x1p112f);
  const IntVec special = magnitude | 0x7f800000;
  const IntVec value = magnitude >= (0x7c00 << 13) ? special : bits_as<IntVec>(finite);
  return bits_as<Vec>(value | ((h & 0x8000) << 16));
#endif
}

}  // namespace
}  // namespace lm::cpu
