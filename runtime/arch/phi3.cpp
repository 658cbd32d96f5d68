// Phi-3, Phi-3.5 and Phi-4: a llama block with rotary halves, q, k, v and gate, up in one matrix
// each; long contexts divide the frequencies by long factors and raise the magnitude (LongRoPE,
// Ding et al. 2024). A sliding_window key is ignored, as in the reference. Source: Phi-3 (2024).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  return read_common_hparams(keys, kRmsEps);
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.attention(f.norm(x, "attn_norm"),
                         {.rope = RopeKind::halves, .qkv_bias = Need::optional}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm")));
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture phi3;
const Architecture phi3{.name = "phi3", .read = read, .build = build};

}  // namespace lm::arch
