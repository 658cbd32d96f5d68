/// The words in which an architecture describes its forward pass.
///
/// A `Forward` is driven twice by the same code. Listing: it notes every tensor asked for with the
/// shape that follows from the hyper-parameters; nothing is loaded. Planning: it emits ops with the
/// weights bound. So a tensor can't be listed and forgotten, or used with a shape that was never
/// checked.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/gguf/gguf_file.h"
#include "runtime/kv/kv_layout.h"
#include "runtime/model/architecture.h"
#include "runtime/model/hparams.h"
#include "runtime/model/tensor_spec.h"
#include "runtime/plan/plan_builder.h"

namespace lm {

/// Everything a plan is built from.
struct ForwardInputs {
  const Hparams& hparams;
  const GgufFile& file;
  const Weights& weights;
  const Placement& placement;
  const KvLayout& kv;
  std::uint32_t n_ctx = 0;  ///< decides long or short rope factors
  bool pooled = false;      ///< output is an embedding, not logits
  std::uint16_t n_device = 1;
};

/// A product that has not been emitted: whether it makes a new value or adds to the residual stream
/// is decided by whoever takes it.
struct Projection {
  Value x;
  TensorRef weight, bias;
  std::uint32_t n_out = 0;
};

struct NormSpec {
  NormKind kind = NormKind::rms;
  Need bias = Need::none;
};
inline constexpr NormSpec kRmsNorm{};
inline constexpr NormSpec kLayerNorm{NormKind::layer, Need::required};

/// How q and k are normalised before they rotate.
enum class QkNorm : std::uint8_t {
  none,
  head,        ///< RMS of each head, one weight [head_dim] for all
  head_layer,  ///< layer norm of each head with weights of its own [head_dim, n_head]
  row,         ///< RMS of the whole row
  row_layer,   ///< layer norm of the whole row, with biases
};

struct AttentionSpec {
  RopeKind rope = RopeKind::pairs;
  const RopeParams* rope_params = nullptr;  ///< null: Hparams::rope
  Need qkv_bias = Need::none;
  Need output_bias = Need::none;
  QkNorm qk_norm = QkNorm::none;
  Need qk_norm_need = Need::required;
  bool v_norm = false;
  bool v_is_k = false;  ///< without attn_v, v is k's projection
  bool sinks = false;
  bool alibi = false;
  bool gated = false;  ///< attn_q holds a gate behind each head's query (Qwen3.5)
  std::string_view output = "attn_output";
};

struct FfnSpec {
  Activation act = Activation::silu;
  bool gated = true;
  Need bias = Need::none;
};

struct MoeSpec {
  Activation act = Activation::silu;
  Need bias = Need::none;       ///< of router and experts
  bool selection_bias = false;  ///< exp_probs_b
  bool shared_gate = false;     ///< the shared expert is scaled by sigmoid(g x)
  bool fused_gate_up = false;   ///< ffn_gate_up_exps where the file has it
  bool expert_scale = false;    ///< ffn_down_exps.scale
};

class Forward {
 public:
  /// Listing: `specs` takes the tensors.
  Forward(const Hparams& hparams, const GgufFile& file, const Placement& placement,
          std::vector<TensorSpec>& specs);
  /// Planning.
  Forward(const ForwardInputs& in, std::uint32_t max_rows, std::uint32_t max_outputs);
  ~Forward();
  Plan finish();

  const Hparams& h;

  // Where the following words work: device, and prefix "blk.N." of names.
  void at_input();
  void at_layer(std::uint32_t layer, Part part);
  void at_output();
  /// at_layer, and x comes along.
  void enter(Value& x, std::uint32_t layer, Part part) {
    at_layer(layer, part);
    x = here(x);
  }
  std::uint32_t layer() const { return layer_; }
  const LayerParams& lp() const { return h.layers[layer_]; }

  // Tensors. Names without prefix and suffix: "attn_q" is "blk.3.attn_q.weight". Empty refs for
  // what is optional and not there.
  bool has(std::string_view name, std::string_view suffix = ".weight") const;
  TensorRef matrix(std::string_view name, std::uint64_t n_in, std::uint64_t n_out,
                   Need need = Need::required);
  /// n values of any shape as one f32 row.
  TensorRef vector(std::string_view name, std::uint64_t n, Need need = Need::required,
                   std::string_view suffix = ".weight");
  /// The same seen as [rows, cols].
  TensorRef table(std::string_view name, std::uint32_t rows, std::uint32_t cols,
                  Need need = Need::required, std::string_view suffix = ".weight");
  TensorRef bias(std::string_view name, std::uint64_t n, Need need) {
    return vector(name, n, need, ".bias");
  }
  /// A row of constants that the architecture computes itself; equal keys share one.
  TensorRef constant(const std::string& key, const std::vector<float>& values);

