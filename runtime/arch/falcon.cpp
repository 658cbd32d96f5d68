// Falcon: attention and FFN side by side, without biases; the 40B has a norm of its own for the
// attention. Source: Almazrouei et al. 2023.
#include <fmt/core.h>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kLayerNormEps));
  if (h.rope.n_rot != h.head_dim_k) {
    return fail(ErrorCode::bad_value, keys.name("rope.dimension_count"),
                fmt::format("is {}, must equal the head size {}", h.rope.n_rot, h.head_dim_k));
  }
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const Value n = f.norm(x, "attn_norm", kLayerNorm);
    const Value n2 = f.has("attn_norm_2") ? f.norm(x, "attn_norm_2", kLayerNorm) : n;
    f.add(x, f.attention(n2, {.rope = RopeKind::halves}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(n, {.act = Activation::gelu_tanh, .gated = false}));
  }
  f.finish_with(x, "output_norm", kLayerNorm);
}

}  // namespace

extern const Architecture falcon;
const Architecture falcon{.name = "falcon", .read = read, .build = build};

}  // namespace lm::arch
