/// Element by element over the vectors of kernels/vec.h; included by element_<isa>.cpp only.
#pragma once

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/kernels/vec.h"

namespace lm::cpu {
namespace {

/// x / (1 + e^-x).
LM_INLINE Vec silu(Vec x) {
  return x / (splat(1.0f) + exp(zero() - x));
}

/// 0.5 x (1 + tanh u) = x / (1 + e^-2u), which loses nothing for small x.
LM_INLINE Vec gelu_tanh(Vec x) {
  const Vec u = splat(0.7978845608f) * (x + splat(0.044715f) * x * x * x);
  return x / (splat(1.0f) + exp(splat(-2.0f) * u));
}

/// 0.5 x (1 + erf(x / sqrt 2)); erf by formula 7.1.26 of Abramowitz and Stegun, absolute error
/// 1.5e-7.
LM_INLINE Vec gelu_erf(Vec x) {
  const Vec z = x * splat(0.70710678f);
  const Vec magnitude = z < zero() ? zero() - z : z;
  const Vec t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * magnitude);
  Vec p = splat(1.061405429f);
  p = p * t - splat(1.453152027f);
  p = p * t + splat(1.421413741f);
  p = p * t - splat(0.284496736f);
  p = p * t + splat(0.254829592f);
  const Vec tail = p * t * exp(zero() - z * z);  // 1 - erf(|z|)
  const Vec half = splat(0.5f) * x;
  return z < zero() ? half * tail : half * (splat(2.0f) - tail);
}

/// Runs `function` over n values; the last ones go through a padded vector.
template <class Function>
LM_INLINE void for_vectors(std::uint64_t n, const Function& function) {
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    function(i, kLanes);
  }
  if (i < n) {
    function(i, static_cast<std::uint32_t>(n - i));
  }
}

LM_INLINE Vec load_some(const float* p, std::uint32_t n) {
  if (n == kLanes) {
    return load(p);
  }
  float lane[kLanes] = {};
  for (std::uint32_t i = 0; i < n; ++i) {
    lane[i] = p[i];
  }
  return load(lane);
}

LM_INLINE void store_some(float* p, Vec v, std::uint32_t n) {
  if (n == kLanes) {
    store(p, v);
    return;
  }
  float lane[kLanes];
  store(lane, v);
  for (std::uint32_t i = 0; i < n; ++i) {
    p[i] = lane[i];
  }
}

LM_INLINE Vec sigmoid(Vec x) {
  return splat(1.0f) / (splat(1.0f) + exp(zero() - x));
}

LM_INLINE Vec identity(Vec x) {
  return x;
}

/// The clamped form of gpt-oss. Comparisons are written so that NaN stays NaN.
LM_INLINE Vec swiglu_clamped(Vec gate, Vec up) {
  const Vec limit = splat(7.0f);
  const Vec g = gate > limit ? limit : gate;
  const Vec u = up > limit ? limit : (up < zero() - limit ? zero() - limit : up);
  return g / (splat(1.0f) + exp(splat(-1.702f) * g)) * (u + splat(1.0f));
}

template <Vec (*act)(Vec)>
void gate_with(const float* gate, const float* up, float* out, std::uint64_t n) {
  for_vectors(n, [&](std::uint64_t i, std::uint32_t count) {
    Vec v = act(load_some(gate + i, count));
    if (up != nullptr) {
      v *= load_some(up + i, count);
    }
    store_some(out + i, v, count);
  });
}

void gate(Activation act, const float* values, const float* up, float* out, std::uint64_t n) {
  switch (act) {
    case Activation::silu:
      return gate_with<silu>(values, up, out, n);
    case Activation::gelu_tanh:
      return gate_with<gelu_tanh>(values, up, out, n);
    case Activation::gelu_erf:
      return gate_with<gelu_erf>(values, up, out, n);
    case Activation::sigmoid:
      return gate_with<sigmoid>(values, up, out, n);
    case Activation::identity:
      return gate_with<identity>(values, up, out, n);
    case Activation::swiglu_clamped:
      return for_vectors(n, [&](std::uint64_t i, std::uint32_t count) {
        store_some(out + i, swiglu_clamped(load_some(values + i, count), load_some(up + i, count)),
                   count);
      });
  }
}

void add(const float* a, float factor_a, const float* b, float factor_b, float* out,
         std::uint64_t n) {
  for_vectors(n, [&](std::uint64_t i, std::uint32_t count) {
    const Vec v =
        splat(factor_a) * load_some(a + i, count) + splat(factor_b) * load_some(b + i, count);
    store_some(out + i, v, count);
  });
}

void scale(const float* x, float factor, float* out, std::uint64_t n) {
  for_vectors(n, [&](std::uint64_t i, std::uint32_t count) {
    store_some(out + i, splat(factor) * load_some(x + i, count), count);
  });
}

void softcap(float* x, float factor, float cap, std::uint32_t n) {
  for_vectors(n, [&](std::uint64_t i, std::uint32_t count) {
    Vec v = splat(factor) * load_some(x + i, count);
    if (cap > 0.0f) {
      v = splat(cap) * tanh(v * splat(1.0f / cap));
    }
    store_some(x + i, v, count);
  });
}

}  // namespace
}  // namespace lm::cpu
