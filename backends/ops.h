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

  std::uint64_t k_tile_bytes() const {
    return row_bytes(dtype, std::uint64_t{kPageTokens} * head_dim_k);
  }
  std::uint64_t v_tile_bytes() const {
    return row_bytes(dtype, std::uint64_t{kPageTokens} * head_dim_v);
  }
};

enum class NormKind : std::uint8_t { rms, layer };
enum class RopeKind : std::uint8_t { none, pairs, halves };  ///< (2i, 2i+1) or (i, i + n_rot/2)
enum class Activation : std::uint8_t { silu, gelu_tanh, gelu_erf };

namespace ops {

/// out[row] = scale * table[token[row]], or input_embd[row] (unscaled) where the token is kNoToken.
struct Embed {
  TensorRef table;  ///< [n_vocab, n_embd]
  TensorRef out;    ///< [T, n_embd]
  float scale = 1.0f;
};

/// out = norm(x) * weight + bias; with `accumulate`, out += that. In-place (out == x) is allowed
/// without accumulate.
struct Norm {
  NormKind kind = NormKind::rms;
  TensorRef x, out;  ///< [rows, n]
  TensorRef weight;  ///< [1, n] f32, or empty: 1
  TensorRef bias;    ///< [1, n] f32, or empty: 0
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

/// Per head: optional RMS norm of q and k, rotation of q (in place) and k; k and v are then written
/// to the layer's pages at each row's KV index.
struct RopeKvWrite {
  TensorRef q;       ///< [T, n_head * head_dim_k], changed in place
  TensorRef k, v;    ///< [T, n_head_kv * head_dim], read; k may be changed
  TensorRef q_norm;  ///< [1, head_dim_k] f32, or empty: no norm
  TensorRef k_norm;
  float norm_eps = 1e-6f;
  RopeKind rope = RopeKind::none;
  std::uint32_t n_rot = 0;  ///< leading dims of a head that rotate
  TensorRef inv_freq;      ///< [1, n_rot / 2] f32: angle of pair j at position p is p * inv_freq[j]
  float magnitude = 1.0f;  ///< factor of cos and sin (YaRN, longrope)
  std::uint32_t n_head = 0;
  KvRef kv;
};

/// Paged causal attention for one layer.
/// q [T, n_head * head_dim_k] f32, already rotated; out [T, n_head * head_dim_v].
/// Row t of sequence s sees KV indices p with max(0, row_kv[t] - window + 1) <= p <= row_kv[t]
/// (window 0: no lower bound; causal false: all p < kv_len[s]). Query head h reads KV head h /
/// (n_head / n_head_kv). softcap c > 0 replaces a score s by c * tanh(s / c) before the softmax;
/// sinks [1, n_head] f32 add one virtual key per head whose value is zero. Scores and sums are
/// accumulated in f32. Source: online softmax (Milakov & Gimelshein 2018), flash attention (Dao et
/// al. 2022), paged KV (Kwon et al. 2023).
struct Attention {
  TensorRef q, out;
  std::uint32_t n_head = 0;
  float scale = 1.0f;
  float softcap = 0.0f;
  std::uint32_t window = 0;
  bool causal = true;
  TensorRef sinks;
  KvRef kv;
};

/// out = act(x Wg^T + bg) * (x Wu^T + bu); without `w_gate` (ungated): act(x Wu^T + bu).
struct GatedFfn {
  TensorRef x;             ///< [T, n_embd]
  TensorRef w_gate, w_up;  ///< [n_ff, n_embd]
  TensorRef b_gate, b_up;  ///< [1, n_ff] f32, or empty
  TensorRef out;           ///< [T, n_ff]
  Activation act = Activation::silu;
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

/// out = a + b, element by element.
struct Add {
  TensorRef a, b, out;
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

using Op = std::variant<ops::Embed, ops::Norm, ops::MatMul, ops::QkvMatMul, ops::RopeKvWrite,
                        ops::Attention, ops::GatedFfn, ops::GatherRows, ops::Logits, ops::Add,
                        ops::Scale, ops::Copy>;

/// Calls f(TensorRef&) for every tensor of an op, also for empty ones: how a plan's virtual tensors
/// get their places.
template <class F>
struct TensorVisitor {
  F& f;
  void operator()(ops::Embed& o) const { f(o.table), f(o.out); }
  void operator()(ops::Norm& o) const { f(o.x), f(o.out), f(o.weight), f(o.bias); }
  void operator()(ops::MatMul& o) const { f(o.x), f(o.weight), f(o.bias), f(o.out); }
  void operator()(ops::QkvMatMul& o) const {
    f(o.x), f(o.wq), f(o.wk), f(o.wv), f(o.bq), f(o.bk), f(o.bv), f(o.q), f(o.k), f(o.v);
  }
  void operator()(ops::RopeKvWrite& o) const {
    f(o.q), f(o.k), f(o.v), f(o.q_norm), f(o.k_norm), f(o.inv_freq);
  }
  void operator()(ops::Attention& o) const { f(o.q), f(o.out), f(o.sinks); }
  void operator()(ops::GatedFfn& o) const {
    f(o.x), f(o.w_gate), f(o.w_up), f(o.b_gate), f(o.b_up), f(o.out);
  }
  void operator()(ops::GatherRows& o) const { f(o.x), f(o.out); }
  void operator()(ops::Logits& o) const { f(o.x), f(o.weight), f(o.bias), f(o.out); }
  void operator()(ops::Add& o) const { f(o.a), f(o.b), f(o.out); }
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
};
AccessSet access(const Op& op);

/// Stable name: "rope_kv_write". Also the name of the op's file in reference/ and in the
/// conformance suite.
const char* op_name(const Op& op);

}  // namespace lm
