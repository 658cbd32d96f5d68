/// The numbers of a model, read once from its metadata and checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/ops.h"
#include "runtime/model/arch_keys.h"

namespace lm {

enum class RopeScaling : std::uint8_t { none, linear, yarn, longrope };

/// How positions turn heads.
struct RopeParams {
  std::uint32_t n_rot = 0;  ///< 0: no rotation
  float freq_base = 10000.0f;
  RopeScaling scaling = RopeScaling::none;
  float factor = 1.0f;  ///< s of linear and YaRN scaling
  float attn_factor = 1.0f;
  std::uint32_t n_ctx_orig = 0;  ///< where YaRN and longrope switch
  float yarn_beta_fast = 32.0f;
  float yarn_beta_slow = 1.0f;
  float yarn_log_multiplier = 0.0f;
  bool use_factors = true;  ///< divided by the file's rope_freqs or long/short factors, if any
};

/// What may differ from layer to layer.
struct LayerParams {
  std::uint32_t n_head = 0;
  std::uint32_t n_head_kv = 0;  ///< 0: this layer has no attention
  std::uint32_t head_dim_k = 0;
  std::uint32_t head_dim_v = 0;
  std::uint32_t n_ff = 0;
  std::uint32_t window = 0;       ///< sliding window in tokens; 0: full
  std::int32_t kv_source = -1;    ///< layer whose KV this one reads instead of an own
  bool v_in_k = false;            ///< KvRef::v_in_k
  std::uint64_t state_bytes = 0;  ///< recurrent state of a sequence
};

struct MoeParams {
  std::uint32_t n_expert = 0;  ///< 0: dense
  std::uint32_t n_used = 0;
  std::uint32_t n_ff = 0;         ///< of one expert
  std::uint32_t n_ff_shared = 0;  ///< of the expert that every token passes; 0: none
  ExpertGating gating = ExpertGating::softmax;
  bool normalize = false;
  float scale = 1.0f;
  std::uint32_t n_group = 1, n_group_used = 1;
  std::uint32_t n_dense_layer = 0;  ///< leading layers without experts
};

/// Multi-head latent attention (DeepSeek-V2 2024).
struct MlaParams {
  std::uint32_t q_rank = 0;   ///< 0: q is projected directly
  std::uint32_t kv_rank = 0;  ///< width of the latent; 0: not this kind of attention
  std::uint32_t n_nope = 0;   ///< dims of a q or k head that do not rotate
  std::uint32_t n_v = 0;      ///< dims of a v head
};

/// Layers with a recurrent state: gated delta nets (Qwen3-Next), short convolutions (LFM2).
struct RecurrentParams {
  std::uint32_t n_tap = 0;  ///< of the causal convolution
  std::uint32_t n_head_k = 0, n_head_v = 0, head_dim = 0;
};

enum class Pooling : std::uint8_t { none, mean, cls, last };

struct Hparams {
  std::string arch;
  std::uint32_t n_layer = 0;
  std::uint32_t n_embd = 0;
  std::uint32_t n_vocab = 0;
  std::uint32_t n_ctx_train = 0;
  // Of layer 0; `layers` has those of each.
  std::uint32_t n_head = 0;
  std::uint32_t n_head_kv = 0;
  std::uint32_t head_dim_k = 0;
  std::uint32_t head_dim_v = 0;
  std::uint32_t n_ff = 0;
  std::vector<LayerParams> layers;  ///< [n_layer]

  float norm_eps = 0.0f;
  RopeParams rope;
  RopeParams rope_window;        ///< of layers with a window, where an architecture has two kinds
  float attention_scale = 0.0f;  ///< 0: 1 / sqrt(head_dim_k)
  float attention_softcap = 0.0f;
  float logit_scale = 1.0f;
  float logit_softcap = 0.0f;
  float embedding_scale = 1.0f;
  float residual_scale = 1.0f;
  float attention_temperature = 0.0f;  ///< ops::RopeKvWrite::temperature
  bool causal = true;
  bool parallel_residual = false;
  Pooling pooling = Pooling::none;
  std::uint32_t n_embd_per_layer = 0;  ///< Gemma 4's per-layer embeddings; 0: none
  std::uint32_t n_shared_norm_head = 0;
  MoeParams moe;
  MlaParams mla;
  RecurrentParams recurrent;

  /// Whether a text must be evaluated in one step: every row sees the whole, or the mean needs it.
  bool needs_whole_text() const { return !causal || pooling == Pooling::mean; }
  std::uint64_t state_bytes() const;
};

/// Keys common to all architectures, with the limits and divisibility rules that hold for every
/// one. Errors: missing, bad_value naming the key.
Result<Hparams> read_common_hparams(const ArchKeys& keys, std::string_view eps_key);
inline constexpr std::string_view kRmsEps = "attention.layer_norm_rms_epsilon";
inline constexpr std::string_view kLayerNormEps = "attention.layer_norm_epsilon";

/// expert_* keys, into h.moe: counts, n_ff (default: feed_forward_length / n_used where
/// `split_ff`, else feed_forward_length), groups. Does nothing without experts.
Result<void> read_moe(const ArchKeys& keys, Hparams& h, bool split_ff);

/// Windows of layers: layer il has one when il mod `period` < period - 1 (the last of each period
/// sees all). The width is attention.sliding_window. Errors: missing, when `required`.
Result<void> read_window(const ArchKeys& keys, Hparams& h, std::uint32_t period, bool required);

}  // namespace lm
