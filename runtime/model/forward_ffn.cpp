// Feed-forward parts: dense and mixtures of experts.
#include <fmt/core.h>

#include "runtime/model/forward.h"

namespace lm {

Projection Forward::dense(const Value& x, std::string_view suffix, std::uint32_t n_ff,
                          const FfnSpec& spec) {
  const auto name = [&](const char* part) { return fmt::format("{}{}", part, suffix); };
  // Without a gate of its own a gated FFN has both halves in "up", the gate first.
  const bool fused = spec.gated && !has(name("ffn_gate"));
  const Value in = here(x);
  ops::GatedFfn op{.x = in.ref,
                   .w_gate = {},
                   .w_up = matrix(name("ffn_up"), cols(x), fused ? 2 * n_ff : n_ff),
                   .b_gate = {},
                   .b_up = bias(name("ffn_up"), fused ? 2 * n_ff : n_ff, spec.bias),
                   .out = value(n_ff, in.rows).ref,
                   .act = spec.act,
                   .rows = in.rows};
  const Value out{device_, op.out, in.rows};
  if (fused) {
    const TensorRef both = op.w_up;
    op.w_gate = PlanBuilder::slice_rows(both, 0, n_ff);
    op.w_up = PlanBuilder::slice_rows(both, n_ff, n_ff);
    if (!op.b_up.empty()) {
      op.b_gate = PlanBuilder::slice_cols(op.b_up, 0, n_ff);
      op.b_up = PlanBuilder::slice_cols(op.b_up, n_ff, n_ff);
    }
  } else if (spec.gated) {
    op.w_gate = matrix(name("ffn_gate"), cols(x), n_ff);
    op.b_gate = bias(name("ffn_gate"), n_ff, spec.bias);
  }
  emit(op);
  return projection(out, name("ffn_down"), h.n_embd, spec.bias);
}

Projection Forward::ffn(const Value& x, const FfnSpec& spec) {
  return dense(x, "", lp().n_ff, spec);
}

Value Forward::moe(const Value& x, const MoeSpec& spec) {
  return moe(x, x, spec);
}

Value Forward::moe(const Value& x, const Value& router_x, const MoeSpec& spec) {
  const MoeParams& p = h.moe;
  const Value logits = linear(router_x, "ffn_gate_inp", p.n_expert, spec.bias);
  Value ids = value(p.n_used, logits.rows, DType::i32);
  Value weights = value(p.n_used, logits.rows);
  emit(ops::MoeRoute{
      .logits = logits.ref,
      .bias = spec.selection_bias ? vector("exp_probs_b", p.n_expert, Need::optional, ".bias")
                                  : TensorRef{},
      .expert_scale = spec.expert_scale
                          ? vector("ffn_down_exps", p.n_expert, Need::optional, ".scale")
                          : TensorRef{},
      .ids = ids.ref,
      .weights = weights.ref,
      .gating = p.gating,
      .normalize = p.normalize,
      .scale = p.scale,
      .n_group = p.n_group,
      .n_group_used = p.n_group_used,
      .rows = logits.rows});

  const std::uint32_t at = layer_;
  at_layer(at, Part::experts);
  const std::uint64_t rows = std::uint64_t{p.n_ff} * p.n_expert;
  const bool fused = spec.fused_gate_up && has("ffn_gate_up_exps");
  const Value in = here(x);
  ops::MoeFfn op{.x = in.ref,
                 .ids = here(ids).ref,
                 .weights = here(weights).ref,
                 .w_gate = {},
                 .w_up = {},
                 .w_down = matrix("ffn_down_exps", p.n_ff, std::uint64_t{h.n_embd} * p.n_expert),
                 .b_gate = table("ffn_gate_exps", p.n_expert, p.n_ff, spec.bias, ".bias"),
                 .b_up = table("ffn_up_exps", p.n_expert, p.n_ff, spec.bias, ".bias"),
                 .b_down = table("ffn_down_exps", p.n_expert, h.n_embd, spec.bias, ".bias"),
                 .out = value(h.n_embd, in.rows).ref,
                 .n_expert = p.n_expert,
                 .n_ff = p.n_ff,
                 .expert_stride = fused ? 2 * p.n_ff : p.n_ff,
                 .act = spec.act,
                 .rows = in.rows};
  if (fused) {
    op.w_gate = matrix("ffn_gate_up_exps", h.n_embd, 2 * rows);
    op.w_up =
        PlanBuilder::slice_rows(op.w_gate, p.n_ff, static_cast<std::uint32_t>(2 * rows - p.n_ff));
  } else {
    op.w_gate = matrix("ffn_gate_exps", h.n_embd, rows);
    op.w_up = matrix("ffn_up_exps", h.n_embd, rows);
  }
  Value out{device_, op.out, in.rows};
  emit(op);
  at_layer(at, Part::ffn);
  if (p.n_ff_shared > 0) {
    Value shared = project(dense(x, "_shexp", p.n_ff_shared, {.act = spec.act}));
    if (spec.shared_gate) {
      shared = mul(linear(x, "ffn_gate_inp_shexp", 1), shared, Activation::sigmoid);
    }
    out = here(out);
    emit(ops::Add{.a = out.ref, .b = shared.ref, .out = out.ref, .rows = out.rows});
  }
  return out;
}

}  // namespace lm
