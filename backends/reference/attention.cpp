#include <algorithm>
#include <cmath>

#include "backends/reference/context.h"
#include "backends/reference/dequant.h"

namespace lm::reference {
namespace {

/// One query head of one row over the KV indices [begin, end).
void attend(const ops::Attention& op, const Context& c, std::uint32_t row, std::uint32_t head,
            std::uint32_t begin, std::uint32_t end) {
  const std::uint32_t at = c.step.row_kv[row];
  const double slope = op.slopes.empty() ? 0.0 : c.f32(op.slopes)[head];
  const std::uint32_t seq = c.step.row_seq[row];
  const std::uint32_t kv_head = head / (op.n_head / op.kv.n_head_kv);
  const float* q = c.f32(op.q, row) + head * op.kv.head_dim_k;
  std::vector<float> key(op.kv.head_dim_k);
  std::vector<float> value(op.kv.head_dim_v);

  std::vector<double> weight(end - begin);
  double top = op.sinks.empty() ? -HUGE_VAL : c.f32(op.sinks)[head];
  for (std::uint32_t p = begin; p < end; ++p) {
    dequantize_row(op.kv.dtype, c.k_row(op.kv, seq, kv_head, p), key.size(), key.data());
    double score = 0.0;
    for (std::size_t i = 0; i < key.size(); ++i) {
      score += static_cast<double>(q[i]) * key[i];
    }
    weight[p - begin] = softcap(score * op.scale, op.softcap) - slope * (p > at ? p - at : at - p);
    top = std::max(top, weight[p - begin]);
  }
  double sum = op.sinks.empty() ? 0.0 : std::exp(c.f32(op.sinks)[head] - top);
  for (double& w : weight) {
    w = std::exp(w - top);
    sum += w;
  }

  std::vector<double> out(op.kv.head_dim_v);
  for (std::uint32_t p = begin; p < end; ++p) {
    dequantize_row(op.kv.dtype, c.v_row(op.kv, seq, kv_head, p), value.size(), value.data());
    for (std::size_t i = 0; i < value.size(); ++i) {
      out[i] += weight[p - begin] * value[i];
    }
  }
  float* to = c.f32(op.out, row) + head * op.kv.head_dim_v;
  for (std::size_t i = 0; i < out.size(); ++i) {
    to[i] = static_cast<float>(out[i] / sum);
  }
}

}  // namespace

double softcap(double value, float cap) {
  return cap > 0.0f ? cap * std::tanh(value / cap) : value;
}

void run(const ops::Attention& op, const Context& c) {
  for (std::uint32_t r = 0; r < c.step.n_row; ++r) {
    const std::uint32_t kv = c.step.row_kv[r];
    std::uint32_t begin = 0;
    std::uint32_t end = op.causal ? kv + 1 : c.step.kv_len[c.step.row_seq[r]];
    if (op.window != 0) {
      const std::uint32_t reach = op.causal ? op.window - 1 : op.window / 2;
      begin = kv > reach ? kv - reach : 0;
      end = static_cast<std::uint32_t>(std::min<std::uint64_t>(end, std::uint64_t{kv} + reach + 1));
    }
    for (std::uint32_t h = 0; h < op.n_head; ++h) {
      attend(op, c, r, h, begin, end);
    }
  }
}

}  // namespace lm::reference
