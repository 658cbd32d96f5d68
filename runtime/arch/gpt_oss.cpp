// gpt-oss: every second layer sees a window, each head may attend to a sink, experts with a clamped
// gated unit and biases, usually in MXFP4. Source: gpt-oss model card (OpenAI 2025).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_CHECK(read_window(keys, h, 2, true));
  LM_CHECK(read_moe(keys, h, false));
  if (h.moe.n_expert == 0) {
    return fail(ErrorCode::missing, keys.name("expert_count"), "is not in the file");
  }
  h.moe.gating = ExpertGating::softmax_chosen;
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.attention(f.norm(x, "attn_norm"), {.rope = RopeKind::halves,
                                                  .qkv_bias = Need::required,
                                                  .output_bias = Need::required,
                                                  .sinks = true}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.moe(f.norm(x, "post_attention_norm"),
                   {.act = Activation::swiglu_clamped, .bias = Need::required}));
  }
  f.finish_with(x, "output_norm", kRmsNorm, Need::required);
}

}  // namespace

extern const Architecture gpt_oss;
const Architecture gpt_oss{.name = "gpt-oss", .read = read, .build = build};

}  // namespace lm::arch
