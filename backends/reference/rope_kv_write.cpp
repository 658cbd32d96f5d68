#include <cmath>

#include "backends/reference/context.h"
#include "backends/reference/dequant.h"

namespace lm::reference {
namespace {

void rms_norm(float* head, std::uint32_t n, const float* weight, float eps) {
  double square = 0.0;
  for (std::uint32_t i = 0; i < n; ++i) {
    square += static_cast<double>(head[i]) * head[i];
  }
  const double factor = 1.0 / std::sqrt(square / n + static_cast<double>(eps));
  for (std::uint32_t i = 0; i < n; ++i) {
    head[i] = static_cast<float>(head[i] * factor * weight[i]);
  }
}

/// Pair j rotates by position * inv_freq[j]; the angle is formed in double, where positions beyond
/// 10^5 keep their turn.
void rotate(float* head, const ops::RopeKvWrite& op, const float* inv_freq, std::int32_t position) {
  const std::uint32_t half = op.n_rot / 2;
  for (std::uint32_t j = 0; j < half; ++j) {
    const double angle = static_cast<double>(position) * inv_freq[j];
    const double cosine = std::cos(angle) * op.magnitude;
    const double sine = std::sin(angle) * op.magnitude;
    float& x = op.rope == RopeKind::pairs ? head[2 * j] : head[j];
    float& y = op.rope == RopeKind::pairs ? head[2 * j + 1] : head[j + half];
    const double turned = x * cosine - y * sine;
    y = static_cast<float>(x * sine + y * cosine);
    x = static_cast<float>(turned);
  }
}

void norm_and_rotate(float* head, const ops::RopeKvWrite& op, const Context& c, const float* norm,
                     std::int32_t position) {
  if (norm != nullptr) {
    rms_norm(head, op.kv.head_dim_k, norm, op.norm_eps);
  }
  if (op.rope != RopeKind::none) {
    rotate(head, op, c.f32(op.inv_freq), position);
  }
}

}  // namespace

void run(const ops::RopeKvWrite& op, const Context& c) {
  const std::uint32_t dim_k = op.kv.head_dim_k;
  const std::uint32_t dim_v = op.kv.head_dim_v;
  for (std::uint32_t r = 0; r < c.step.n_row; ++r) {
    const std::int32_t position = c.step.pos[std::uint64_t{r} * kPosDims];
    for (std::uint32_t h = 0; h < op.n_head; ++h) {
      norm_and_rotate(c.f32(op.q, r) + h * dim_k, op, c, c.f32(op.q_norm), position);
    }
    const std::uint32_t seq = c.step.row_seq[r];
    const std::uint32_t kv = c.step.row_kv[r];
    for (std::uint32_t h = 0; h < op.kv.n_head_kv; ++h) {
      float* k = c.f32(op.k, r) + h * dim_k;
      norm_and_rotate(k, op, c, c.f32(op.k_norm), position);
      quantize_row(op.kv.dtype, k, dim_k, c.k_row(op.kv, seq, h, kv));
      quantize_row(op.kv.dtype, c.f32(op.v, r) + h * dim_v, dim_v, c.v_row(op.kv, seq, h, kv));
    }
  }
}

}  // namespace lm::reference
