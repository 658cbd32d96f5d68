#include <cmath>

#include "backends/reference/context.h"

namespace lm::reference {

/// rms: x / sqrt(mean(x^2) + eps); layer: (x - mean) / sqrt(var + eps) with the biased variance.
void run(const ops::Norm& op, const Context& c) {
  const std::uint32_t n = op.x.cols;
  const float* weight = c.f32(op.weight);
  const float* bias = c.f32(op.bias);
  for (std::uint32_t r = 0; r < c.rows(op.rows); ++r) {
    const float* x = c.f32(op.x, r);
    float* out = c.f32(op.out, r);
    double mean = 0.0;
    if (op.kind == NormKind::layer) {
      for (std::uint32_t i = 0; i < n; ++i) {
        mean += x[i];
      }
      mean /= n;
    }
    double square = 0.0;
    for (std::uint32_t i = 0; i < n; ++i) {
      square += (x[i] - mean) * (x[i] - mean);
    }
    const double factor = 1.0 / std::sqrt(square / n + static_cast<double>(op.eps));
    for (std::uint32_t i = 0; i < n; ++i) {
      double value = (x[i] - mean) * factor;
      value = value * (weight != nullptr ? weight[i] : 1.0f) + (bias != nullptr ? bias[i] : 0.0f);
      out[i] = static_cast<float>(op.accumulate ? out[i] + value : value);
    }
  }
}

}  // namespace lm::reference
