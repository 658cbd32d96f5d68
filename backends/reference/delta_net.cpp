#include <algorithm>
#include <cmath>

#include "backends/reference/context.h"

namespace lm::reference {
namespace {

/// x / sqrt(|x|^2 + eps) * factor.
std::vector<double> unit(const float* x, std::uint32_t n, double eps, double factor) {
  double square = 0.0;
  for (std::uint32_t i = 0; i < n; ++i) {
    square += static_cast<double>(x[i]) * x[i];
  }
  const double scale = factor / std::sqrt(square + eps);
  std::vector<double> out(n);
  std::transform(x, x + n, out.begin(), [&](float v) { return v * scale; });
  return out;
}

/// ln(1 + e^x) without overflow.
double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}

/// One row of one head. `state` is [key][value].
void advance(const std::vector<double>& q, const std::vector<double>& k, const float* v,
             double decay, double beta, std::vector<double>& state, float* out) {
  const std::size_t n = q.size();
  for (double& s : state) {
    s *= decay;
  }
  for (std::size_t j = 0; j < n; ++j) {
    double known = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      known += k[i] * state[i * n + j];
    }
    const double delta = beta * (v[j] - known);
    double sum = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      state[i * n + j] += k[i] * delta;
      sum += q[i] * state[i * n + j];
    }
    out[j] = static_cast<float>(sum);
  }
}

void run_head(const ops::DeltaNet& op, const Context& c, std::uint32_t seq, std::uint32_t head) {
  const std::uint32_t n = op.head_dim;
  const std::uint32_t key_head = head % op.n_head_k;
  const std::uint64_t values = std::uint64_t{n} * n;
  float* stored = c.state(op.state, seq) + values * head;
  std::vector<double> state(stored, stored + values);
  for (std::uint32_t r = c.step.seq_row[seq]; r < c.step.seq_row[seq + 1]; ++r) {
    const float* q = c.f32(op.qkv, r) + std::uint64_t{key_head} * n;
    const float* k = q + std::uint64_t{op.n_head_k} * n;
    const float* v = c.f32(op.qkv, r) + (2 * std::uint64_t{op.n_head_k} + head) * n;
    const double time =
        softplus(static_cast<double>(c.f32(op.alpha, r)[head]) + c.f32(op.dt_bias)[head]);
    const double beta = activate(Activation::sigmoid, c.f32(op.beta, r)[head]);
    advance(unit(q, n, op.eps, 1.0 / std::sqrt(n)), unit(k, n, op.eps, 1.0), v,
            std::exp(time * c.f32(op.a)[head]), beta, state,
            c.f32(op.out, r) + std::uint64_t{head} * n);
  }
  std::transform(state.begin(), state.end(), stored,
                 [](double s) { return static_cast<float>(s); });
}

}  // namespace

void run(const ops::DeltaNet& op, const Context& c) {
  for (std::uint32_t s = 0; s < c.step.n_seq; ++s) {
    for (std::uint32_t h = 0; h < op.n_head_v && c.step.seq_row[s] < c.step.seq_row[s + 1]; ++h) {
      run_head(op, c, s, h);
    }
  }
}

}  // namespace lm::reference
