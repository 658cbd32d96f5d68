// Attention parts: grouped queries (Ainslie et al. 2023) and latent attention (DeepSeek-V2 2024).
#include <bit>
#include <cmath>

#include "runtime/model/forward.h"

namespace lm {
namespace {

/// Slopes of ALiBi (Press et al. 2022), also for head counts that are no power of two.
std::vector<float> alibi_slopes(std::uint32_t n_head, double max_bias) {
  const std::uint32_t n = std::bit_floor(n_head);
  std::vector<float> slopes;
  for (std::uint32_t i = 0; i < n_head; ++i) {
    const double exponent = i < n ? -max_bias * (i + 1) / n : -max_bias / 2 * (2 * (i - n) + 1) / n;
    slopes.push_back(static_cast<float>(std::exp2(exponent)));
  }
  return slopes;
}

}  // namespace

Forward::Heads Forward::project_heads(const Value& x, const AttentionSpec& spec) {
  const LayerParams& p = lp();
  const std::uint32_t q_cols = p.n_head * p.head_dim_k * (spec.gated ? 2 : 1);
  const std::uint32_t k_cols = p.n_head_kv * p.head_dim_k;
  const std::uint32_t v_cols = p.n_head_kv * p.head_dim_v;
  const Value in = here(x);
  Heads heads;
  if (p.kv_source >= 0) {
    heads.q = linear(in, "attn_q", q_cols, spec.qkv_bias);
    return heads;
  }
  heads.q = value(q_cols);
  heads.k = value(k_cols);
  heads.v = value(v_cols);
  ops::QkvMatMul op{.x = in.ref,
                    .wq = {},
                    .wk = {},
                    .wv = {},
                    .bq = {},
                    .bk = {},
                    .bv = {},
                    .q = heads.q.ref,
                    .k = heads.k.ref,
                    .v = heads.v.ref};
  if (has("attn_qkv")) {
    const TensorRef packed = matrix("attn_qkv", h.n_embd, q_cols + k_cols + v_cols);
    op.wq = PlanBuilder::slice_rows(packed, 0, q_cols);
    op.wk = PlanBuilder::slice_rows(packed, q_cols, k_cols);
    op.wv = PlanBuilder::slice_rows(packed, q_cols + k_cols, v_cols);
    if (const TensorRef b = bias("attn_qkv", q_cols + k_cols + v_cols, spec.qkv_bias); !b.empty()) {
      op.bq = PlanBuilder::slice_cols(b, 0, q_cols);
      op.bk = PlanBuilder::slice_cols(b, q_cols, k_cols);
      op.bv = PlanBuilder::slice_cols(b, q_cols + k_cols, v_cols);
    }
  } else {
    op.wq = matrix("attn_q", h.n_embd, q_cols);
    op.wk = matrix("attn_k", h.n_embd, k_cols);
    op.wv = spec.v_is_k && !has("attn_v") ? op.wk : matrix("attn_v", h.n_embd, v_cols);
    op.bq = bias("attn_q", q_cols, spec.qkv_bias);
    op.bk = bias("attn_k", k_cols, spec.qkv_bias);
    op.bv = bias("attn_v", v_cols, spec.qkv_bias);
  }
  emit(op);
  if (spec.gated) {
    const Value both = heads.q;
    heads.q = slice(both, 0, p.head_dim_k, p.n_head);
    heads.gate = slice(both, p.head_dim_k, p.head_dim_k, p.n_head);
  }
  return heads;
}

void Forward::norm_heads(const AttentionSpec& spec, Heads& heads) {
  const bool by_head = spec.qk_norm == QkNorm::head_layer;
  const NormKind kind = spec.qk_norm == QkNorm::row ? NormKind::rms : NormKind::layer;
  const Need bias_need = spec.qk_norm == QkNorm::row_layer ? Need::required : Need::none;
  const auto apply = [&](const Value& x, const char* name) {
    if (spec.qk_norm_need == Need::optional && !has(name)) {
      return;
    }
    emit(ops::Norm{.kind = kind,
                   .x = x.ref,
                   .out = x.ref,
                   .weight = vector(name, cols(x)),
                   .bias = bias(name, cols(x), bias_need),
                   .group = by_head ? lp().head_dim_k : 0,
                   .eps = h.norm_eps});
  };
  apply(heads.q, "attn_q_norm");
  if (!heads.k.ref.empty()) {
    apply(heads.k, "attn_k_norm");
  }
}

Projection Forward::attention(const Value& x, const AttentionSpec& spec) {
  const LayerParams& p = lp();
  Heads heads = project_heads(x, spec);
  const bool writes = p.kv_source < 0;
  const bool head_norm = spec.qk_norm == QkNorm::head;
  if (spec.qk_norm != QkNorm::none && !head_norm) {
    norm_heads(spec, heads);
  }
  const RopeParams& rope = spec.rope_params != nullptr ? *spec.rope_params : h.rope;
  const bool rotates = spec.rope != RopeKind::none && rope.n_rot > 0;
  ops::RopeKvWrite write{
      .q = heads.q.ref,
      .k = heads.k.ref,
      .v = heads.v.ref,
      .q_norm = head_norm ? vector("attn_q_norm", p.head_dim_k, spec.qk_norm_need) : TensorRef{},
      .k_norm = head_norm && writes ? vector("attn_k_norm", p.head_dim_k, spec.qk_norm_need)
                                    : TensorRef{},
      .v_norm = spec.v_norm && writes,
      .norm_eps = h.norm_eps,
      .rope = rotates ? spec.rope : RopeKind::none,
      .n_rot = rotates ? rope.n_rot : 0,
      .inv_freq = {},
      .temperature = h.attention_temperature,
      .temperature_length = static_cast<float>(rope.n_ctx_orig),
      .n_head = p.n_head,
      .kv = kv()};
  if (rotates) {
    write.inv_freq = inv_freq(rope, write.magnitude);
  }
  emit(write);
  Value mixed = value(p.n_head * p.head_dim_v);
  emit(ops::Attention{
      .q = heads.q.ref,
      .out = mixed.ref,
      .n_head = p.n_head,
      .scale = attention_scale(p.head_dim_k),
      .softcap = h.attention_softcap,
      .window = p.window,
      .causal = h.causal,
      .sinks = spec.sinks ? vector("attn_sinks", p.n_head) : TensorRef{},
      .slopes = spec.alibi ? constant("alibi", alibi_slopes(p.n_head, 8.0)) : TensorRef{},
      .kv = kv()});
  leave_mixing();
  if (spec.gated) {
    mixed = mul(heads.gate, mixed, Activation::sigmoid);
  }
  return projection(mixed, spec.output, h.n_embd, spec.output_bias);
}

Projection Forward::latent_attention(const Value& x) {
  const LayerParams& p = lp();
  const MlaParams& m = h.mla;
  const std::uint32_t n_rot = h.rope.n_rot;
  const std::uint32_t q_width = m.n_nope + n_rot;
  Value q;
  if (m.q_rank > 0) {
    const Value low = norm(linear(x, "attn_q_a", m.q_rank), "attn_q_a_norm");
    q = linear(low, "attn_q_b", p.n_head * q_width);
  } else {
    q = linear(x, "attn_q", p.n_head * q_width);
  }
  const Value both = linear(x, "attn_kv_a_mqa", m.kv_rank + n_rot);
  const Value latent = norm(slice(both, 0, m.kv_rank), "attn_kv_a_norm");
  const Value k = value(p.n_head_kv * p.head_dim_k);
  ops::CopyCols rotated{.x = both.ref,
                        .out = k.ref,
                        .groups = p.n_head_kv,
                        .x_groups = 1,
                        .x_width = m.kv_rank + n_rot,
                        .x_begin = m.kv_rank,
                        .out_width = p.head_dim_k,
                        .out_begin = p.head_dim_k - n_rot,
                        .n = n_rot};
  Value v{};
  ops::CopyCols plain{.x = latent.ref,
                      .out = k.ref,
                      .groups = p.n_head_kv,
                      .x_groups = 1,
                      .x_width = m.kv_rank,
                      .x_begin = 0,
                      .out_width = p.head_dim_k,
                      .out_begin = 0,
                      .n = m.kv_rank};
  if (p.v_in_k) {
    // Absorbed: the key projection moves to the query, so that the cache holds the latent alone.
    const Value wide = value(p.n_head * p.head_dim_k);
    emit(
        ops::HeadMatMul{.x = q.ref,
                        .weight = matrix("attn_k_b", m.n_nope, std::uint64_t{m.kv_rank} * p.n_head),
                        .out = wide.ref,
                        .n_head = p.n_head,
                        .x_width = q_width,
                        .out_width = p.head_dim_k});
    emit(ops::CopyCols{.x = q.ref,
                       .out = wide.ref,
                       .groups = p.n_head,
                       .x_groups = p.n_head,
                       .x_width = q_width,
                       .x_begin = m.n_nope,
                       .out_width = p.head_dim_k,
                       .out_begin = m.kv_rank,
                       .n = n_rot});
    q = wide;
  } else {
    const Value kv_b = linear(latent, "attn_kv_b", p.n_head * (m.n_nope + m.n_v));
    plain.x = kv_b.ref;
    plain.x_groups = p.n_head;
    plain.x_width = m.n_nope + m.n_v;
    plain.n = m.n_nope;
    v = slice(kv_b, m.n_nope, m.n_v, p.n_head);
  }
  emit(plain);
  emit(rotated);
  ops::RopeKvWrite write{.q = q.ref,
                         .k = k.ref,
                         .v = v.ref,
                         .q_norm = {},
                         .k_norm = {},
                         .rope = RopeKind::pairs,
                         .n_rot = n_rot,
                         .rot_begin = p.head_dim_k - n_rot,
                         .inv_freq = {},
                         .n_head = p.n_head,
                         .kv = kv()};
  write.inv_freq = inv_freq(h.rope, write.magnitude);
  emit(write);
  const Value mixed = value(p.n_head * p.head_dim_v);
  emit(ops::Attention{.q = q.ref,
                      .out = mixed.ref,
                      .n_head = p.n_head,
                      .scale = attention_scale(q_width),
                      .sinks = {},
                      .slopes = {},
                      .kv = kv()});
  if (!p.v_in_k) {
    leave_mixing();
    return projection(mixed, "attn_output", h.n_embd);
  }
  const Value values = value(p.n_head * m.n_v);
  emit(ops::HeadMatMul{.x = mixed.ref,
                       .weight = matrix("attn_v_b", m.kv_rank, std::uint64_t{m.n_v} * p.n_head),
                       .out = values.ref,
                       .n_head = p.n_head,
                       .x_width = m.kv_rank,
                       .out_width = m.n_v});
  leave_mixing();
  return projection(values, "attn_output", h.n_embd);
}

}  // namespace lm
