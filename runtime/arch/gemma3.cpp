// Gemma 3 and EmbeddingGemma: Gemma 2's sandwich of norms, q and k normalised per head instead of
// soft caps; five of six layers see a window and turn with a base of their own. EmbeddingGemma is
// the same as an encoder: every token sees every other one, and a mean is the result. Sources:
// Gemma 3 (2025), EmbeddingGemma (2025).
#include <cmath>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

constexpr std::uint32_t kPeriod = 6;
constexpr std::uint32_t kLayersOf27B = 62;  // scales by the model's width instead of the head's

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  h.embedding_scale = std::sqrt(static_cast<float>(h.n_embd));
  LM_TRY(h.logit_softcap, keys.float_or("final_logit_softcapping", 0.0f));
  LM_CHECK(read_window(keys, h, kPeriod, false));
  h.rope_window.scaling = RopeScaling::none;
  h.rope_window.use_factors = false;
  LM_TRY(h.rope_window.freq_base, keys.nonzero_float_or("rope.freq_base_swa", 10000.0f));
  if (h.n_layer == kLayersOf27B) {
    h.attention_scale = 1.0f / std::sqrt(static_cast<float>(h.n_embd / h.n_head));
  }
  return h;
}

Result<Hparams> read_embedding(const ArchKeys& keys) {
  LM_TRY(Hparams h, read(keys));
  h.causal = false;
  h.pooling = h.pooling == Pooling::none ? Pooling::mean : h.pooling;
  LM_TRY(const auto pattern,
         keys.metadata().try_ints(keys.name("attention.sliding_window_pattern")));
  if (!pattern || pattern->empty()) {
    return h;
  }
  if (pattern->size() == 1 && pattern->front() > 0 && pattern->front() <= h.n_layer) {
    LM_CHECK(read_window(keys, h, static_cast<std::uint32_t>(pattern->front()), true));
  } else if (pattern->size() >= h.n_layer) {
    LM_TRY(const auto window, keys.get_u32("attention.sliding_window", 1, 1u << 27));
    for (std::uint32_t il = 0; il < h.n_layer; ++il) {
      h.layers[il].window = (*pattern)[il] != 0 ? window : 0;
    }
  }
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const AttentionSpec attention{.rope = RopeKind::halves,
                                  .rope_params = f.lp().window > 0 ? &f.h.rope_window : nullptr,
                                  .qk_norm = QkNorm::head};
    f.add_normed(x, f.project(f.attention(f.norm(x, "attn_norm"), attention)),
                 "post_attention_norm");
    f.enter(x, il, Part::ffn);
    f.add_normed(x, f.project(f.ffn(f.norm(x, "ffn_norm"), {.act = Activation::gelu_tanh})),
                 "post_ffw_norm");
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture gemma3;
extern const Architecture gemma_embedding;
const Architecture gemma3{.name = "gemma3", .read = read, .build = build};
const Architecture gemma_embedding{
    .name = "gemma-embedding", .read = read_embedding, .build = build};

}  // namespace lm::arch
