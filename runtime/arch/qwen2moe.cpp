// Qwen1.5-MoE and Qwen2-57B-A14B: Qwen2's attention, a mixture of experts whose weights are not
// normalised, and an expert for every token behind a sigmoid gate. Source: Qwen2 technical report
// (2024).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_CHECK(read_moe(keys, h, true));
  LM_TRY(h.moe.n_ff_shared, keys.u32_or("expert_shared_feed_forward_length", h.n_ff, 1, 1u << 22));
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.attention(f.norm(x, "attn_norm"),
                         {.rope = RopeKind::halves, .qkv_bias = Need::required}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.moe(f.norm(x, "ffn_norm"), {.shared_gate = true}));
  }
  f.finish_with(x, "output_norm", kRmsNorm, Need::required);
}

}  // namespace

extern const Architecture qwen2moe;
const Architecture qwen2moe{.name = "qwen2moe", .read = read, .build = build};

}  // namespace lm::arch
