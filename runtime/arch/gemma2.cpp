// Gemma 2: norms before and after each part, soft caps on scores and logits, every second layer
// sees a window only. Source: Gemma 2 (2024).
#include <cmath>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

constexpr std::uint32_t kLayersOf27B = 46;  // scales by the model's width instead of the head's

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  h.embedding_scale = std::sqrt(static_cast<float>(h.n_embd));
  LM_TRY(h.attention_softcap, keys.float_or("attn_logit_softcapping", 50.0f));
  LM_TRY(h.logit_softcap, keys.float_or("final_logit_softcapping", 30.0f));
  LM_TRY(h.rope_window.freq_base, keys.nonzero_float_or("rope.freq_base_swa", h.rope.freq_base));
  LM_TRY(const auto window, keys.u32_or("attention.sliding_window", 4096, 0, 1u << 27));
  for (std::uint32_t il = 0; il < h.n_layer; il += 2) {
    h.layers[il].window = window;
  }
  if (h.n_layer == kLayersOf27B) {
    h.attention_scale = 1.0f / std::sqrt(static_cast<float>(h.n_embd / h.n_head));
  }
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const AttentionSpec attention{.rope = RopeKind::halves,
                                  .rope_params = f.lp().window > 0 ? &f.h.rope_window : nullptr};
    f.add_normed(x, f.project(f.attention(f.norm(x, "attn_norm"), attention)),
                 "post_attention_norm");
    f.enter(x, il, Part::ffn);
    f.add_normed(x, f.project(f.ffn(f.norm(x, "ffn_norm"), {.act = Activation::gelu_tanh})),
                 "post_ffw_norm");
  }
  f.finish_with(x, "output_norm", kRmsNorm, Need::none);
}

}  // namespace

extern const Architecture gemma2;
const Architecture gemma2{.name = "gemma2", .read = read, .build = build};

}  // namespace lm::arch
