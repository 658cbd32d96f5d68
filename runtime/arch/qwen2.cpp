// Qwen2 and Qwen2.5: a llama block with rotary halves and biases on q, k and v. Small sizes tie the
// output to the embedding. Source: Qwen2 technical report (2024).
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
                         {.rope = RopeKind::halves, .qkv_bias = Need::required}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm")));
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture qwen2;
const Architecture qwen2{.name = "qwen2", .read = read, .build = build};

}  // namespace lm::arch