  // Values.
  Value value(std::uint32_t cols, RowSet rows = RowSet::step, DType dtype = DType::f32);
  void emit(Op op);
  /// x on the device that works now; behind the last attention only its rows that have outputs.
  Value here(const Value& x) { return builder_.on(device_, of_wanted_rows(x)); }
  static std::uint32_t cols(const Value& x) { return x.ref.cols; }

  // The input: token_embd, scaled by Hparams::embedding_scale. Learned positions and token type
  // where the architecture asks for them.
  Value embed(bool positions = false, bool token_type = false);

  Value norm(const Value& x, std::string_view name, const NormSpec& spec = kRmsNorm);
  /// x += norm(y).
  void add_normed(Value& x, const Value& y, std::string_view name, const NormSpec& spec = kRmsNorm);
  Value linear(const Value& x, std::string_view name, std::uint32_t n_out, Need bias = Need::none);
  Projection projection(const Value& x, std::string_view name, std::uint32_t n_out,
                        Need bias = Need::none);
  Value project(const Projection& p);
  /// x += Hparams::residual_scale * y.
  void add(Value& x, const Projection& y);
  void add(Value& x, const Value& y);
  Value mul(const Value& a, const Value& b, Activation act = Activation::identity);
  Value scaled(const Value& x, float factor);
  /// Columns [begin, begin + n) of each of `groups` equal parts of x.
  Value slice(const Value& x, std::uint32_t begin, std::uint32_t n, std::uint32_t groups = 1);

  // The parts of a block, on an input that is normalised already.
  Projection attention(const Value& x, const AttentionSpec& spec = {});
  Projection latent_attention(const Value& x);   ///< DeepSeek-V2's
  Projection delta_net(const Value& x);          ///< Qwen3-Next's gated delta net
  Projection short_convolution(const Value& x);  ///< LFM2's
  Projection ffn(const Value& x, const FfnSpec& spec = {});
  Value moe(const Value& x, const MoeSpec& spec = {});
  /// The same with a router that reads something else than the experts.
  Value moe(const Value& x, const Value& router_x, const MoeSpec& spec);

  /// From the residual stream to logits (or a pooled embedding): output_norm, then output.weight or
  /// the embedding. `norm_name` empty: no norm.
  void finish_with(const Value& x, std::string_view norm_name = "output_norm",
                   const NormSpec& spec = kRmsNorm, Need output = Need::optional);

  bool listing() const { return specs_ != nullptr; }
  const KvRef& kv() const;
  /// The current layer's state, `bytes` of it from `begin`.
  StateRef state(std::uint64_t begin, std::uint64_t bytes) const;
  /// Frequencies for rope, with the file's factors where the parameters use them.
  TensorRef inv_freq(const RopeParams& rope, float& magnitude);
  float attention_scale(std::uint32_t head_dim) const {
    return h.attention_scale > 0.0f ? h.attention_scale
                                    : static_cast<float>(1.0 / std::sqrt(double{1} * head_dim));
  }

 private:
  std::string full_name(std::string_view name, std::string_view suffix) const;
  void note(const std::string& name, std::uint64_t n_cols, std::uint64_t rows, bool vector,
            Need need);
  /// Ops from here on work on the rows whose output is wanted: nothing later reads the others.
  void output_rows_only();
  Value of_wanted_rows(const Value& x);
  /// Called behind what mixes the rows of a layer: the last one ends the need for all rows.
  void leave_mixing() {
    if (layer_ + 1 == h.n_layer && !is_pooled()) {
      output_rows_only();
    }
  }
  bool is_pooled() const { return listing() ? h.pooling != Pooling::none : in_->pooled; }
  Value norm_rows(const Value& x, std::string_view name, const NormSpec& spec);
  Value pool(const Value& x, std::string_view norm_name, const NormSpec& spec);
  std::vector<float> rope_factors(std::uint32_t n_rot);
  struct Heads {
    Value q, k, v, gate;
  };
  Heads project_heads(const Value& x, const AttentionSpec& spec);
  void norm_heads(const AttentionSpec& spec, Heads& heads);
  Value conv(const Value& x, std::string_view name, Activation act);
  Projection dense(const Value& x, std::string_view suffix, std::uint32_t n_ff,
                   const FfnSpec& spec);
  std::uint16_t device_of(std::uint32_t layer, Part part) const;

  const ForwardInputs* in_ = nullptr;  ///< null while listing
  const GgufFile& file_;
  const Placement& placement_;
  std::vector<TensorSpec>* specs_ = nullptr;
  PlanBuilder builder_;
  std::uint16_t device_ = 0;
  std::uint32_t layer_ = 0;
  Role role_ = Role::embedding;
  std::string prefix_;
  bool output_rows_only_ = false;
  Value output_;
};

/// The tensors of a model, in the order in which they are used; one may stand more than once.
std::vector<TensorSpec> list_tensors(const Hparams& hparams, const Architecture& architecture,
                                     const GgufFile& file, const Placement& placement);

Plan build_plan(const Architecture& architecture, const ForwardInputs& in, std::uint32_t max_rows,
                std::uint32_t max_outputs);

}  // namespace lm
