/// The coarse operations that architectures emit and backends run. C++17, because .cu files include
/// it.
///
/// Shapes are [rows, cols], row-major. Activations are f32 at the interface; weights have any type
/// the backend takes. Every op names what it reads and writes (`access`), so that barriers,
/// liveness and exact bytes are data. A field's default means "off". No op reads results on the
/// host, allocates, or synchronises.
#pragma once

#include <cstdint>
#include <variant>

#include "backends/step_input.h"
#include "backends/tensor.h"

namespace lm {

/// Which rows of a step an op works on: all tokens, or only the gathered output rows.
enum class RowSet : std::uint8_t { step, outputs };

/// Where one layer's K and V lie inside a page of its group on its device. A page holds, for every
/// layer of the group on that device: n_head_kv K tiles, then n_head_kv V tiles; a tile is
/// kPageTokens x head_dim values of `dtype`. The arrangement inside a tile belongs to the backend;
/// its size does not depend on it.
struct KvRef {
  std::uint32_t group = 0;
  DType dtype = DType::f16;
  std::uint32_t n_head_kv = 0;
  std::uint32_t head_dim_k = 0;
  std::uint32_t head_dim_v = 0;
  std::uint64_t page_bytes = 0;  ///< distance of two pages in a slab
  std::uint64_t k_offset = 0;    ///< bytes from the page's start
  std::uint64_t v_offset = 0;
  /// V is the first head_dim_v values of K's row: no V tiles (multi-head latent attention,
  /// DeepSeek-V2 2024, in its absorbed form).
  bool v_in_k = false;

