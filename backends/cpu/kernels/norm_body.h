/// Norms over the vectors of kernels/vec.h; included by norm_<isa>.cpp only.
#pragma once

#include <cmath>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/kernels/vec.h"

namespace lm::cpu {
namespace {

/// Sum of (x - mean)^2 in four vectors of lanes, so that no sum grows long.
LM_INLINE float square_sum(const float* x, std::uint32_t n, float mean) {
  const Vec m = splat(mean);
  Vec a = zero();
  Vec b = zero();
  Vec c = zero();
  Vec d = zero();
  std::uint32_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    const Vec va = load(x + i) - m;
    const Vec vb = load(x + i + kLanes) - m;
    const Vec vc = load(x + i + 2 * kLanes) - m;
    const Vec vd = load(x + i + 3 * kLanes) - m;
    a += va * va;
    b += vb * vb;
    c += vc * vc;
    d += vd * vd;
  }
  float total = sum((a + b) + (c + d));
  for (; i < n; ++i) {
    total += (x[i] - mean) * (x[i] - mean);
  }
  return total;
}

LM_INLINE float value_sum(const float* x, std::uint32_t n) {
  Vec a = zero();
  Vec b = zero();
  std::uint32_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    a += load(x + i);
    b += load(x + i + kLanes);
  }
  float total = sum(a + b);
  for (; i < n; ++i) {
    total += x[i];
  }
  return total;
}

/// out (+)= (x - mean) * factor * weight + bias.
LM_INLINE void apply(const float* x, std::uint32_t n, float mean, float factor, const float* weight,
                     const float* bias, bool accumulate, float* out) {
  std::uint32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec v = (load(x + i) - splat(mean)) * splat(factor);
    if (weight != nullptr) {
      v *= load(weight + i);
    }
    if (bias != nullptr) {
      v += load(bias + i);
    }
    store(out + i, accumulate ? load(out + i) + v : v);
  }
  for (; i < n; ++i) {
    float v = (x[i] - mean) * factor;
    v = v * (weight != nullptr ? weight[i] : 1.0f) + (bias != nullptr ? bias[i] : 0.0f);
    out[i] = accumulate ? out[i] + v : v;
  }
}

void rms(const float* x, std::uint32_t n, const float* weight, const float* bias, float eps,
         bool accumulate, float* out) {
  const float mean_square = square_sum(x, n, 0.0f) / static_cast<float>(n);
  apply(x, n, 0.0f, 1.0f / sqrtf(mean_square + eps), weight, bias, accumulate, out);
}

void layer(const float* x, std::uint32_t n, const float* weight, const float* bias, float eps,
           bool accumulate, float* out) {
  const float mean = value_sum(x, n) / static_cast<float>(n);
  const float variance = square_sum(x, n, mean) / static_cast<float>(n);
  apply(x, n, mean, 1.0f / sqrtf(variance + eps), weight, bias, accumulate, out);
}

}  // namespace
}  // namespace lm::cpu
