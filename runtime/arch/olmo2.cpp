// OLMo 2, and OLMo 3 with windows on three of four layers: norms behind the parts instead of
// before them, q and k normalised over the whole row. Window layers turn plainly, without YaRN.
// Sources: 2 OLMo 2 Furious (2025), OLMo 3 (2025).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_CHECK(read_window(keys, h, 4, false));
  h.rope_window.scaling = RopeScaling::none;
  h.rope_window.attn_factor = 1.0f;
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const AttentionSpec attention{.rope = RopeKind::halves,
                                  .rope_params = f.lp().window > 0 ? &f.h.rope_window : nullptr,
                                  .qk_norm = QkNorm::row};
    f.add_normed(x, f.project(f.attention(x, attention)), "post_attention_norm");
    f.enter(x, il, Part::ffn);
    f.add_normed(x, f.project(f.ffn(x)), "post_ffw_norm");
  }
  f.finish_with(x, "output_norm", kRmsNorm, Need::required);
}

}  // namespace

extern const Architecture olmo2;
const Architecture olmo2{.name = "olmo2", .read = read, .build = build};

}  // namespace lm::arch
