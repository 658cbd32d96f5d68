// Qwen3.5 and its mixture-of-experts sibling: three layers of a gated delta net, then one of gated
// attention. The delta net keeps a state of fixed size, so most layers need no KV cache. Sources:
// Gated Delta Networks (Yang et al. 2024), Qwen3-Next (2025).
#include <fmt/core.h>

#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

constexpr std::uint32_t kMaxFf = 1u << 22;

Result<void> read_recurrent(const ArchKeys& keys, Hparams& h) {
  RecurrentParams& r = h.recurrent;
  LM_TRY(r.n_tap, keys.get_u32("ssm.conv_kernel", 2, 64));
  LM_TRY(r.head_dim, keys.get_u32("ssm.state_size", 1, 1024));
  LM_TRY(r.n_head_v, keys.get_u32("ssm.time_step_rank", 1, 4096));
  LM_TRY(r.n_head_k, keys.get_u32("ssm.group_count", 1, r.n_head_v));
  LM_TRY(const auto inner, keys.get_u32("ssm.inner_size", 1, 1u << 22));
  if (inner != r.n_head_v * r.head_dim) {
    return fail(ErrorCode::bad_value, keys.name("ssm.inner_size"),
                fmt::format("is {}, must be {} heads of {}", inner, r.n_head_v, r.head_dim));
  }
  LM_TRY(const auto interval, keys.u32_or("full_attention_interval", 4, 1, 1024));
  std::vector<std::uint32_t> recurrent;
  for (std::uint32_t il = 0; il < h.n_layer; ++il) {
    recurrent.push_back((il + 1) % interval == 0 ? 0 : 1);
  }
  if (keys.has("attention.recurrent_layers")) {
    LM_TRY(recurrent, keys.per_layer_or("attention.recurrent_layers", h.n_layer, 0, 0, 1));
  }
  const std::uint64_t channels = std::uint64_t{2 * r.n_head_k + r.n_head_v} * r.head_dim;
  for (std::uint32_t il = 0; il < h.n_layer; ++il) {
    if (recurrent[il] != 0) {
      h.layers[il].n_head_kv = 0;
      h.layers[il].state_bytes =
          sizeof(float) *
          ((r.n_tap - 1) * channels + std::uint64_t{r.n_head_v} * r.head_dim * r.head_dim);
    }
  }
  return {};
}

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  // Blocks that predict further tokens stand at the end and are not run.
  LM_TRY(const auto n_extra, keys.u32_or("nextn_predict_layers", 0, 0, h.n_layer - 1));
  h.n_layer -= n_extra;
  h.layers.resize(h.n_layer);
  LM_CHECK(read_recurrent(keys, h));
  LM_CHECK(read_moe(keys, h, true));
  if (h.moe.n_expert > 0) {
    h.moe.normalize = true;
    LM_TRY(h.moe.n_ff_shared, keys.u32_or("expert_shared_feed_forward_length", 0, 0, kMaxFf));
  }
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const Value n = f.norm(x, "attn_norm");
    f.add(x,
          f.lp().n_head_kv == 0
              ? f.delta_net(n)
              : f.attention(n, {.rope = RopeKind::halves, .qk_norm = QkNorm::head, .gated = true}));
    f.enter(x, il, Part::ffn);
    const Value n2 = f.norm(x, "post_attention_norm");
    if (f.h.moe.n_expert > 0) {
      f.add(x, f.moe(n2, {.shared_gate = true}));
    } else {
      f.add(x, f.ffn(n2));
    }
  }
  f.finish_with(x);
}

}  // namespace

extern const Architecture qwen35;
extern const Architecture qwen35moe;
const Architecture qwen35{.name = "qwen35", .read = read, .build = build};
const Architecture qwen35moe{.name = "qwen35moe", .read = read, .build = build};

}  // namespace lm::arch
