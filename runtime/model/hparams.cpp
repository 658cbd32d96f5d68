#include "runtime/model/hparams.h"

#include <algorithm>

#include <fmt/core.h>

namespace lm {
namespace {

constexpr std::uint32_t kMaxLayers = 1024;
constexpr std::uint32_t kMaxHeads = 1024;
constexpr std::uint32_t kMaxHeadDim = 1024;
constexpr std::uint32_t kMaxEmbd = 1 << 20;
constexpr std::uint32_t kMaxFf = 1 << 22;
constexpr std::uint32_t kMaxContext = 1 << 27;

Result<RopeScaling> parse_scaling(const std::string& key, std::string_view name) {
  if (name == "none") {
    return RopeScaling::none;
  }
  if (name == "linear") {
    return RopeScaling::linear;
  }
  if (name == "yarn") {
    return RopeScaling::yarn;
  }
  if (name == "longrope") {
    return RopeScaling::longrope;
  }
  return fail(ErrorCode::bad_value, key,
              fmt::format("is '{}', must be none, linear, yarn or longrope", name.substr(0, 64)));
}

Result<Pooling> parse_pooling(const ArchKeys& keys) {
  LM_TRY(const auto type, keys.int_or("pooling_type", 0, -1, 4));
  if (type == 4) {
    return fail(ErrorCode::unsupported, keys.name("pooling_type"),
                "is 4: ranking models are not supported", "use an embedding model");
  }
  constexpr Pooling kTypes[] = {Pooling::none, Pooling::mean, Pooling::cls, Pooling::last};
  return kTypes[std::max<std::int64_t>(type, 0)];
}

Result<void> read_rope(const ArchKeys& keys, Hparams& h) {
  RopeParams& rope = h.rope;
  LM_TRY(rope.n_rot, keys.u32_or("rope.dimension_count", h.head_dim_k, 0, h.head_dim_k));
  if (rope.n_rot % 2 != 0) {
    return fail(ErrorCode::bad_value, keys.name("rope.dimension_count"),
                fmt::format("is {}, must be even", rope.n_rot));
  }
  LM_TRY(rope.freq_base, keys.float_or("rope.freq_base", 10000.0f));
  if (!(rope.freq_base > 0.0f)) {
    return fail(ErrorCode::bad_value, keys.name("rope.freq_base"),
                fmt::format("is {}, must be above 0", rope.freq_base));
  }
  LM_TRY(const auto old_factor, keys.float_or("rope.scale_linear", 0.0f));
  LM_TRY(const auto factor, keys.float_or("rope.scaling.factor", old_factor));
  if (factor < 0.0f) {
    return fail(ErrorCode::bad_value, keys.name("rope.scaling.factor"),
                fmt::format("is {}, must not be negative", factor));
  }
  rope.factor = factor == 0.0f ? 1.0f : factor;
  LM_TRY(const auto type, keys.metadata().try_string(keys.name("rope.scaling.type")));
  LM_TRY(rope.scaling, parse_scaling(keys.name("rope.scaling.type"), type.value_or("linear")));
  LM_TRY(rope.attn_factor, keys.float_or("rope.scaling.attn_factor", 1.0f));
  LM_TRY(rope.n_ctx_orig,
         keys.u32_or("rope.scaling.original_context_length", h.n_ctx_train, 1, kMaxContext));
  h.rope_window = rope;
  return {};
}

}  // namespace

std::uint64_t Hparams::state_bytes() const {
  std::uint64_t bytes = 0;
  for (const LayerParams& layer : layers) {
    bytes += layer.state_bytes;
  }
  return bytes;
}

Result<Hparams> read_common_hparams(const ArchKeys& keys, std::string_view eps_key) {
  Hparams h;
  LM_TRY(h.n_layer, keys.get_u32("block_count", 1, kMaxLayers));
  LM_TRY(h.n_embd, keys.get_u32("embedding_length", 1, kMaxEmbd));
  LM_TRY(h.n_ctx_train, keys.get_u32("context_length", 1, kMaxContext));
  if (!keys.has("attention.head_count")) {
    return fail(ErrorCode::missing, keys.name("attention.head_count"), "is not in the file");
  }
  LM_TRY(const auto n_ff, keys.per_layer_or("feed_forward_length", h.n_layer, 0, 0, kMaxFf));
  LM_TRY(const auto n_head, keys.per_layer_or("attention.head_count", h.n_layer, 0, 0, kMaxHeads));
  LM_TRY(const auto n_head_kv,
         keys.per_layer_or("attention.head_count_kv", h.n_layer, kMaxHeads + 1, 0, kMaxHeads));
  const std::uint32_t most_heads = *std::max_element(n_head.begin(), n_head.end());
  if (most_heads == 0) {
    return fail(ErrorCode::bad_value, keys.name("attention.head_count"), "is 0");
  }
  if (!keys.has("attention.key_length") && h.n_embd % most_heads != 0) {
    return fail(ErrorCode::bad_value, keys.name("attention.head_count"),
                fmt::format("is {}, must divide embedding_length {}", most_heads, h.n_embd));
  }
  const std::uint32_t even_share = h.n_embd / most_heads;
  LM_TRY(const auto dim_k, keys.u32_or("attention.key_length", even_share, 1, kMaxHeadDim));
  LM_TRY(const auto dim_v, keys.u32_or("attention.value_length", even_share, 1, kMaxHeadDim));
  if (dim_k == 0 || dim_k > kMaxHeadDim || dim_v == 0 || dim_v > kMaxHeadDim) {
    return fail(ErrorCode::bad_value, keys.name("attention.head_count"),
                fmt::format("gives heads of {} values, must be 1 to {}", even_share, kMaxHeadDim));
  }
  for (std::uint32_t il = 0; il < h.n_layer; ++il) {
    const std::uint32_t kv = n_head_kv[il] > kMaxHeads ? n_head[il] : n_head_kv[il];
    if (kv > 0 && n_head[il] % kv != 0) {
      return fail(ErrorCode::bad_value, keys.name("attention.head_count_kv"),
                  fmt::format("is {}, must divide attention.head_count {}", kv, n_head[il]));
    }
    h.layers.push_back({.n_head = n_head[il],
                        .n_head_kv = kv,
                        .head_dim_k = dim_k,
                        .head_dim_v = dim_v,
                        .n_ff = n_ff[il]});
  }
  h.n_head = h.layers[0].n_head;
  h.n_head_kv = h.layers[0].n_head_kv;
  h.head_dim_k = dim_k;
  h.head_dim_v = dim_v;
  h.n_ff = h.layers[0].n_ff;
  LM_TRY(h.norm_eps, keys.get_positive_float(eps_key));
  LM_TRY(h.causal, keys.bool_or("attention.causal", true));
  LM_TRY(h.pooling, parse_pooling(keys));
  LM_CHECK(read_rope(keys, h));
  return h;
}

Result<void> read_moe(const ArchKeys& keys, Hparams& h, bool split_ff) {
  MoeParams& moe = h.moe;
  LM_TRY(moe.n_expert, keys.u32_or("expert_count", 0, 0, kMaxExperts));
  if (moe.n_expert == 0) {
    return {};
  }
  LM_TRY(moe.n_used, keys.get_u32("expert_used_count", 1, moe.n_expert));
  const std::uint32_t share = split_ff ? std::max(1u, h.n_ff / moe.n_used) : h.n_ff;
  LM_TRY(moe.n_ff, keys.u32_or("expert_feed_forward_length", share, 1, kMaxFf));
  LM_TRY(moe.n_group, keys.u32_or("expert_group_count", 1, 0, moe.n_expert));
  LM_TRY(moe.n_group_used, keys.u32_or("expert_group_used_count", 1, 0, moe.n_expert));
  moe.n_group = std::max(moe.n_group, 1u);
  moe.n_group_used = std::clamp(moe.n_group_used, 1u, moe.n_group);
  if (moe.n_expert % moe.n_group != 0) {
    return fail(ErrorCode::bad_value, keys.name("expert_group_count"),
                fmt::format("is {}, must divide expert_count {}", moe.n_group, moe.n_expert));
  }
  if (moe.n_ff == 0) {
    return fail(ErrorCode::missing, keys.name("expert_feed_forward_length"), "is not in the file");
  }
  return {};
}

Result<void> read_window(const ArchKeys& keys, Hparams& h, std::uint32_t period, bool required) {
  if (required && !keys.has("attention.sliding_window")) {
    return fail(ErrorCode::missing, keys.name("attention.sliding_window"), "is not in the file");
  }
  LM_TRY(const auto window, keys.u32_or("attention.sliding_window", 0, 0, kMaxContext));
  for (std::uint32_t il = 0; il < h.n_layer; ++il) {
    h.layers[il].window = il % period + 1 < period ? window : 0;
  }
  return {};
}

}  // namespace lm
