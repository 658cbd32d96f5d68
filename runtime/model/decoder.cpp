#include "runtime/model/decoder.h"

#include <cmath>

#include <fmt/core.h>

namespace lm {
namespace {

std::string blk(std::uint32_t layer, std::string_view name) {
  return fmt::format("blk.{}.{}", layer, name);
}

/// One plan in the making; a block reads top to bottom as in the paper.
class DecoderEmitter {
 public:
  DecoderEmitter(const DecoderInputs& in, std::uint32_t max_rows, std::uint32_t max_outputs)
      : in_(in), h_(in.hparams), b_(in.weights, in.n_device, max_rows, max_outputs) {}

  Plan run() {
    Value x = embed();
    for (std::uint32_t layer = 0; layer < h_.n_layer; ++layer) {
      const BlockSpec spec = in_.architecture.block(h_, layer);
      x = attention(x, layer, spec);
      x = ffn(x, layer, spec);
    }
    b_.begin_head();
    return b_.finish(logits(x));
  }

 private:
  Value embed() {
    const std::uint16_t device = in_.placement.embedding;
    const Value x = b_.value(device, h_.n_embd);
    b_.emit(device, ops::Embed{.table = b_.weight("token_embd.weight", device), .out = x.ref});
    return x;
  }

  Value norm(const Value& x, const std::string& name, RowSet rows = RowSet::step) {
    const Value out = b_.value(x.device, h_.n_embd, rows);
    b_.emit(x.device, ops::Norm{.x = x.ref,
                                .out = out.ref,
                                .weight = b_.weight(name + ".weight", x.device),
                                .bias = b_.weight(name + ".bias", x.device),
                                .eps = h_.norm_eps,
                                .rows = rows});
    return out;
  }

  /// Adds x W^T to the residual stream.
  void project_into(const Value& residual, const Value& x, std::uint32_t layer,
                    std::string_view name) {
    b_.emit(x.device, ops::MatMul{.x = x.ref,
                                  .weight = b_.weight(blk(layer, name) + ".weight", x.device),
                                  .bias = b_.weight(blk(layer, name) + ".bias", x.device),
                                  .out = residual.ref,
                                  .accumulate = true});
  }

  Value attention(const Value& residual, std::uint32_t layer, const BlockSpec& spec) {
    const std::uint16_t device = in_.placement.of(layer, Part::attention);
    const Value x = b_.on(device, residual);
    const KvRef& kv = in_.kv.layers[layer];
    const std::uint32_t q_cols = h_.n_head * h_.head_dim_k;
    const std::uint32_t k_cols = h_.n_head_kv * h_.head_dim_k;
    const std::uint32_t v_cols = h_.n_head_kv * h_.head_dim_v;

    const Value normed = norm(x, blk(layer, "attn_norm"));
    const Value q = b_.value(device, q_cols);
    const Value k = b_.value(device, k_cols);
    const Value v = b_.value(device, v_cols);
    ops::QkvMatMul qkv{.x = normed.ref,
                       .wq = {},
                       .wk = {},
                       .wv = {},
                       .bq = {},
                       .bk = {},
                       .bv = {},
                       .q = q.ref,
                       .k = k.ref,
                       .v = v.ref};
    if (const TensorRef packed = b_.weight(blk(layer, "attn_qkv.weight"), device);
        !packed.empty()) {
      qkv.wq = PlanBuilder::slice_rows(packed, 0, q_cols);
      qkv.wk = PlanBuilder::slice_rows(packed, q_cols, k_cols);
      qkv.wv = PlanBuilder::slice_rows(packed, q_cols + k_cols, v_cols);
      if (TensorRef bias = b_.weight(blk(layer, "attn_qkv.bias"), device); !bias.empty()) {
        qkv.bq = slice_cols(bias, 0, q_cols);
        qkv.bk = slice_cols(bias, q_cols, k_cols);
        qkv.bv = slice_cols(bias, q_cols + k_cols, v_cols);
      }
    } else {
      qkv.wq = b_.weight(blk(layer, "attn_q.weight"), device);
      qkv.wk = b_.weight(blk(layer, "attn_k.weight"), device);
      qkv.wv = b_.weight(blk(layer, "attn_v.weight"), device);
      qkv.bq = b_.weight(blk(layer, "attn_q.bias"), device);
      qkv.bk = b_.weight(blk(layer, "attn_k.bias"), device);
      qkv.bv = b_.weight(blk(layer, "attn_v.bias"), device);
    }
    b_.emit(device, qkv);

    const bool rotates = spec.rope != RopeKind::none;
    b_.emit(device, ops::RopeKvWrite{
                        .q = q.ref,
                        .k = k.ref,
                        .v = v.ref,
                        .q_norm = spec.qk_norm ? b_.weight(blk(layer, "attn_q_norm.weight"), device)
                                               : TensorRef{},
                        .k_norm = spec.qk_norm ? b_.weight(blk(layer, "attn_k_norm.weight"), device)
                                               : TensorRef{},
                        .norm_eps = h_.norm_eps,
                        .rope = spec.rope,
                        .n_rot = rotates ? h_.n_rot : 0,
                        .inv_freq = rotates ? b_.constant("inv_freq", device, in_.rope.inv_freq)
                                            : TensorRef{},
                        .magnitude = in_.rope.magnitude,
                        .n_head = h_.n_head,
                        .kv = kv});

    const Value mixed = b_.value(device, h_.n_head * h_.head_dim_v);
    const float scale = h_.attention_scale > 0.0f
                            ? h_.attention_scale
                            : static_cast<float>(1.0 / std::sqrt(double{1} * h_.head_dim_k));
    b_.emit(device, ops::Attention{.q = q.ref,
                                   .out = mixed.ref,
                                   .n_head = h_.n_head,
                                   .scale = scale,
                                   .window = spec.window,
                                   .sinks = {},
                                   .kv = kv});
    project_into(x, mixed, layer, "attn_output");
    return x;
  }

