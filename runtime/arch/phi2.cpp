// Phi-1.5 and Phi-2: layer norms with biases, attention and FFN side by side from one norm, rotary
// halves on part of the head, biases everywhere. Source: Phi-2 (2023).
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
                             .qkv_bias = Need::required,
                             .output_bias = Need::required}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(n, {.act = Activation::gelu_tanh, .gated = false, .bias = Need::required}));
  }
  f.finish_with(x, "output_norm", kLayerNorm, Need::required);
}

}  // namespace

extern const Architecture phi2;
const Architecture phi2{.name = "phi2", .read = read, .build = build};

}  // namespace lm::arch
