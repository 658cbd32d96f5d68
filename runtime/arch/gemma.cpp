// Gemma: embeddings scaled by sqrt(n_embd), gated GELU, output tied to the embedding. Norm weights
// in the files already hold 1 + w. Source: Gemma (2024).
#include <cmath>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  h.embedding_scale = std::sqrt(static_cast<float>(h.n_embd));
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.attention(f.norm(x, "attn_norm"), {.rope = RopeKind::halves}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm"), {.act = Activation::gelu_tanh}));
  }
  f.finish_with(x, "output_norm", kRmsNorm, Need::none);
}

}  // namespace

extern const Architecture gemma;
const Architecture gemma{.name = "gemma", .read = read, .build = build};

}  // namespace lm::arch