  Value ffn(const Value& residual, std::uint32_t layer, const BlockSpec& spec) {
    const std::uint16_t device = in_.placement.of(layer, Part::ffn);
    const Value x = b_.on(device, residual);
    const Value normed = norm(x, blk(layer, "ffn_norm"));
    const Value gated = b_.value(device, h_.n_ff);
    b_.emit(device, ops::GatedFfn{.x = normed.ref,
                                  .w_gate = b_.weight(blk(layer, "ffn_gate.weight"), device),
                                  .w_up = b_.weight(blk(layer, "ffn_up.weight"), device),
                                  .b_gate = b_.weight(blk(layer, "ffn_gate.bias"), device),
                                  .b_up = b_.weight(blk(layer, "ffn_up.bias"), device),
                                  .out = gated.ref,
                                  .act = spec.activation});
    project_into(x, gated, layer, "ffn_down");
    return x;
  }

  Value logits(const Value& hidden) {
    const std::uint16_t device = in_.placement.output;
    const Value picked = b_.value(hidden.device, h_.n_embd, RowSet::outputs);
    b_.emit(hidden.device, ops::GatherRows{hidden.ref, picked.ref});
    const Value normed = norm(b_.on(device, picked), "output_norm", RowSet::outputs);
    TensorRef weight = b_.weight("output.weight", device);
    if (weight.empty()) {
      weight = b_.weight("token_embd.weight", device);
    }
    const Value out = b_.value(device, h_.n_vocab, RowSet::outputs);
    b_.emit(device, ops::Logits{.x = normed.ref,
                                .weight = weight,
                                .bias = b_.weight("output.bias", device),
                                .out = out.ref});
    return out;
  }

  static TensorRef slice_cols(const TensorRef& vector, std::uint32_t begin, std::uint32_t n) {
    TensorRef part = vector;
    part.offset += std::uint64_t{begin} * sizeof(float);
    part.cols = n;
    return part;
  }

  const DecoderInputs& in_;
  const Hparams& h_;
  PlanBuilder b_;
};

}  // namespace

Plan build_decoder_plan(const DecoderInputs& in, std::uint32_t max_rows,
                        std::uint32_t max_outputs) {
  return DecoderEmitter(in, max_rows, max_outputs).run();
}

}  // namespace lm
