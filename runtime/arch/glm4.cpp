// GLM-4 (0414): norms before and after each part, rotary pairs on half of the head, gate and up in
// one matrix. Blocks that predict further tokens are not run. Source: GLM-4 (2024).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_TRY(const auto n_extra, keys.u32_or("nextn_predict_layers", 0, 0, h.n_layer - 1));
  h.n_layer -= n_extra;
  h.layers.resize(h.n_layer);
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add_normed(x, f.project(f.attention(f.norm(x, "attn_norm"), {.qkv_bias = Need::optional})),
                 "post_attention_norm");
    f.enter(x, il, Part::ffn);
    f.add_normed(x, f.project(f.ffn(f.norm(x, "ffn_norm"))), "post_ffw_norm");
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture glm4;
const Architecture glm4{.name = "glm4", .read = read, .build = build};

}  // namespace lm::arch
