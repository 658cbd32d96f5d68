// StableLM 2 and StableLM 3B: layer norms, rotary halves on part of the head, gated SiLU; the 12B
// normalises each head and runs attention and FFN side by side. Source: Stable LM 2 (2024).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  return read_common_hparams(keys, kLayerNormEps);
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const Value n = f.norm(x, "attn_norm", kLayerNorm);
    f.add(x, f.attention(n, {.rope = RopeKind::halves,
                             .qkv_bias = Need::optional,
                             .qk_norm = QkNorm::head_layer,
                             .qk_norm_need = Need::optional}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.has("ffn_norm") ? f.norm(x, "ffn_norm", kLayerNorm) : n));
  }
  f.finish_with(x, "output_norm", kLayerNorm, Need::required);
}

}  // namespace

extern const Architecture stablelm;
const Architecture stablelm{.name = "stablelm", .read = read, .build = build};

}  // namespace lm::arch
