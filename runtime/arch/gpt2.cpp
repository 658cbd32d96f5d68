// GPT-2: learned positions, layer norms, an ungated GELU FFN, biases everywhere. Source: Radford et
// al. 2019.
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kLayerNormEps));
  h.rope.n_rot = 0;
  return h;
}

void build(Forward& f) {
  Value x = f.embed(true);
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.attention(f.norm(x, "attn_norm", kLayerNorm), {.rope = RopeKind::none,
                                                              .qkv_bias = Need::required,
                                                              .output_bias = Need::required}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm", kLayerNorm),
                   {.act = Activation::gelu_tanh, .gated = false, .bias = Need::required}));
  }
  f.finish_with(x, "output_norm", kLayerNorm);
}

}  // namespace

extern const Architecture gpt2;
const Architecture gpt2{.name = "gpt2", .read = read, .build = build};

}  // namespace lm::arch
