// SmolLM3: a llama block that does not rotate in every fourth layer (NoPE, Kazemnejad et al. 2023).
// Source: SmolLM3 (2025).
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
    const RopeKind rope = (il + 1) % 4 == 0 ? RopeKind::none : RopeKind::pairs;
    f.add(x,
          f.attention(f.norm(x, "attn_norm"),
                      {.rope = rope, .qkv_bias = Need::optional, .output_bias = Need::optional}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm"), {.bias = Need::optional}));
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture smollm3;
const Architecture smollm3{.name = "smollm3", .read = read, .build = build};

}  // namespace lm::arch
