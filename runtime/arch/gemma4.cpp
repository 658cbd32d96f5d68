// Gemma 4: windows with heads of their own size, values normalised too, the last layers read the
// KV of earlier ones, optional experts beside the dense FFN, and an embedding per layer that is
// gated in at its end. Source: Gemma 4 and Gemma 3n (2025) model descriptions.
#include <algorithm>
#include <cmath>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<void> read_layers(const ArchKeys& keys, Hparams& h) {
  LM_TRY(const auto window, keys.get_u32("attention.sliding_window", 1, 1u << 27));
  LM_TRY(const auto pattern,
         keys.per_layer_or("attention.sliding_window_pattern", h.n_layer, 1, 0, 1));
  LM_TRY(const auto dim_k, keys.u32_or("attention.key_length_swa", h.head_dim_k, 1, 1024));
  LM_TRY(const auto dim_v, keys.u32_or("attention.value_length_swa", h.head_dim_v, 1, 1024));
  LM_TRY(const auto n_shared, keys.u32_or("attention.shared_kv_layers", 0, 0, h.n_layer - 1));
  const std::uint32_t n_own = h.n_layer - n_shared;
  if (n_shared > 0 && n_own < 2) {
    return fail(ErrorCode::bad_value, keys.name("attention.shared_kv_layers"),
                "leaves no two layers with KV of their own");
  }
  for (std::uint32_t il = 0; il < h.n_layer; ++il) {
    LayerParams& p = h.layers[il];
    const bool windowed = pattern[il] != 0;
    if (windowed) {
      p.window = window;
      p.head_dim_k = dim_k;
      p.head_dim_v = dim_v;
    }
    if (il >= n_own) {
      p.kv_source = static_cast<std::int32_t>(windowed ? n_own - 2 : n_own - 1);
      const LayerParams& source = h.layers[static_cast<std::uint32_t>(p.kv_source)];
      if (source.head_dim_k != p.head_dim_k || source.n_head_kv != p.n_head_kv) {
        return fail(ErrorCode::bad_value, keys.name("attention.shared_kv_layers"),
                    "makes layers share KV whose heads differ");
      }
    }
  }
  h.rope_window.use_factors = false;
  LM_TRY(h.rope_window.freq_base, keys.nonzero_float_or("rope.freq_base_swa", 10000.0f));
  LM_TRY(h.rope_window.n_rot,
         keys.u32_or("rope.dimension_count_swa", std::min(h.rope.n_rot, dim_k), 0, dim_k));
  return {};
}

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  h.embedding_scale = std::sqrt(static_cast<float>(h.n_embd));
  h.attention_scale = 1.0f;
  LM_TRY(h.logit_softcap, keys.float_or("final_logit_softcapping", 30.0f));
  LM_TRY(h.n_embd_per_layer, keys.u32_or("embedding_length_per_layer_input", 0, 0, 1u << 16));
  LM_CHECK(read_layers(keys, h));
  LM_CHECK(read_moe(keys, h, false));
  h.moe.normalize = true;
  return h;
}

/// What every layer gets from the token itself and from its embedding: [n_layer][n_embd_per_layer].
Value per_layer_inputs(Forward& f, const Value& x0) {
  const std::uint32_t e = f.h.n_embd_per_layer;
  const std::uint32_t n = e * f.h.n_layer;
  const Value token = f.value(n);
  f.emit(ops::Embed{.table = f.matrix("per_layer_token_embd", n, f.h.n_vocab),
                    .out = token.ref,
                    .positions = {},
                    .add = {},
                    .scale = std::sqrt(static_cast<float>(e)),
                    .takes_input = false});
  const Value projected = f.scaled(f.linear(x0, "per_layer_model_proj", n),
                                   1.0f / std::sqrt(static_cast<float>(f.h.n_embd)));
  f.emit(ops::Norm{.x = projected.ref,
                   .out = projected.ref,
                   .weight = f.vector("per_layer_proj_norm", e),
                   .bias = {},
                   .group = e,
                   .eps = f.h.norm_eps});
  const float half = std::sqrt(0.5f);
  f.emit(ops::Add{
      .a = token.ref, .b = projected.ref, .out = token.ref, .factor_a = half, .factor_b = half});
  return token;
}

/// The dense FFN, and beside it the experts with norms of their own.
Value mixed_ffn(Forward& f, const Value& x) {
  const FfnSpec dense{.act = Activation::gelu_tanh};
  if (!f.has("ffn_gate_inp")) {
    return f.project(f.ffn(f.norm(x, "ffn_norm"), dense));
  }
  const Value a = f.norm(f.project(f.ffn(f.norm(x, "ffn_norm"), dense)), "post_ffw_norm_1");
  Value router = f.value(f.h.n_embd, x.rows);
  f.emit(ops::Norm{.x = x.ref,
                   .out = router.ref,
                   .weight = f.vector("ffn_gate_inp", f.h.n_embd, Need::required, ".scale"),
                   .bias = {},
                   .eps = f.h.norm_eps,
                   .rows = x.rows});
  router = f.scaled(router, 1.0f / std::sqrt(static_cast<float>(f.h.n_embd)));
  const Value experts =
      f.moe(f.norm(x, "pre_ffw_norm_2"), router,
            {.act = Activation::gelu_tanh, .fused_gate_up = true, .expert_scale = true});
  Value sum = f.norm(experts, "post_ffw_norm_2");
  f.emit(ops::Add{.a = a.ref, .b = sum.ref, .out = sum.ref, .rows = sum.rows});
  return sum;
}

void add_layer_input(Forward& f, Value& x, const Value& inputs, std::uint32_t il) {
  const std::uint32_t e = f.h.n_embd_per_layer;
  const Value gate = f.linear(x, "inp_gate", e);
  const Value gated = f.mul(gate, f.slice(inputs, il * e, e), Activation::gelu_tanh);
  f.add_normed(x, f.linear(gated, "proj", f.h.n_embd), "post_norm");
}

void build(Forward& f) {
  Value x = f.embed();
  const bool has_inputs = f.h.n_embd_per_layer > 0;
  const Value inputs = has_inputs ? per_layer_inputs(f, x) : Value{};
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const AttentionSpec attention{.rope = RopeKind::halves,
                                  .rope_params = f.lp().window > 0 ? &f.h.rope_window : nullptr,
                                  .qk_norm = QkNorm::head,
                                  .v_norm = true,
                                  .v_is_k = true};
    f.add_normed(x, f.project(f.attention(f.norm(x, "attn_norm"), attention)),
                 "post_attention_norm");
    f.enter(x, il, Part::ffn);
    f.add_normed(x, mixed_ffn(f, x), "post_ffw_norm");
    if (has_inputs) {
      add_layer_input(f, x, inputs, il);
    }
    if (const TensorRef scale = f.vector("layer_output_scale", 1, Need::optional); !scale.empty()) {
      f.emit(ops::Mul{.a = scale, .b = x.ref, .out = x.ref, .a_constant = true, .rows = x.rows});
    }
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture gemma4;
const Architecture gemma4{.name = "gemma4", .read = read, .build = build};

}  // namespace lm::arch
