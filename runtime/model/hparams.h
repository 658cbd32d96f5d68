/// The numbers of a model, read once from its metadata and checked.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/error.h"
#include "backends/ops.h"
#include "runtime/gguf/metadata.h"

namespace lm {

enum class RopeScaling : std::uint8_t { none, linear, yarn, longrope };

struct Hparams {
  std::string arch;
  std::uint32_t n_layer = 0;
  std::uint32_t n_embd = 0;
  std::uint32_t n_vocab = 0;
  std::uint32_t n_ctx_train = 0;
  std::uint32_t n_head = 0;
  std::uint32_t n_head_kv = 0;
  std::uint32_t head_dim_k = 0;
  std::uint32_t head_dim_v = 0;
  std::uint32_t n_ff = 0;
  std::uint32_t n_rot = 0;
  float norm_eps = 0.0f;
  float rope_freq_base = 10000.0f;
  RopeScaling rope_scaling = RopeScaling::none;
  float rope_factor = 1.0f;  ///< s of linear and YaRN scaling
  float rope_attn_factor = 1.0f;
  std::uint32_t n_ctx_orig = 0;  ///< where YaRN and longrope switch
  float attention_scale = 0.0f;  ///< 0: 1 / sqrt(head_dim_k)
};

/// Metadata with "<arch>." put in front of every key.
class ArchKeys {
 public:
  ArchKeys(const Metadata& metadata, std::string arch)
      : metadata_(metadata), prefix_(std::move(arch) + ".") {}
  Result<std::int64_t> get_int(std::string_view key, std::int64_t min, std::int64_t max) const;
  Result<std::int64_t> int_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                              std::int64_t max) const;
  Result<float> get_positive_float(std::string_view key) const;
  Result<float> float_or(std::string_view key, float fallback) const;
  /// Scalar or array[L] whose entries are all equal; differing entries are refused by architectures
  /// that need one value.
  Result<std::int64_t> uniform_int_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                                      std::int64_t max) const;
  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  const Metadata& metadata() const { return metadata_; }

 private:
  const Metadata& metadata_;
  std::string prefix_;
};

/// Keys common to all architectures, with the limits and divisibility rules that hold for every
/// one. Errors: missing, bad_value naming the key.
Result<Hparams> read_common_hparams(const ArchKeys& keys, const Metadata& metadata,
                                    std::string_view eps_key);

}  // namespace lm
