// Qwen3-MoE (30B-A3B, 235B-A22B): Qwen3's attention, experts with normalised weights in every
// layer, none shared. Source: Qwen3 technical report (2025).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_CHECK(read_moe(keys, h, true));
  h.moe.normalize = true;
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x,
          f.attention(f.norm(x, "attn_norm"), {.rope = RopeKind::halves, .qk_norm = QkNorm::head}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.moe(f.norm(x, "ffn_norm")));
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture qwen3moe;
const Architecture qwen3moe{.name = "qwen3moe", .read = read, .build = build};

}  // namespace lm::arch
