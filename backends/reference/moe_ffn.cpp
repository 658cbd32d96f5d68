#include <algorithm>

#include "backends/reference/context.h"

namespace lm::reference {
namespace {

/// bias[row] + x . weight[row]; no bias where the ref is empty.
double product(const Context& c, const TensorRef& weight, std::uint32_t row,
               const std::vector<float>& x, double bias) {
  const std::vector<float> w = c.dequantized(weight, row);
  for (std::size_t i = 0; i < w.size(); ++i) {
    bias += static_cast<double>(x[i]) * w[i];
  }
  return bias;
}

double bias_of(const Context& c, const TensorRef& t, std::uint32_t expert, std::uint32_t i) {
  return t.empty() ? 0.0 : c.f32(t, expert)[i];
}

/// Adds weight * expert(x) to sum.
void add_expert(const ops::MoeFfn& op, const Context& c, const std::vector<float>& x,
                std::uint32_t expert, double weight, std::vector<double>& sum) {
  std::vector<float> hidden(op.n_ff);
  for (std::uint32_t i = 0; i < op.n_ff; ++i) {
    const std::uint32_t row = expert * op.expert_stride + i;
    const double up = product(c, op.w_up, row, x, bias_of(c, op.b_up, expert, i));
    hidden[i] = static_cast<float>(
        op.w_gate.empty()
            ? activate(op.act, up)
            : gated(op.act, product(c, op.w_gate, row, x, bias_of(c, op.b_gate, expert, i)), up));
  }
  for (std::uint32_t o = 0; o < op.out.cols; ++o) {
    sum[o] += weight * product(c, op.w_down, expert * op.out.cols + o, hidden,
                               bias_of(c, op.b_down, expert, o));
  }
}

}  // namespace

void run(const ops::MoeFfn& op, const Context& c) {
  for (std::uint32_t r = 0; r < c.rows(op.rows); ++r) {
    const auto* ids = reinterpret_cast<const std::int32_t*>(c.bytes(op.ids, r));
    const float* weights = c.f32(op.weights, r);
    const std::vector<float> x(c.f32(op.x, r), c.f32(op.x, r) + op.x.cols);
    std::vector<double> sum(op.out.cols, 0.0);
    for (std::uint32_t u = 0; u < op.ids.cols; ++u) {
      LM_ASSERT(ids[u] >= 0 && static_cast<std::uint32_t>(ids[u]) < op.n_expert,
                "a row chose an expert that is not there");
      add_expert(op, c, x, static_cast<std::uint32_t>(ids[u]), weights[u], sum);
    }
    float* out = c.f32(op.out, r);
    for (std::uint32_t o = 0; o < op.out.cols; ++o) {
      out[o] = static_cast<float>(op.accumulate ? out[o] + sum[o] : sum[o]);
    }
  }
}

}  // namespace lm::reference
