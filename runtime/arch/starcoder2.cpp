// StarCoder2: layer norms, rotary halves, an ungated FFN and biases everywhere. Source: StarCoder 2
// (Lozhkov et al. 2024).
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
    f.add(x, f.attention(f.norm(x, "attn_norm", kLayerNorm), {.rope = RopeKind::halves,
                                                              .qkv_bias = Need::required,
                                                              .output_bias = Need::required}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm", kLayerNorm),
                   {.act = Activation::gelu_tanh, .gated = false, .bias = Need::required}));
  }
  f.finish_with(x, "output_norm", kLayerNorm);
}

}  // namespace

extern const Architecture starcoder2;
const Architecture starcoder2{.name = "starcoder2", .read = read, .build = build};

}  // namespace lm::arch
