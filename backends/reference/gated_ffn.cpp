#include <algorithm>
#include <cmath>

#include "backends/reference/context.h"

namespace lm::reference {

double activate(Activation act, double x) {
  switch (act) {
    case Activation::silu:
      return x / (1.0 + std::exp(-x));
    case Activation::gelu_tanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::sigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case Activation::swiglu_clamped:
    case Activation::identity:
      break;
  }
  return x;
}

/// The clamped form and its constants: gpt-oss.
double gated(Activation act, double gate, double up) {
  if (act == Activation::swiglu_clamped) {
    const double g = std::min(gate, 7.0);
    return g / (1.0 + std::exp(-1.702 * g)) * (std::clamp(up, -7.0, 7.0) + 1.0);
  }
  return activate(act, gate) * up;
}

void run(const ops::GatedFfn& op, const Context& c) {
  linear(c, op.x, op.w_up, op.b_up, op.out, c.rows(op.rows), false);
  std::vector<float> up(std::uint64_t{c.rows(op.rows)} * op.out.cols, 1.0f);
  if (!op.w_gate.empty()) {
    std::copy_n(c.f32(op.out), up.size(), up.data());
    linear(c, op.x, op.w_gate, op.b_gate, op.out, c.rows(op.rows), false);
  }
  float* out = c.f32(op.out);
  for (std::size_t i = 0; i < up.size(); ++i) {
    out[i] = static_cast<float>(gated(op.act, out[i], up[i]));
  }
}

}  // namespace lm::reference
