// Command R and Command R7B / A (cohere2): layer norms without biases, attention and FFN side by
// side, logits scaled, output tied to the embedding. Cohere2 sees a window in three of four layers
// and turns only there. Sources: Command R (2024), Command A (2025) model descriptions.
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

constexpr NormSpec kNorm{NormKind::layer, Need::none};

Result<Hparams> read_command_r(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kLayerNormEps));
  LM_TRY(h.logit_scale, keys.nonzero_float_or("logit_scale", 1.0f));
  return h;
}

Result<Hparams> read_cohere2(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kLayerNormEps));
  LM_TRY(h.logit_scale, keys.get_positive_float("logit_scale"));
  LM_CHECK(read_window(keys, h, 4, true));
  return h;
}

void build_with(Forward& f, bool rope_everywhere) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const Value n = f.norm(x, "attn_norm", kNorm);
    const bool rotates = rope_everywhere || f.lp().window > 0;
    f.add(x, f.attention(n, {.rope = rotates ? RopeKind::pairs : RopeKind::none,
                             .qkv_bias = Need::optional,
                             .output_bias = Need::optional,
                             .qk_norm = QkNorm::head_layer,
                             .qk_norm_need = Need::optional}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(n));
  }
  f.finish_with(x, "output_norm", kNorm, Need::none);
}

void build_command_r(Forward& f) {
  build_with(f, true);
}
void build_cohere2(Forward& f) {
  build_with(f, false);
}

}  // namespace

extern const Architecture command_r;
extern const Architecture cohere2;
const Architecture command_r{.name = "command-r", .read = read_command_r, .build = build_command_r};
const Architecture cohere2{.name = "cohere2", .read = read_cohere2, .build = build_cohere2};

}  // namespace lm::arch
