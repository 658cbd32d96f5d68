// The tensors of a decoder and the shapes that follow from its numbers: checked for all before any
// weight is read.
#include <fmt/core.h>

#include "runtime/model/architecture.h"

namespace lm {
namespace {

class TensorList {
 public:
  void matrix(std::string name, std::uint64_t cols, std::uint64_t rows, Role role,
              std::uint32_t layer, Need need = Need::required,
              std::vector<std::string> instead = {}) {
    list.push_back({std::move(name), cols, rows, need, role, layer, std::move(instead)});
  }
  void vector(std::string name, std::uint64_t n, Role role, std::uint32_t layer,
              Need need = Need::required) {
    if (need != Need::none) {
      list.push_back({std::move(name), n, 1, need, role, layer, {}});
    }
  }
  std::vector<TensorSpec> list;
};

void add_block(TensorList& t, const Hparams& h, const BlockSpec& spec, std::uint32_t layer) {
  const auto blk = [&](const char* name) { return fmt::format("blk.{}.{}", layer, name); };
  const std::uint64_t q = std::uint64_t{h.n_head} * h.head_dim_k;
  const std::uint64_t k = std::uint64_t{h.n_head_kv} * h.head_dim_k;
  const std::uint64_t v = std::uint64_t{h.n_head_kv} * h.head_dim_v;
  const Role attention = Role::attention;
  const std::vector<std::string> packed = {blk("attn_qkv.weight")};
  t.vector(blk("attn_norm.weight"), h.n_embd, attention, layer);
  t.matrix(blk("attn_qkv.weight"), h.n_embd, q + k + v, attention, layer, Need::optional);
  t.matrix(blk("attn_q.weight"), h.n_embd, q, attention, layer, Need::required, packed);
  t.matrix(blk("attn_k.weight"), h.n_embd, k, attention, layer, Need::required, packed);
  t.matrix(blk("attn_v.weight"), h.n_embd, v, attention, layer, Need::required, packed);
  t.matrix(blk("attn_output.weight"), std::uint64_t{h.n_head} * h.head_dim_v, h.n_embd, attention,
           layer);
  if (spec.qkv_bias != Need::none) {
    const std::vector<std::string> packed_bias = {blk("attn_qkv.bias")};
    t.vector(blk("attn_qkv.bias"), q + k + v, attention, layer, Need::optional);
    t.matrix(blk("attn_q.bias"), q, 1, attention, layer, spec.qkv_bias, packed_bias);
    t.matrix(blk("attn_k.bias"), k, 1, attention, layer, spec.qkv_bias, packed_bias);
    t.matrix(blk("attn_v.bias"), v, 1, attention, layer, spec.qkv_bias, packed_bias);
  }
  t.vector(blk("attn_output.bias"), h.n_embd, attention, layer, spec.output_bias);
  if (spec.qk_norm) {
    t.vector(blk("attn_q_norm.weight"), h.head_dim_k, attention, layer);
    t.vector(blk("attn_k_norm.weight"), h.head_dim_k, attention, layer);
  }
  t.vector(blk("ffn_norm.weight"), h.n_embd, Role::ffn, layer);
  t.matrix(blk("ffn_gate.weight"), h.n_embd, h.n_ff, Role::ffn, layer);
  t.matrix(blk("ffn_up.weight"), h.n_embd, h.n_ff, Role::ffn, layer);
  t.matrix(blk("ffn_down.weight"), h.n_ff, h.n_embd, Role::ffn, layer);
  t.vector(blk("ffn_gate.bias"), h.n_ff, Role::ffn, layer, spec.ffn_bias);
  t.vector(blk("ffn_up.bias"), h.n_ff, Role::ffn, layer, spec.ffn_bias);
  t.vector(blk("ffn_down.bias"), h.n_embd, Role::ffn, layer, spec.ffn_bias);
}

}  // namespace

std::vector<TensorSpec> decoder_tensors(const Hparams& h, const Architecture& architecture) {
  TensorList t;
  t.matrix("token_embd.weight", h.n_embd, h.n_vocab, Role::embedding, 0);
  t.vector("output_norm.weight", h.n_embd, Role::output, 0);
  t.vector("output_norm.bias", h.n_embd, Role::output, 0, architecture.output_norm_bias);
  t.matrix("output.weight", h.n_embd, h.n_vocab, Role::output, 0, architecture.output_weight);
  t.vector("output.bias", h.n_vocab, Role::output, 0, Need::optional);
  if (h.n_rot > 0) {
    t.vector("rope_freqs.weight", h.n_rot / 2, Role::constant, 0, Need::optional);
    t.vector("rope_factors_long.weight", h.n_rot / 2, Role::constant, 0, Need::optional);
    t.vector("rope_factors_short.weight", h.n_rot / 2, Role::constant, 0, Need::optional);
  }
  for (std::uint32_t layer = 0; layer < h.n_layer; ++layer) {
    add_block(t, h, architecture.block(h, layer), layer);
  }
  return std::move(t.list);
}

}  // namespace lm
