// Mistral 3 (Ministral): a llama block whose queries grow with the logarithm of the position
// beyond the original context, and YaRN with its own bounds. Source: Ministral 3 (2025).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_TRY(h.attention_temperature, keys.float_or("attention.temperature_scale", 0.0f));
  LM_TRY(h.rope.yarn_beta_fast, keys.nonzero_float_or("rope.scaling.yarn_beta_fast", 32.0f));
  LM_TRY(h.rope.yarn_beta_slow, keys.nonzero_float_or("rope.scaling.yarn_beta_slow", 1.0f));
  LM_TRY(h.rope.yarn_log_multiplier, keys.float_or("rope.scaling.yarn_log_multiplier", 0.0f));
  LM_CHECK(read_moe(keys, h, false));
  h.moe.normalize = true;
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.attention(f.norm(x, "attn_norm"),
                         {.qkv_bias = Need::optional, .output_bias = Need::optional}));
    f.enter(x, il, Part::ffn);
    const Value n = f.norm(x, "ffn_norm");
    if (f.h.moe.n_expert > 0) {
      f.add(x, f.moe(n));
    } else {
      f.add(x, f.ffn(n, {.bias = Need::optional}));
    }
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture mistral3;
const Architecture mistral3{.name = "mistral3", .read = read, .build = build};

}  // namespace lm::arch
