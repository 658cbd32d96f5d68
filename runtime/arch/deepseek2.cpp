// DeepSeek V2, V3, R1, Kimi K2, GLM-4.7-Flash: latent attention, leading dense layers, then experts
// chosen by groups beside experts for every token. Files with attn_k_b and attn_v_b run absorbed,
// with the latent alone in the cache; older ones expand keys and values. Sources: DeepSeek-V2
// (2024), DeepSeek-V3 (2024).
#include <cmath>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

constexpr std::uint32_t kMaxFf = 1u << 22;
constexpr std::uint32_t kVocabOfGlmFlash = 154880;

Result<void> read_latent(const ArchKeys& keys, Hparams& h) {
  MlaParams& m = h.mla;
  const std::uint32_t n_rot = h.rope.n_rot;
  LM_TRY(m.q_rank, keys.u32_or("attention.q_lora_rank", 0, 0, 1u << 16));
  LM_TRY(m.kv_rank, keys.get_u32("attention.kv_lora_rank", 1, 1u << 16));
  const bool absorbed = keys.has("attention.key_length_mla");
  LM_TRY(const auto width, absorbed ? keys.get_u32("attention.key_length_mla", n_rot + 1, 1024)
                                    : keys.get_u32("attention.key_length", n_rot + 1, 1024));
  LM_TRY(m.n_v, absorbed ? keys.get_u32("attention.value_length_mla", 1, 1024)
                         : keys.get_u32("attention.value_length", 1, 1024));
  m.n_nope = width - n_rot;
  for (LayerParams& p : h.layers) {
    p.n_head_kv = absorbed ? 1 : p.n_head;
    p.head_dim_k = absorbed ? m.kv_rank + n_rot : width;
    p.head_dim_v = absorbed ? m.kv_rank : m.n_v;
    p.v_in_k = absorbed;
  }
  // The files keep 0.1 times the multiplier; it acts on the scale of scores, not on the rotation.
  LM_TRY(const float multiplier, keys.float_or("rope.scaling.yarn_log_multiplier", 0.0f));
  double mm = 1.0;
  if (h.rope.scaling == RopeScaling::yarn) {
    const double l = static_cast<double>(multiplier) / 0.1;
    mm = static_cast<double>(h.rope.attn_factor) *
         (1.0 + 0.1 * l * std::log(static_cast<double>(h.rope.factor)));
    h.rope.yarn_log_multiplier = multiplier != 0.0f ? 1.0f : 0.0f;
  }
  h.attention_scale = static_cast<float>(mm * mm / std::sqrt(double{1} * width));
  return {};
}

Result<void> read_experts(const ArchKeys& keys, Hparams& h) {
  LM_CHECK(read_moe(keys, h, true));
  MoeParams& moe = h.moe;
  if (moe.n_expert == 0) {
    return {};
  }
  LM_TRY(moe.n_dense_layer, keys.u32_or("leading_dense_block_count", 0, 0, h.n_layer));
  LM_TRY(const auto n_shared, keys.u32_or("expert_shared_count", 0, 0, 64));
  if (std::uint64_t{n_shared} * moe.n_ff > kMaxFf) {
    return fail(ErrorCode::bad_value, keys.name("expert_shared_count"),
                "makes the shared experts too large");
  }
  moe.n_ff_shared = n_shared * moe.n_ff;
  LM_TRY(moe.scale, keys.nonzero_float_or("expert_weights_scale", 1.0f));
  LM_TRY(moe.normalize, keys.bool_or("expert_weights_norm", false));
  const MetadataValue* tokens = keys.metadata().find("tokenizer.ggml.tokens");
  const bool glm_flash = (h.n_layer == 47 || h.n_layer == 48) && tokens != nullptr &&
                         tokens->count == kVocabOfGlmFlash;
  LM_TRY(const auto gating, keys.u32_or("expert_gating_func", glm_flash ? 2 : 1, 0, 3));
  moe.gating = gating == 2   ? ExpertGating::sigmoid
               : gating == 3 ? ExpertGating::softmax_chosen
                             : ExpertGating::softmax;
  return {};
}

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_CHECK(read_latent(keys, h));
  LM_CHECK(read_experts(keys, h));
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    f.add(x, f.latent_attention(f.norm(x, "attn_norm")));
    f.enter(x, il, Part::ffn);
    const Value n = f.norm(x, "ffn_norm");
    if (f.h.moe.n_expert > 0 && il >= f.h.moe.n_dense_layer) {
      f.add(x, f.moe(n, {.selection_bias = true}));
    } else {
      f.add(x, f.ffn(n));
    }
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture deepseek2;
const Architecture deepseek2{.name = "deepseek2", .read = read, .build = build};

}  // namespace lm::arch
