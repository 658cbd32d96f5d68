/// Head norms, rotation and conversion over the vectors of kernels/vec.h; included by
/// rope_<isa>.cpp only.
#pragma once

#include <cmath>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/kernels/vec.h"
#include "backends/reference/dequant.h"

namespace lm::cpu {
namespace {

LM_INLINE void norm_head(float* head, std::uint32_t n, const float* weight, float eps) {
  Vec squares = zero();
  std::uint32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    squares += load(head + i) * load(head + i);
  }
  float total = sum(squares);
  for (; i < n; ++i) {
    total += head[i] * head[i];
  }
  const float factor = 1.0f / sqrtf(total / static_cast<float>(n) + eps);
  for (i = 0; i < n; ++i) {
    head[i] = head[i] * factor * (weight != nullptr ? weight[i] : 1.0f);
  }
}

/// Pairs (j, j + half).
LM_INLINE void rotate_halves(float* head, std::uint32_t half, const float* turn) {
  std::uint32_t j = 0;
  for (; j + kLanes <= half; j += kLanes) {
    const Vec c = load(turn + j);
    const Vec s = load(turn + half + j);
    const Vec x = load(head + j);
    const Vec y = load(head + half + j);
    store(head + j, x * c - y * s);
    store(head + half + j, x * s + y * c);
  }
  for (; j < half; ++j) {
    const float x = head[j];
    const float y = head[half + j];
    head[j] = x * turn[j] - y * turn[half + j];
    head[half + j] = x * turn[half + j] + y * turn[j];
  }
}

/// Pairs (2j, 2j + 1).
LM_INLINE void rotate_pairs(float* head, std::uint32_t half, const float* turn) {
  const float* __restrict cosine = turn;
  const float* __restrict sine = turn + half;
  for (std::uint32_t j = 0; j < half; ++j) {
    const float x = head[2 * j];
    const float y = head[2 * j + 1];
    head[2 * j] = x * cosine[j] - y * sine[j];
    head[2 * j + 1] = x * sine[j] + y * cosine[j];
  }
}

void rotate(const RopeHeads& row) {
  for (std::uint32_t h = 0; h < row.n_head; ++h) {
    float* head = row.heads + static_cast<std::uint64_t>(h) * row.head_dim;
    if (row.normalise) {
      norm_head(head, row.head_dim, row.norm, row.eps);
    }
    if (row.rope == RopeKind::halves) {
      rotate_halves(head + row.rot_begin, row.n_rot / 2, row.turn);
    } else if (row.rope == RopeKind::pairs) {
      rotate_pairs(head + row.rot_begin, row.n_rot / 2, row.turn);
    }
    if (row.factor != 1.0f) {
      for (std::uint32_t i = 0; i < row.head_dim; ++i) {
        head[i] *= row.factor;
      }
    }
  }
}

void to_f16(const float* x, std::uint32_t n, std::uint16_t* out) {
  std::uint32_t i = 0;
#if defined(__AVX2__)
  for (; i + 8 <= n; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), half);
  }
#elif defined(__aarch64__)
  for (; i + 4 <= n; i += 4) {
    vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
  }
#endif
  for (; i < n; ++i) {
    out[i] = reference::f32_to_f16(x[i]);
  }
}

}  // namespace
}  // namespace lm::cpu
