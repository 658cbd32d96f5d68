// GPT-NeoX and Pythia: layer norms, rotary halves on part of the head; attention and FFN side by
// side when the file says so. Source: Black et al. 2022.
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kLayerNormEps));
  if (!keys.has("use_parallel_residual")) {
    return fail(ErrorCode::missing, keys.name("use_parallel_residual"), "is not in the file");
  }
  LM_TRY(h.parallel_residual, keys.bool_or("use_parallel_residual", true));
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  const FfnSpec ffn{.act = Activation::gelu_tanh, .gated = false, .bias = Need::required};
  const AttentionSpec attention{
      .rope = RopeKind::halves, .qkv_bias = Need::required, .output_bias = Need::required};
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const Value n = f.norm(x, "attn_norm", kLayerNorm);
    if (f.h.parallel_residual) {
      // The second norm reads x before attention is added.
      f.at_layer(il, Part::ffn);
      const Value n2 = f.norm(x, "ffn_norm", kLayerNorm);
      f.enter(x, il, Part::attention);
      f.add(x, f.attention(n, attention));
      f.enter(x, il, Part::ffn);
      f.add(x, f.ffn(n2, ffn));
    } else {
      f.add(x, f.attention(n, attention));
      f.enter(x, il, Part::ffn);
      f.add(x, f.ffn(f.norm(x, "ffn_norm", kLayerNorm), ffn));
    }
  }
  f.finish_with(x, "output_norm", kLayerNorm, Need::required);
}

}  // namespace

extern const Architecture gptneox;
const Architecture gptneox{.name = "gptneox", .read = read, .build = build};

}  // namespace lm::arch
