// Parts with a recurrent state: gated delta net (Yang et al. 2024, as in Qwen3-Next) and short
// convolution (LFM2, 2025).
#include "runtime/model/forward.h"

namespace lm {

Value Forward::conv(const Value& x, std::string_view name, Activation act) {
  const std::uint32_t n_tap = h.recurrent.n_tap;
  const Value out = value(cols(x));
  emit(ops::CausalConv{.x = x.ref,
                       .weight = table(name, cols(x), n_tap),
                       .out = out.ref,
                       .act = act,
                       .state = state(0, std::uint64_t{n_tap - 1} * cols(x) * sizeof(float))});
  return out;
}

Projection Forward::delta_net(const Value& x) {
  const RecurrentParams& r = h.recurrent;
  const std::uint32_t v_cols = r.n_head_v * r.head_dim;
  const std::uint32_t channels = 2 * r.n_head_k * r.head_dim + v_cols;
  const Value in = here(x);
  const Value qkv = conv(linear(in, "attn_qkv", channels), "ssm_conv1d", Activation::silu);
  const Value gate = linear(in, "attn_gate", v_cols);
  const Value alpha = linear(in, "ssm_alpha", r.n_head_v);
  const Value beta = linear(in, "ssm_beta", r.n_head_v);
  const Value mixed = value(v_cols);
  const std::uint64_t conv_bytes = std::uint64_t{r.n_tap - 1} * channels * sizeof(float);
  emit(ops::DeltaNet{.qkv = qkv.ref,
                     .alpha = alpha.ref,
                     .beta = beta.ref,
                     .dt_bias = vector("ssm_dt", r.n_head_v, Need::required, ".bias"),
                     .a = vector("ssm_a", r.n_head_v, Need::required, ""),
                     .out = mixed.ref,
                     .n_head_k = r.n_head_k,
                     .n_head_v = r.n_head_v,
                     .head_dim = r.head_dim,
                     .eps = h.norm_eps,
                     .state = state(conv_bytes, std::uint64_t{r.n_head_v} * r.head_dim *
                                                    r.head_dim * sizeof(float))});
  emit(ops::Norm{.x = mixed.ref,
                 .out = mixed.ref,
                 .weight = vector("ssm_norm", r.head_dim),
                 .bias = {},
                 .group = r.head_dim,
                 .eps = h.norm_eps});
  leave_mixing();
  return projection(mul(gate, mixed, Activation::silu), "ssm_out", h.n_embd);
}

Projection Forward::short_convolution(const Value& x) {
  const std::uint32_t n = h.n_embd;
  const Value all = linear(x, "shortconv.in_proj", 3 * n);
  const Value gated = mul(slice(all, 0, n), slice(all, 2 * n, n));
  const Value mixed = conv(gated, "shortconv.conv", Activation::identity);
  leave_mixing();
  return projection(mul(slice(all, n, n), mixed), "shortconv.out_proj", n);
}

}  // namespace lm
