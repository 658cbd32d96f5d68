#include "backends/reference/context.h"

namespace lm::reference {

void linear(const Context& c, const TensorRef& x, const TensorRef& weight, const TensorRef& bias,
            const TensorRef& out, std::uint32_t n_rows, bool accumulate) {
  for (std::uint32_t o = 0; o < weight.rows; ++o) {
    const std::vector<float> w = c.dequantized(weight, o);
    const double start = bias.empty() ? 0.0 : c.f32(bias)[o];
    for (std::uint32_t r = 0; r < n_rows; ++r) {
      const float* row = c.f32(x, r);
      double sum = start;
      for (std::uint32_t i = 0; i < weight.cols; ++i) {
        sum += static_cast<double>(row[i]) * w[i];
      }
      float& to = c.f32(out, r)[o];
      to = static_cast<float>(accumulate ? to + sum : sum);
    }
  }
}

void run(const ops::MatMul& op, const Context& c) {
  linear(c, op.x, op.weight, op.bias, op.out, c.rows(op.rows), op.accumulate);
}

}  // namespace lm::reference
