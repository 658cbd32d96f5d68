/// Recurrent layers over the vectors of kernels/vec.h; included by recurrent_<isa>.cpp only.
#pragma once

#include <cmath>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/kernels/vec.h"

namespace lm::cpu {
namespace {

void conv(const ConvBlock& b, std::uint32_t row_begin, std::uint32_t row_end) {
  const std::uint32_t before = b.taps - 1;
  for (std::uint32_t r = row_begin; r < row_end; ++r) {
    float* out = b.out + r * b.stride;
    // Input j of this row: in the state while r + j < before, then in x.
    const auto input = [&](std::uint32_t j) {
      return r + j < before ? b.state + (r + j) * b.stride : b.x + (r + j - before) * b.stride;
    };
    std::uint32_t c = 0;
    for (; c + kLanes <= b.n; c += kLanes) {
      Vec total = zero();
      for (std::uint32_t j = 0; j < b.taps; ++j) {
        total += load(b.weight + static_cast<std::uint64_t>(j) * b.n + c) * load(input(j) + c);
      }
      store(out + c, total);
    }
    for (; c < b.n; ++c) {
      float total = 0.0f;
      for (std::uint32_t j = 0; j < b.taps; ++j) {
        total += b.weight[static_cast<std::uint64_t>(j) * b.n + c] * input(j)[c];
      }
      out[c] = total;
    }
  }
}

/// out = x / sqrt(|x|^2 + eps) * factor.
LM_INLINE void unit(const float* x, std::uint32_t n, float eps, float factor, float* out) {
  Vec squares = zero();
  std::uint32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    squares += load(x + i) * load(x + i);
  }
  float total = sum(squares);
  for (; i < n; ++i) {
    total += x[i] * x[i];
  }
  const float scale = factor / sqrtf(total + eps);
  for (i = 0; i < n; ++i) {
    out[i] = x[i] * scale;
  }
}

/// All rows of a block for some columns of the state, which stay in cache: with known = S^T k
/// before the decay, d = beta (v - decay known), S = decay S + k d^T, out = S^T q.
template <std::uint32_t Vectors>
LM_INLINE void advance_columns(const DeltaRows& b, const float* q, const float* k,
                               std::uint32_t column) {
  float* state = b.state + column;
  for (std::uint32_t r = 0; r < b.rows; ++r, q += b.dim, k += b.dim) {
    Vec known[Vectors];
    Vec out[Vectors];
#pragma GCC unroll 8
    for (std::uint32_t v = 0; v < Vectors; ++v) {
      known[v] = zero();
      out[v] = zero();
    }
    for (std::uint32_t i = 0; i < b.dim; ++i) {
      const Vec key = splat(k[i]);
#pragma GCC unroll 8
      for (std::uint32_t v = 0; v < Vectors; ++v) {
        known[v] += key * load(state + static_cast<std::uint64_t>(i) * b.dim + v * kLanes);
      }
    }
    const Vec decay = splat(b.decay[r]);
    const Vec beta = splat(b.beta[r]);
    Vec delta[Vectors];
#pragma GCC unroll 8
    for (std::uint32_t v = 0; v < Vectors; ++v) {
      delta[v] = beta * (load(b.v + r * b.qkv_stride + column + v * kLanes) - decay * known[v]);
    }
    for (std::uint32_t i = 0; i < b.dim; ++i) {
      const Vec key = splat(k[i]);
      const Vec query = splat(q[i]);
      float* row = state + static_cast<std::uint64_t>(i) * b.dim;
#pragma GCC unroll 8
      for (std::uint32_t v = 0; v < Vectors; ++v) {
        const Vec s = decay * load(row + v * kLanes) + key * delta[v];
        store(row + v * kLanes, s);
        out[v] += query * s;
      }
    }
#pragma GCC unroll 8
    for (std::uint32_t v = 0; v < Vectors; ++v) {
      store(b.out + r * b.out_stride + column + v * kLanes, out[v]);
    }
  }
}

/// The same for one column, at the end of a row that is not whole vectors.
void advance_column(const DeltaRows& b, const float* q, const float* k, std::uint32_t column) {
  float* state = b.state + column;
  for (std::uint32_t r = 0; r < b.rows; ++r, q += b.dim, k += b.dim) {
    float known = 0.0f;
    for (std::uint32_t i = 0; i < b.dim; ++i) {
      known += k[i] * state[static_cast<std::uint64_t>(i) * b.dim];
    }
    const float delta = b.beta[r] * (b.v[r * b.qkv_stride + column] - b.decay[r] * known);
    float out = 0.0f;
    for (std::uint32_t i = 0; i < b.dim; ++i) {
      float& s = state[static_cast<std::uint64_t>(i) * b.dim];
      s = b.decay[r] * s + k[i] * delta;
      out += q[i] * s;
    }
    b.out[r * b.out_stride + column] = out;
  }
}

void delta(const DeltaRows& b, std::byte* scratch) {
  float* q = reinterpret_cast<float*>(scratch);
  float* k = q + static_cast<std::uint64_t>(kMaxDeltaRows) * b.dim;
  const float root = 1.0f / sqrtf(static_cast<float>(b.dim));
  for (std::uint32_t r = 0; r < b.rows; ++r) {
    unit(b.q + r * b.qkv_stride, b.dim, b.eps, root, q + static_cast<std::uint64_t>(r) * b.dim);
    unit(b.k + r * b.qkv_stride, b.dim, b.eps, 1.0f, k + static_cast<std::uint64_t>(r) * b.dim);
  }
  std::uint32_t column = 0;
  for (; column + 4 * kLanes <= b.dim; column += 4 * kLanes) {
    advance_columns<4>(b, q, k, column);
  }
  for (; column + kLanes <= b.dim; column += kLanes) {
    advance_columns<1>(b, q, k, column);
  }
  for (; column < b.dim; ++column) {
    advance_column(b, q, k, column);
  }
}

std::uint64_t delta_scratch_bytes(std::uint32_t dim) {
  return static_cast<std::uint64_t>(2) * kMaxDeltaRows * dim * sizeof(float);
}

}  // namespace
}  // namespace lm::cpu
