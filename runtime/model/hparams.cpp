#include "runtime/model/hparams.h"

#include <cmath>

#include <fmt/core.h>

namespace lm {
namespace {

constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxHeads = 1024;
constexpr std::int64_t kMaxHeadDim = 1024;
constexpr std::int64_t kMaxEmbd = 1 << 20;
constexpr std::int64_t kMaxFf = 1 << 22;
constexpr std::int64_t kMaxContext = 1 << 27;

Result<std::int64_t> in_range(const std::string& key, std::int64_t value, std::int64_t min,
                              std::int64_t max) {
  if (value < min || value > max) {
    return fail(ErrorCode::bad_value, key, fmt::format("is {}, must be {} to {}", value, min, max));
  }
  return value;
}

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

Result<void> read_rope(const ArchKeys& keys, Hparams& h) {
  LM_TRY(const auto n_rot, keys.int_or("rope.dimension_count", h.head_dim_k, 0, h.head_dim_k));
  if (n_rot % 2 != 0) {
    return fail(ErrorCode::bad_value, keys.name("rope.dimension_count"),
                fmt::format("is {}, must be even", n_rot));
  }
  h.n_rot = static_cast<std::uint32_t>(n_rot);
  LM_TRY(h.rope_freq_base, keys.float_or("rope.freq_base", 10000.0f));
  if (!(h.rope_freq_base > 0.0f)) {
    return fail(ErrorCode::bad_value, keys.name("rope.freq_base"),
                fmt::format("is {}, must be above 0", h.rope_freq_base));
  }
  LM_TRY(const auto old_factor, keys.float_or("rope.scale_linear", 0.0f));
  LM_TRY(const auto factor, keys.float_or("rope.scaling.factor", old_factor));
  if (factor < 0.0f) {
    return fail(ErrorCode::bad_value, keys.name("rope.scaling.factor"),
                fmt::format("is {}, must not be negative", factor));
  }
  h.rope_factor = factor == 0.0f ? 1.0f : factor;
  LM_TRY(const auto type, keys.metadata().try_string(keys.name("rope.scaling.type")));
  LM_TRY(h.rope_scaling, parse_scaling(keys.name("rope.scaling.type"), type.value_or("linear")));
  LM_TRY(h.rope_attn_factor, keys.float_or("rope.scaling.attn_factor", 1.0f));
  LM_TRY(const auto n_ctx_orig,
         keys.int_or("rope.scaling.original_context_length", h.n_ctx_train, 1, kMaxContext));
  h.n_ctx_orig = static_cast<std::uint32_t>(n_ctx_orig);
  return {};
}

}  // namespace

Result<std::int64_t> ArchKeys::get_int(std::string_view key, std::int64_t min,
                                       std::int64_t max) const {
  LM_TRY(const auto value, metadata_.get_int(name(key)));
  return in_range(name(key), value, min, max);
}

Result<std::int64_t> ArchKeys::int_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                                      std::int64_t max) const {
  LM_TRY(const auto value, metadata_.try_int(name(key)));
  return value ? in_range(name(key), *value, min, max) : Result<std::int64_t>(fallback);
}

Result<float> ArchKeys::get_positive_float(std::string_view key) const {
  LM_TRY(const auto value, metadata_.get_float(name(key)));
  if (!std::isfinite(value) || value <= 0.0) {
    return fail(ErrorCode::bad_value, name(key),
                fmt::format("is {}, must be a finite number above 0", value));
  }
  return static_cast<float>(value);
}

Result<float> ArchKeys::float_or(std::string_view key, float fallback) const {
  LM_TRY(const auto value, metadata_.try_float(name(key)));
  if (value && !std::isfinite(*value)) {
    return fail(ErrorCode::bad_value, name(key), "is not a finite number");
  }
  return value ? static_cast<float>(*value) : fallback;
}

Result<std::int64_t> ArchKeys::uniform_int_or(std::string_view key, std::int64_t fallback,
                                              std::int64_t min, std::int64_t max) const {
  LM_TRY(const auto values, metadata_.try_ints(name(key)));
  if (!values) {
    return fallback;
  }
  if (values->empty()) {
    return fail(ErrorCode::bad_value, name(key), "is an empty array");
  }
  for (const std::int64_t value : *values) {
    if (value != values->front()) {
      return fail(ErrorCode::unsupported, name(key),
                  fmt::format("differs between layers ({} and {})", values->front(), value),
                  "this architecture needs one value");
    }
  }
  return in_range(name(key), values->front(), min, max);
}

Result<Hparams> read_common_hparams(const ArchKeys& keys, const Metadata& metadata,
                                    std::string_view eps_key) {
  Hparams h;
  const auto u32 = [](std::int64_t v) { return static_cast<std::uint32_t>(v); };
  LM_TRY(const auto n_layer, keys.get_int("block_count", 1, kMaxLayers));
  LM_TRY(const auto n_embd, keys.get_int("embedding_length", 1, kMaxEmbd));
  LM_TRY(const auto n_ctx_train, keys.get_int("context_length", 1, kMaxContext));
  LM_TRY(const auto n_ff, keys.uniform_int_or("feed_forward_length", 0, 1, kMaxFf));
  LM_TRY(const auto n_head, keys.uniform_int_or("attention.head_count", 0, 1, kMaxHeads));
  if (n_head == 0) {
    return fail(ErrorCode::missing, keys.name("attention.head_count"), "is not in the file");
  }
  if (n_ff == 0) {
    return fail(ErrorCode::missing, keys.name("feed_forward_length"), "is not in the file");
  }
  LM_TRY(const auto n_head_kv,
         keys.uniform_int_or("attention.head_count_kv", n_head, 1, kMaxHeads));
  if (n_head % n_head_kv != 0) {
    return fail(ErrorCode::bad_value, keys.name("attention.head_count_kv"),
                fmt::format("is {}, must divide attention.head_count {}", n_head_kv, n_head));
  }
  if (!metadata.has(keys.name("attention.key_length")) && n_embd % n_head != 0) {
    return fail(ErrorCode::bad_value, keys.name("attention.head_count"),
                fmt::format("is {}, must divide embedding_length {}", n_head, n_embd));
  }
  LM_TRY(const auto head_dim_k,
         keys.int_or("attention.key_length", n_embd / n_head, 1, kMaxHeadDim));
  LM_TRY(const auto head_dim_v,
         keys.int_or("attention.value_length", n_embd / n_head, 1, kMaxHeadDim));
  h.n_layer = u32(n_layer);
  h.n_embd = u32(n_embd);
  h.n_ctx_train = u32(n_ctx_train);
  h.n_ff = u32(n_ff);
  h.n_head = u32(n_head);
  h.n_head_kv = u32(n_head_kv);
  LM_TRY(const auto checked_k,
         in_range(keys.name("attention.key_length"), head_dim_k, 1, kMaxHeadDim));
  LM_TRY(const auto checked_v,
         in_range(keys.name("attention.value_length"), head_dim_v, 1, kMaxHeadDim));
  h.head_dim_k = u32(checked_k);
  h.head_dim_v = u32(checked_v);
  LM_TRY(h.norm_eps, keys.get_positive_float(eps_key));
  LM_CHECK(read_rope(keys, h));
  return h;
}

}  // namespace lm
