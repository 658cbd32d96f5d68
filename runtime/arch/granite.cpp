// Granite 3 and 4 (dense) and its mixture-of-experts sibling: a llama block with four multipliers
// (embedding, attention, residual, logits). Source: Granite 3.0 (2024), maximal update
// parametrisation.
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_TRY(const float logit_scale, keys.get_positive_float("logit_scale"));
  h.logit_scale = 1.0f / logit_scale;
  LM_TRY(h.residual_scale, keys.nonzero_float_or("residual_scale", 1.0f));
  LM_TRY(h.embedding_scale, keys.nonzero_float_or("embedding_scale", 1.0f));
  LM_TRY(h.attention_scale, keys.float_or("attention.scale", 0.0f));
  LM_TRY(const bool rotates, keys.bool_or("rope.scaling.finetuned", true));
  if (!rotates) {
    h.rope.n_rot = 0;  // what the key means in these files
  }
  LM_CHECK(read_moe(keys, h, false));
  if (h.moe.n_expert > 0) {
    h.moe.normalize = true;
    LM_TRY(h.moe.n_ff_shared, keys.u32_or("expert_shared_feed_forward_length", 0, 0, 1u << 22));
  }
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.attention(f.norm(x, "attn_norm"),
                         {.qkv_bias = Need::optional, .output_bias = Need::optional}));
    f.enter(x, il, Part::ffn);
    const Value n = f.norm(x, "ffn_norm");
    if (f.h.moe.n_expert > 0) {
      f.add(x, f.moe(n));
    } else {
      f.add(x, f.ffn(n, {.bias = Need::optional}));
    }
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture granite;
extern const Architecture granitemoe;
const Architecture granite{.name = "granite", .read = read, .build = build};
const Architecture granitemoe{.name = "granitemoe", .read = read, .build = build};

}  // namespace lm::arch
