#include <cmath>

#include "backends/reference/context.h"
#include "backends/reference/dequant.h"

namespace lm::reference {
namespace {

/// Without weights where `weight` is null.
void rms_norm(float* head, std::uint32_t n, const float* weight, float eps) {
  double square = 0.0;
  for (std::uint32_t i = 0; i < n; ++i) {
    square += static_cast<double>(head[i]) * head[i];
  }
  const double factor = 1.0 / std::sqrt(square / n + static_cast<double>(eps));
  for (std::uint32_t i = 0; i < n; ++i) {
    head[i] = static_cast<float>(head[i] * factor * (weight != nullptr ? weight[i] : 1.0f));
  }
}

/// Pair j rotates by position * inv_freq[j]; the angle is formed in double, where positions beyond
/// 10^5 keep their turn.
void rotate(float* head, const ops::RopeKvWrite& op, const float* inv_freq, std::int32_t position) {
  const std::uint32_t half = op.n_rot / 2;
  head += op.rot_begin;
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

void scale_by_position(float* q, const ops::RopeKvWrite& op, std::int32_t position) {
  if (op.temperature == 0.0f) {
    return;
  }
  const double turns = std::floor(position / static_cast<double>(op.temperature_length));
  const double factor = 1.0 + static_cast<double>(op.temperature) * std::log(turns + 1.0);
  for (std::uint32_t i = 0; i < op.kv.head_dim_k; ++i) {
    q[i] = static_cast<float>(q[i] * factor);
  }
}

void write_value(const ops::RopeKvWrite& op, const Context& c, std::uint32_t row,
                 std::uint32_t head) {
  const std::uint32_t dim = op.kv.head_dim_v;
  float* v = c.f32(op.v, row) + head * dim;
  if (op.v_norm) {
    rms_norm(v, dim, nullptr, op.norm_eps);
  }
  quantize_row(op.kv.dtype, v, dim, c.v_row(op.kv, c.step.row_seq[row], head, c.step.row_kv[row]));
}

}  // namespace

void run(const ops::RopeKvWrite& op, const Context& c) {
  const std::uint32_t dim_k = op.kv.head_dim_k;
  for (std::uint32_t r = 0; r < c.step.n_row; ++r) {
    const std::int32_t position = c.step.pos[std::uint64_t{r} * kPosDims];
    for (std::uint32_t h = 0; h < op.n_head; ++h) {
      float* q = c.f32(op.q, r) + h * dim_k;
      norm_and_rotate(q, op, c, c.f32(op.q_norm), position);
      scale_by_position(q, op, position);
    }
    for (std::uint32_t h = 0; h < op.kv.n_head_kv && !op.k.empty(); ++h) {
      float* k = c.f32(op.k, r) + h * dim_k;
      norm_and_rotate(k, op, c, c.f32(op.k_norm), position);
      quantize_row(op.kv.dtype, k, dim_k, c.k_row(op.kv, c.step.row_seq[r], h, c.step.row_kv[r]));
      if (!op.v.empty()) {
        write_value(op, c, r, h);
      }
    }
  }
}

}  // namespace lm::reference