  std::uint64_t k_tile_bytes() const {
    return row_bytes(dtype, std::uint64_t{kPageTokens} * head_dim_k);
  }
  std::uint64_t v_tile_bytes() const {
    return v_in_k ? 0 : row_bytes(dtype, std::uint64_t{kPageTokens} * head_dim_v);
  }
};

/// Where one layer's recurrent state lies: `bytes` at `offset` inside each sequence's slot of
/// `slot_bytes` on its device. f32 values, zero in a new slot, changed in place. Every sequence of
/// a step with such layers has a slot of its own.
struct StateRef {
  std::uint64_t slot_bytes = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

enum class NormKind : std::uint8_t { rms, layer };
enum class RopeKind : std::uint8_t { none, pairs, halves };  ///< (2i, 2i+1) or (i, i + n_rot/2)
enum class Activation : std::uint8_t {
  silu,
  gelu_tanh,
  gelu_erf,
  /// Gated only (gpt-oss): g' sigmoid(1.702 g') (clamp(u, -7, 7) + 1) with g' = min(g, 7).
  swiglu_clamped,
  sigmoid,
  identity,
};
/// How expert logits become weights: over all experts, per expert, or over the chosen ones only.
enum class ExpertGating : std::uint8_t { softmax, sigmoid, softmax_chosen };

/// Most experts that a router can choose from.
constexpr std::uint32_t kMaxExperts = 1024;

namespace ops {

/// out[row] = scale * table[token[row]], or input_embd[row] (unscaled) where the token is kNoToken;
/// then + positions[pos[row]] + add.
struct Embed {
  TensorRef table;      ///< [n_vocab, n_embd]
  TensorRef out;        ///< [T, n_embd]
  TensorRef positions;  ///< [n_ctx_train, n_embd], learned positions, or empty; beyond them: NaN
  TensorRef add;        ///< [1, n_embd] of any weight type (token type 0 of BERT), or empty
  float scale = 1.0f;
  /// False: a table beside the model's embedding (per-layer embeddings); input_embd is not read and
  /// a row of kNoToken is zero.
  bool takes_input = true;
};

/// out = norm(x) * weight + bias; with `accumulate`, out += that. In-place (out == x) is allowed
/// without accumulate. With `group` each run of `group` values of a row is normalised by itself
/// (heads); weight and bias then have `group` values for all of them, or n.
struct Norm {
  NormKind kind = NormKind::rms;
  TensorRef x, out;         ///< [rows, n]
  TensorRef weight;         ///< [1, n] or [1, group] f32, or empty: 1
  TensorRef bias;           ///< as weight, or empty: 0
  std::uint32_t group = 0;  ///< divides n; 0: the whole row
  float eps = 1e-5f;
  bool accumulate = false;
  RowSet rows = RowSet::step;
};

/// out = x W^T + bias; with `accumulate` added to what out holds (residual).
struct MatMul {
  TensorRef x;       ///< [rows, n_in]
  TensorRef weight;  ///< [n_out, n_in]
  TensorRef bias;    ///< [1, n_out] f32, or empty
  TensorRef out;     ///< [rows, n_out]
  bool accumulate = false;
  RowSet rows = RowSet::step;
};

/// q, k and v from one x in one launch. A packed attn_qkv comes as three refs into one tensor.
struct QkvMatMul {
  TensorRef x;           ///< [T, n_in]
  TensorRef wq, wk, wv;  ///< [n_head * head_dim, n_in], [n_head_kv * head_dim, n_in] x 2
  TensorRef bq, bk, bv;  ///< [1, ...] f32, or empty
  TensorRef q, k, v;
};

/// A product per head: head h of out = W_h x_h. x is seen as [T, n_head, x_width], of which the
/// first n_in values are read; out as [T, n_head, out_width], of which the first n_out are written
/// (the absorbed projections of latent attention).
struct HeadMatMul {
  TensorRef x;
  TensorRef weight;  ///< [n_head * n_out, n_in]
  TensorRef out;
  std::uint32_t n_head = 0;
  std::uint32_t x_width = 0, out_width = 0;
};

/// Moves columns: x seen as [T, groups, x_width], out as [T, groups, out_width];
/// out[.., out_begin + i] = x[.., x_begin + i] for i < n. With x_groups 1 the one group of x goes
/// to every group of out. Other columns of out keep what they hold.
struct CopyCols {
  TensorRef x, out;
  std::uint32_t groups = 1, x_groups = 1;
  std::uint32_t x_width = 0, x_begin = 0;
  std::uint32_t out_width = 0, out_begin = 0;
  std::uint32_t n = 0;
  RowSet rows = RowSet::step;
};

/// Per head: optional RMS norm of q and k, rotation of q (in place) and k; k and v are then written
/// to the layer's pages at each row's KV index. Without `k` only q is treated (a layer that reads
/// another layer's cache); without `v` only k is written (kv.v_in_k).
struct RopeKvWrite {
  TensorRef q;       ///< [T, n_head * head_dim_k], changed in place
  TensorRef k, v;    ///< [T, n_head_kv * head_dim], read; k and v may be changed; or empty
  TensorRef q_norm;  ///< [1, head_dim_k] f32, or empty: no norm
  TensorRef k_norm;
  bool v_norm = false;  ///< RMS norm of each head of v, without weights (Gemma 4)
  float norm_eps = 1e-6f;
  RopeKind rope = RopeKind::none;
  std::uint32_t n_rot = 0;  ///< dims [rot_begin, rot_begin + n_rot) of a head rotate
  std::uint32_t rot_begin = 0;
  TensorRef inv_freq;      ///< [1, n_rot / 2] f32: angle of pair j at position p is p * inv_freq[j]
  float magnitude = 1.0f;  ///< factor of cos and sin (YaRN, longrope)
  /// t != 0: q is multiplied by 1 + t ln(floor(p / temperature_length) + 1) afterwards (Mistral 3).
  float temperature = 0.0f;
  float temperature_length = 1.0f;
  std::uint32_t n_head = 0;
  KvRef kv;
};

/// Paged causal attention for one layer.
/// q [T, n_head * head_dim_k] f32, already rotated; out [T, n_head * head_dim_v].
/// Row t of sequence s sees KV indices p with max(0, row_kv[t] - window + 1) <= p <= row_kv[t]
/// (window 0: no lower bound). causal false: all p < kv_len[s], with a window those with
/// |p - row_kv[t]| <= window / 2 (rounded down). Query head h reads KV head h / (n_head /
/// n_head_kv). A score is s = scale * q k; softcap c > 0 replaces it by c * tanh(s / c); then
/// slopes [1, n_head] f32 subtract slope_h * |p - row_kv[t]| (ALiBi, Press et al. 2022); sinks [1,
/// n_head] f32 add one virtual key per head whose value is zero. Scores and sums are accumulated in
/// f32. Source: online softmax (Milakov & Gimelshein 2018), flash attention (Dao et al. 2022),
/// paged KV (Kwon et al. 2023).
struct Attention {
  TensorRef q, out;
  std::uint32_t n_head = 0;
  float scale = 1.0f;
  float softcap = 0.0f;
  std::uint32_t window = 0;
  bool causal = true;
  TensorRef sinks;
  TensorRef slopes;
  KvRef kv;
};

/// out = act(x Wg^T + bg) * (x Wu^T + bu); without `w_gate` (ungated): act(x Wu^T + bu).
struct GatedFfn {
  TensorRef x;             ///< [T, n_embd]
  TensorRef w_gate, w_up;  ///< [n_ff, n_embd]
  TensorRef b_gate, b_up;  ///< [1, n_ff] f32, or empty
  TensorRef out;           ///< [T, n_ff]
  Activation act = Activation::silu;
  RowSet rows = RowSet::step;
};

/// Chooses n_used experts a row from p = gating(logits), which for softmax_chosen are the logits
/// themselves (Shazeer et al. 2017; groups, selection bias: DeepSeek-V3 2024). The choice is by p +
/// bias, best first, of equals the lowest number; with groups only experts of the n_group_used
/// groups whose two best choices sum highest. Weights are p of the chosen without bias (for
/// softmax_chosen the softmax over them), divided by max(their sum, 2^-14) when `normalize`, times
/// scale, times expert_scale[expert]. Logits that are not numbers still give different experts.
struct MoeRoute {
  TensorRef logits;        ///< [T, n_expert]
  TensorRef bias;          ///< [1, n_expert] f32, or empty
  TensorRef expert_scale;  ///< [1, n_expert] f32, or empty
  TensorRef ids;           ///< [T, n_used] i32, written
  TensorRef weights;       ///< [T, n_used] f32, written
  ExpertGating gating = ExpertGating::softmax;
  bool normalize = false;
  float scale = 1.0f;
  std::uint32_t n_group = 1, n_group_used = 1;
  RowSet rows = RowSet::step;
};

/// out = sum over a row's chosen experts e of weight_e * (down_e (act(gate_e x + bg_e) * (up_e x +
/// bu_e)) + bd_e), or added to out. Without w_gate: ungated. Matrices of all experts stand in one
/// tensor: expert e's gate and up rows begin at e * expert_stride (n_ff, or 2 n_ff where gate and
/// up share a tensor), its down rows at e * n_embd. A row's experts are summed in rising order.
struct MoeFfn {
  TensorRef x;             ///< [T, n_embd]
  TensorRef ids, weights;  ///< of MoeRoute
  TensorRef w_gate, w_up;  ///< [at least (n_expert - 1) * expert_stride + n_ff, n_embd]
  TensorRef w_down;        ///< [n_expert * n_embd, n_ff]
  TensorRef b_gate, b_up;  ///< [n_expert, n_ff] f32, or empty
  TensorRef b_down;        ///< [n_expert, n_embd] f32, or empty
  TensorRef out;           ///< [T, n_embd]
  std::uint32_t n_expert = 0, n_ff = 0, expert_stride = 0;
  Activation act = Activation::silu;
  bool accumulate = false;
  RowSet rows = RowSet::step;
};

/// Depthwise causal convolution along each sequence: out[t] = act(sum_j w[c, j] x[t - taps + 1 +
/// j]), the last tap meets the current row. What lies before this step's rows comes from the state,
/// the last taps - 1 inputs [taps - 1, C] in order, which is brought up to date. Not in place.
struct CausalConv {
  TensorRef x;                            ///< [T, C]
  TensorRef weight;                       ///< [C, taps] f32
  TensorRef out;                          ///< [T, C]
  Activation act = Activation::identity;  ///< ungated
  StateRef state;
};

/// Gated delta rule (Yang et al. 2024) as Qwen3-Next has it, per value head h with key head h mod
/// n_head_k: q and k are L2-normalised (x / sqrt(|x|^2 + eps)), q /= sqrt(S); g = softplus(alpha +
/// dt_bias) * a, b = sigmoid(beta); then row by row S *= e^g; d = b (v - S^T k); S += k d^T; out =
/// S^T q. State: [n_head_v, S, S], index [h][key][value].
struct DeltaNet {
  TensorRef qkv;          ///< [T, (2 n_head_k + n_head_v) * S]: q heads, k heads, v heads
  TensorRef alpha, beta;  ///< [T, n_head_v]
  TensorRef dt_bias, a;   ///< [1, n_head_v] f32
  TensorRef out;          ///< [T, n_head_v * S]
  std::uint32_t n_head_k = 0, n_head_v = 0, head_dim = 0;
  float eps = 1e-6f;
  StateRef state;
};

/// out[o] = mean of x over all rows in this step of the sequence that row out_row[o] belongs to.
struct MeanRows {
  TensorRef x;    ///< [T, n]
  TensorRef out;  ///< [n_out, n]
};

/// out[o] = x[out_row[o]] for the rows whose logits are wanted.
struct GatherRows {
  TensorRef x;    ///< [T, n]
  TensorRef out;  ///< [n_out, n]
};

/// out[o] = softcap(scale * (x[o] W^T + bias)) in f32, for the gathered rows.
struct Logits {
  TensorRef x;       ///< [n_out, n_embd]
  TensorRef weight;  ///< [n_vocab, n_embd]
  TensorRef bias;
  TensorRef out;  ///< [n_out, n_vocab]
  float scale = 1.0f;
  float softcap = 0.0f;
};

/// out = factor_a * a + factor_b * b, element by element; out may be a or b.
struct Add {
  TensorRef a, b, out;
  float factor_a = 1.0f, factor_b = 1.0f;
  RowSet rows = RowSet::step;
};

/// out = act(a) * b, element by element; out may be b. a [rows, n], or [rows, 1]: a factor a row;
/// with a_constant a is one row [1, n] or [1, 1] f32 for all rows.
struct Mul {
  TensorRef a, b, out;
  Activation act = Activation::identity;
  bool a_constant = false;
  RowSet rows = RowSet::step;
};

/// out = factor * x.
struct Scale {
  TensorRef x, out;
  float factor = 1.0f;
  RowSet rows = RowSet::step;
};

/// Alive rows of `src` on another device to `dst` on this segment's device. Runs between segments,
/// by the caller of `Executable::run` (it alone knows both devices); stands alone in its segment.
struct Copy {
  TensorRef src, dst;
  std::uint16_t src_device = 0;
  std::uint16_t dst_device = 0;
  RowSet rows = RowSet::step;
};

}  // namespace ops

using Op = std::variant<ops::Embed, ops::Norm, ops::MatMul, ops::QkvMatMul, ops::HeadMatMul,
                        ops::CopyCols, ops::RopeKvWrite, ops::Attention, ops::GatedFfn,
                        ops::MoeRoute, ops::MoeFfn, ops::CausalConv, ops::DeltaNet, ops::MeanRows,
                        ops::GatherRows, ops::Logits, ops::Add, ops::Mul, ops::Scale, ops::Copy>;

/// Calls f(TensorRef&) for every tensor of an op, also for empty ones: how a plan's virtual tensors
/// get their places.
template <class F>
struct TensorVisitor {
  F& f;
  void operator()(ops::Embed& o) const { f(o.table), f(o.out), f(o.positions), f(o.add); }
  void operator()(ops::Norm& o) const { f(o.x), f(o.out), f(o.weight), f(o.bias); }
  void operator()(ops::MatMul& o) const { f(o.x), f(o.weight), f(o.bias), f(o.out); }
  void operator()(ops::QkvMatMul& o) const {
    f(o.x), f(o.wq), f(o.wk), f(o.wv), f(o.bq), f(o.bk), f(o.bv), f(o.q), f(o.k), f(o.v);
  }
  void operator()(ops::HeadMatMul& o) const { f(o.x), f(o.weight), f(o.out); }
  void operator()(ops::CopyCols& o) const { f(o.x), f(o.out); }
  void operator()(ops::RopeKvWrite& o) const {
    f(o.q), f(o.k), f(o.v), f(o.q_norm), f(o.k_norm), f(o.inv_freq);
  }
  void operator()(ops::Attention& o) const { f(o.q), f(o.out), f(o.sinks), f(o.slopes); }
  void operator()(ops::GatedFfn& o) const {
    f(o.x), f(o.w_gate), f(o.w_up), f(o.b_gate), f(o.b_up), f(o.out);
  }
  void operator()(ops::MoeRoute& o) const {
    f(o.logits), f(o.bias), f(o.expert_scale), f(o.ids), f(o.weights);
  }
  void operator()(ops::MoeFfn& o) const {
    f(o.x), f(o.ids), f(o.weights), f(o.w_gate), f(o.w_up), f(o.w_down), f(o.b_gate), f(o.b_up),
        f(o.b_down), f(o.out);
  }
  void operator()(ops::CausalConv& o) const { f(o.x), f(o.weight), f(o.out); }
  void operator()(ops::DeltaNet& o) const {
    f(o.qkv), f(o.alpha), f(o.beta), f(o.dt_bias), f(o.a), f(o.out);
  }
  void operator()(ops::MeanRows& o) const { f(o.x), f(o.out); }
  void operator()(ops::GatherRows& o) const { f(o.x), f(o.out); }
  void operator()(ops::Logits& o) const { f(o.x), f(o.weight), f(o.bias), f(o.out); }
  void operator()(ops::Add& o) const { f(o.a), f(o.b), f(o.out); }
  void operator()(ops::Mul& o) const { f(o.a), f(o.b), f(o.out); }
  void operator()(ops::Scale& o) const { f(o.x), f(o.out); }
  void operator()(ops::Copy& o) const { f(o.src), f(o.dst); }
};
template <class F>
void for_each_tensor(Op& op, F f) {
  std::visit(TensorVisitor<F>{f}, op);
}

/// Arrays of StepInput that an op reads, as bits.
namespace step_array {
constexpr std::uint32_t token = 1u << 0, input_embd = 1u << 1, pos = 1u << 2, row_seq = 1u << 3,
                        row_kv = 1u << 4, seq_row = 1u << 5, kv_len = 1u << 6, pages = 1u << 7,
                        out_row = 1u << 8, state_slot = 1u << 9;
}

/// What an op touches. A tensor may stand in both lists (in place, accumulate).
struct AccessSet {
  static constexpr std::uint32_t kMax = 12;
  TensorRef reads[kMax];
  std::uint32_t n_reads = 0;
  TensorRef writes[4];
  std::uint32_t n_writes = 0;
  std::uint32_t step_arrays = 0;  ///< bits of step_array
  bool reads_kv = false;
  bool writes_kv = false;
  KvRef kv;
  bool uses_state = false;  ///< reads and writes the sequences' state slots at `state`
  StateRef state;
};
AccessSet access(const Op& op);

/// Stable name: "rope_kv_write". Also the name of the op's file in reference/ and in the
/// conformance suite.
const char* op_name(const Op& op);

}  // namespace lm
