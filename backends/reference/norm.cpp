#include <cmath>

#include "backends/reference/context.h"

namespace lm::reference {

namespace {

/// rms: x / sqrt(mean(x^2) + eps); layer: (x - mean) / sqrt(var + eps) with the biased variance.
void norm(const ops::Norm& op, const float* x, std::uint32_t n, const float* weight,
          const float* bias, float* out) {
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

}  // namespace

void run(const ops::Norm& op, const Context& c) {
  const std::uint32_t n = op.group != 0 ? op.group : op.x.cols;
  for (std::uint32_t r = 0; r < c.rows(op.rows); ++r) {
    for (std::uint32_t begin = 0; begin < op.x.cols; begin += n) {
      // Weights of one group serve all groups.
      const auto part = [&](const TensorRef& t) {
        return t.empty() ? nullptr : c.f32(t) + (t.cols == op.x.cols ? begin : 0);
      };
      norm(op, c.f32(op.x, r) + begin, n, part(op.weight), part(op.bias), c.f32(op.out, r) + begin);
    }
  }
}

}  // namespace lm::reference
