// Qwen3: a llama block with rotary halves and an RMS norm on every head of q and k before rope; no
// biases. The head size is a key of its own: n_head * head_dim may differ from n_embd. With a
// pooling type it is Qwen3-Embedding. Source: Qwen3 technical report (2025).
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
    f.add(x,
          f.attention(f.norm(x, "attn_norm"), {.rope = RopeKind::halves, .qk_norm = QkNorm::head}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm")));
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture qwen3;
const Architecture qwen3{.name = "qwen3", .read = read, .build = build};

}  // namespace lm::arch
