#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::HeadMatMul& op, const Context& c) {
  const std::uint32_t n_out = op.weight.rows / op.n_head;
  for (std::uint32_t o = 0; o < op.weight.rows; ++o) {
    const std::vector<float> w = c.dequantized(op.weight, o);
    const std::uint32_t head = o / n_out;
    for (std::uint32_t r = 0; r < c.step.n_row; ++r) {
      const float* x = c.f32(op.x, r) + std::uint64_t{head} * op.x_width;
      double sum = 0.0;
      for (std::uint32_t i = 0; i < w.size(); ++i) {
        sum += static_cast<double>(x[i]) * w[i];
      }
      c.f32(op.out, r)[std::uint64_t{head} * op.out_width + o % n_out] = static_cast<float>(sum);
    }
  }
}

}  // namespace lm::reference
