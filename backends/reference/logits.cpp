#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::Logits& op, const Context& c) {
  linear(c, op.x, op.weight, op.bias, op.out, c.step.n_out, false);
  float* out = c.f32(op.out);
  for (std::uint64_t i = 0; i < std::uint64_t{c.step.n_out} * op.out.cols; ++i) {
    out[i] = static_cast<float>(softcap(static_cast<double>(out[i]) * op.scale, op.softcap));
  }
}

}  // namespace lm::reference
