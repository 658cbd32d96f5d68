// Llama and what is built like it (Mistral 7B, Mixtral, TinyLlama, SmolLM, Yi, Nemo): RMS norms,
// rotary pairs, grouped queries, gated SiLU; with experts every FFN is a mixture. Converters
// permuted q and k at export, so rotating neighbours (2i, 2i+1) is right. Sources: Touvron et al.
// 2023, Jiang et al. 2024; Llama 3.1's frequency factors come as the tensor rope_freqs.weight.
#include <fmt/core.h>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  if (h.rope.n_rot != h.head_dim_k) {
    return fail(ErrorCode::bad_value, keys.name("rope.dimension_count"),
                fmt::format("is {}, must equal the head size {}", h.rope.n_rot, h.head_dim_k));
  }
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

extern const Architecture llama;
const Architecture llama{.name = "llama", .read = read, .build = build};

}  // namespace lm::arch
