#include "backends/check.h"

#include <algorithm>

#include <fmt/format.h>

namespace lm {
namespace {

/// Gathers the first complaint about one op.
class Checker {
 public:
  explicit Checker(const char* op) : op_(op) {}

  /// An f32 tensor of `cols` columns; `what` names the field.
  void f32(const TensorRef& t, const char* what, std::uint64_t cols) {
    typed(t, what, DType::f32, cols);
  }
  /// A row of f32 that may be left out.
  void optional(const TensorRef& t, const char* what, std::uint64_t cols) {
    if (!t.empty()) {
      f32(t, what, cols);
    }
  }
  /// As `f32` for another plain type.
  void typed(const TensorRef& t, const char* what, DType dtype, std::uint64_t cols) {
    if (t.empty()) {
      complain(fmt::format("{} is missing", what));
      return;
    }
    if (t.dtype != dtype) {
      complain(fmt::format("{} has type {}, expected {}", what, layout(t.dtype).name,
                           layout(dtype).name));
    }
    equal(t.cols, cols, what);
  }
  void weight(const TensorRef& t, const char* what, std::uint64_t rows, std::uint64_t cols) {
    if (t.empty()) {
      complain(fmt::format("{} is missing", what));
      return;
    }
    equal(t.cols, cols, what);
    if (t.rows != rows) {
      complain(fmt::format("{} has {} rows, expected {}", what, t.rows, rows));
    }
    if (t.cols % layout(t.dtype).block_elems != 0) {
      complain(fmt::format("{} has rows of {} values, not whole blocks of {}", what, t.cols,
                           layout(t.dtype).name));
    }
  }
  void kv(const KvRef& kv, std::uint32_t n_head) {
    if (kv.n_head_kv == 0 || n_head == 0 || n_head % kv.n_head_kv != 0) {
      complain(fmt::format("{} heads do not divide into {} KV heads", n_head, kv.n_head_kv));
    }
    const std::uint32_t block = layout(kv.dtype).block_elems;
    if (kv.head_dim_k == 0 || kv.head_dim_v == 0 || kv.head_dim_k % block != 0 ||
        kv.head_dim_v % block != 0) {
      complain(fmt::format("heads of {} and {} values are not whole blocks of {}", kv.head_dim_k,
                           kv.head_dim_v, layout(kv.dtype).name));
    }
    if (kv.v_in_k && kv.head_dim_v > kv.head_dim_k) {
      complain(
          fmt::format("values of {} can't be part of keys of {}", kv.head_dim_v, kv.head_dim_k));
    }
  }
  void state(const StateRef& state, std::uint64_t values) {
    if (state.bytes != values * sizeof(float)) {
      complain(fmt::format("state has {} bytes, expected {}", state.bytes, values * sizeof(float)));
    }
    if (state.offset > state.slot_bytes || state.bytes > state.slot_bytes - state.offset) {
      complain(fmt::format("state of {} bytes at {} leaves its slot of {}", state.bytes,
                           state.offset, state.slot_bytes));
    }
    if (state.offset % sizeof(float) != 0 || state.slot_bytes % sizeof(float) != 0) {
      complain(fmt::format("state of F32 values at odd offset {} of slots of {}", state.offset,
                           state.slot_bytes));
    }
  }
  void require(bool ok, const char* problem) {
    if (!ok) {
      complain(problem);
    }
  }
  Result<void> result() const {
    if (problem_.empty()) {
      return {};
    }
    return fail(ErrorCode::shape_mismatch, fmt::format("op {}", op_), problem_);
  }

 private:
  void equal(std::uint64_t got, std::uint64_t expected, const char* what) {
    if (got != expected) {
      complain(fmt::format("{} has {} columns, expected {}", what, got, expected));
    }
  }
  void complain(std::string problem) {
    if (problem_.empty()) {
      problem_ = std::move(problem);
    }
  }

  const char* op_;
  std::string problem_;
};

struct ShapeVisitor {
  Checker& c;

  void operator()(const ops::Embed& o) const {
    c.weight(o.table, "table", o.table.rows, o.out.cols);
    c.f32(o.out, "out", o.out.cols);
    if (!o.positions.empty()) {
      c.weight(o.positions, "positions", o.positions.rows, o.out.cols);
    }
    if (!o.add.empty()) {
      c.weight(o.add, "add", 1, o.out.cols);
    }
  }
  void operator()(const ops::Norm& o) const {
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
    c.require(o.group == 0 || o.out.cols % o.group == 0, "group does not divide the row");
    const auto width = [&](const TensorRef& t) {
      return o.group != 0 && t.cols == o.group ? o.group : o.out.cols;
    };
    c.optional(o.weight, "weight", width(o.weight));
    c.optional(o.bias, "bias", width(o.bias));
  }
  void operator()(const ops::MatMul& o) const { product(o.x, o.weight, o.bias, o.out, "weight"); }
  void operator()(const ops::QkvMatMul& o) const {
    product(o.x, o.wq, o.bq, o.q, "wq");
    product(o.x, o.wk, o.bk, o.k, "wk");
    product(o.x, o.wv, o.bv, o.v, "wv");
  }
  void operator()(const ops::HeadMatMul& o) const {
    const std::uint64_t heads = o.n_head;
    const std::uint32_t n_out = o.n_head != 0 ? o.weight.rows / o.n_head : 0;
    c.require(o.n_head != 0, "has no heads");
    c.weight(o.weight, "weight", heads * n_out, o.weight.cols);
    c.f32(o.x, "x", heads * o.x_width);
    c.f32(o.out, "out", heads * o.out_width);
    c.require(n_out != 0 && n_out <= o.out_width, "out_width is below the weight's rows a head");
    c.require(o.weight.cols <= o.x_width, "x_width is below the weight's columns");
  }
  void operator()(const ops::CopyCols& o) const {
    c.require(o.groups != 0 && (o.x_groups == o.groups || o.x_groups == 1),
              "x_groups is neither 1 nor groups");
    c.f32(o.x, "x", std::uint64_t{o.x_groups} * o.x_width);
    c.f32(o.out, "out", std::uint64_t{o.groups} * o.out_width);
    c.require(o.n != 0 && std::uint64_t{o.x_begin} + o.n <= o.x_width, "reads beyond x_width");
    c.require(std::uint64_t{o.out_begin} + o.n <= o.out_width, "writes beyond out_width");
  }
  void operator()(const ops::RopeKvWrite& o) const {
    const std::uint64_t heads = o.kv.n_head_kv;
    c.kv(o.kv, o.n_head);
    c.f32(o.q, "q", std::uint64_t{o.n_head} * o.kv.head_dim_k);
    c.optional(o.k, "k", heads * o.kv.head_dim_k);
    c.require(o.v.empty() || !o.k.empty(), "v is written without k");
    c.require(o.k.empty() || o.v.empty() == o.kv.v_in_k,
              "v is missing, or given where values are part of the keys");
    c.optional(o.v, "v", heads * o.kv.head_dim_v);
    c.require(o.temperature == 0.0f || o.temperature_length > 0.0f,
              "temperature_length is not positive");
    c.optional(o.q_norm, "q_norm", o.kv.head_dim_k);
    c.optional(o.k_norm, "k_norm", o.kv.head_dim_k);
    if (o.rope != RopeKind::none) {
      c.require(o.n_rot % 2 == 0 && std::uint64_t{o.rot_begin} + o.n_rot <= o.kv.head_dim_k,
                "n_rot is odd or beyond the head's end");
      c.f32(o.inv_freq, "inv_freq", o.n_rot / 2);
    }
  }
  void operator()(const ops::Attention& o) const {
    c.kv(o.kv, o.n_head);
    c.f32(o.q, "q", std::uint64_t{o.n_head} * o.kv.head_dim_k);
    c.f32(o.out, "out", std::uint64_t{o.n_head} * o.kv.head_dim_v);
    c.optional(o.sinks, "sinks", o.n_head);
    c.optional(o.slopes, "slopes", o.n_head);
  }
  void operator()(const ops::GatedFfn& o) const {
    product(o.x, o.w_up, o.b_up, o.out, "w_up");
    if (!o.w_gate.empty()) {
      product(o.x, o.w_gate, o.b_gate, o.out, "w_gate");
    } else {
      ungated(o.act);
    }
  }
  void operator()(const ops::MoeRoute& o) const {
    const std::uint32_t n_expert = o.logits.cols;
    const std::uint32_t n_used = o.ids.cols;
    c.f32(o.logits, "logits", n_expert);
    c.optional(o.bias, "bias", n_expert);
    c.optional(o.expert_scale, "expert_scale", n_expert);
    c.typed(o.ids, "ids", DType::i32, n_used);
    c.f32(o.weights, "weights", n_used);
    c.require(n_expert != 0 && n_expert <= kMaxExperts, "has no experts or more than 1024");
    const bool groups = o.n_group != 0 && n_expert % o.n_group == 0 && o.n_group_used != 0 &&
                        o.n_group_used <= o.n_group;
    c.require(groups, "n_group does not divide the experts, or n_group_used is above it");
    c.require(groups && n_used != 0 && n_used <= n_expert / o.n_group * o.n_group_used,
              "uses no experts or more than its groups have");
  }
  void operator()(const ops::MoeFfn& o) const {
    const std::uint64_t last =
        o.n_expert != 0 ? std::uint64_t{o.n_expert - 1} * o.expert_stride + o.n_ff : 0;
    const auto stack = [&](const TensorRef& t, const char* what) {
      c.weight(t, what, t.rows, o.x.cols);
      c.require(t.rows >= last, "w_gate or w_up ends before its last expert");
    };
    c.require(o.n_expert != 0 && o.n_expert <= kMaxExperts, "has no experts or more than 1024");
    c.require(o.n_ff != 0 && o.expert_stride >= o.n_ff, "expert_stride is below n_ff");
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
    c.require(o.ids.cols != 0, "uses no experts");
    c.typed(o.ids, "ids", DType::i32, o.ids.cols);
    c.f32(o.weights, "weights", o.ids.cols);
    stack(o.w_up, "w_up");
    if (!o.w_gate.empty()) {
      stack(o.w_gate, "w_gate");
    } else {
      ungated(o.act);
      c.require(o.b_gate.empty(), "b_gate without w_gate");
    }
    c.weight(o.w_down, "w_down", std::uint64_t{o.n_expert} * o.out.cols, o.n_ff);
    expert_bias(o.b_gate, "b_gate", o.n_expert, o.n_ff);
    expert_bias(o.b_up, "b_up", o.n_expert, o.n_ff);
    expert_bias(o.b_down, "b_down", o.n_expert, o.out.cols);
  }
  void operator()(const ops::CausalConv& o) const {
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
    c.require(o.weight.cols != 0, "has no taps");
    c.f32(o.weight, "weight", o.weight.cols);
    c.require(o.weight.rows == o.out.cols, "weight has not one row a column of out");
    c.require(o.x.buffer != o.out.buffer || o.x.offset != o.out.offset, "out is x");
    ungated(o.act);
    c.state(o.state, std::uint64_t{o.weight.cols != 0 ? o.weight.cols - 1 : 0} * o.out.cols);
  }
  void operator()(const ops::DeltaNet& o) const {
    const std::uint64_t dim = o.head_dim;
    c.require(o.n_head_k != 0 && o.head_dim != 0 && o.n_head_v % std::max(o.n_head_k, 1u) == 0 &&
                  o.n_head_v != 0,
              "value heads do not divide into key heads");
    c.f32(o.qkv, "qkv", (2 * std::uint64_t{o.n_head_k} + o.n_head_v) * dim);
    c.f32(o.alpha, "alpha", o.n_head_v);
    c.f32(o.beta, "beta", o.n_head_v);
    c.f32(o.dt_bias, "dt_bias", o.n_head_v);
    c.f32(o.a, "a", o.n_head_v);
    c.f32(o.out, "out", o.n_head_v * dim);
    c.state(o.state, o.n_head_v * dim * dim);
  }
  void operator()(const ops::MeanRows& o) const {
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
  }
  void operator()(const ops::GatherRows& o) const {
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
  }
  void operator()(const ops::Logits& o) const { product(o.x, o.weight, o.bias, o.out, "weight"); }
  void operator()(const ops::Add& o) const {
    c.f32(o.a, "a", o.out.cols);
    c.f32(o.b, "b", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
  }
  void operator()(const ops::Mul& o) const {
    c.f32(o.a, "a", o.a.cols == 1 ? 1 : o.out.cols);
    c.f32(o.b, "b", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
    ungated(o.act);
  }
  void operator()(const ops::Scale& o) const {
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
  }
  void operator()(const ops::Copy& o) const {
    c.require(o.src.cols == o.dst.cols, "src and dst differ in width");
  }

 private:
  void ungated(Activation act) const {
    c.require(act != Activation::swiglu_clamped, "swiglu_clamped needs a gate");
  }
  void expert_bias(const TensorRef& t, const char* name, std::uint32_t n_expert,
                   std::uint32_t cols) const {
    c.optional(t, name, cols);
    c.require(t.empty() || t.rows >= n_expert, "a bias has not one row an expert");
  }
  void product(const TensorRef& x, const TensorRef& weight, const TensorRef& bias,
               const TensorRef& out, const char* name) const {
    c.weight(weight, name, out.cols, x.cols);
    c.f32(x, "x", weight.cols);
    c.f32(out, "out", weight.rows);
    c.optional(bias, "bias", weight.rows);
  }
};

Result<void> check_place(const TensorRef& t, std::span<Buffer* const> buffers, const char* op) {
  if (t.buffer >= buffers.size() || buffers[t.buffer] == nullptr) {
    return fail(ErrorCode::missing, fmt::format("op {}", op),
                fmt::format("buffer {} is not in the table", t.buffer));
  }
  const std::uint64_t size = buffers[t.buffer]->size();
  if (t.offset > size || t.bytes() > size - t.offset) {
    return fail(ErrorCode::shape_mismatch, fmt::format("op {}", op),
                fmt::format("a tensor of {} bytes at {} leaves its buffer of {}", t.bytes(),
                            t.offset, size));
  }
  if ((t.dtype == DType::f32 || t.dtype == DType::i32) &&
      (buffers[t.buffer]->address() + t.offset) % sizeof(float) != 0) {
    return fail(ErrorCode::bad_value, fmt::format("op {}", op),
                fmt::format("{} values at odd offset {}", layout(t.dtype).name, t.offset));
  }
  return {};
}

/// Rows that a written tensor must have room for.
struct RowsVisitor {
  std::uint32_t rows;
  std::uint32_t outputs;
  std::uint32_t of(RowSet set) const { return set == RowSet::step ? rows : outputs; }

  std::uint32_t operator()(const ops::Embed&) const { return rows; }
  std::uint32_t operator()(const ops::Norm& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::MatMul& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::QkvMatMul&) const { return rows; }
  std::uint32_t operator()(const ops::HeadMatMul&) const { return rows; }
  std::uint32_t operator()(const ops::CopyCols& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::RopeKvWrite&) const { return rows; }
  std::uint32_t operator()(const ops::Attention&) const { return rows; }
  std::uint32_t operator()(const ops::GatedFfn& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::MoeRoute& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::MoeFfn& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::CausalConv&) const { return rows; }
  std::uint32_t operator()(const ops::DeltaNet&) const { return rows; }
  std::uint32_t operator()(const ops::MeanRows&) const { return outputs; }
  std::uint32_t operator()(const ops::GatherRows&) const { return outputs; }
  std::uint32_t operator()(const ops::Logits&) const { return outputs; }
  std::uint32_t operator()(const ops::Add& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::Mul& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::Scale& o) const { return of(o.rows); }
  std::uint32_t operator()(const ops::Copy& o) const { return of(o.rows); }
};

}  // namespace

Result<void> check_shapes(const Op& op) {
  Checker checker(op_name(op));
  std::visit(ShapeVisitor{checker}, op);
  return checker.result();
}

Result<void> check_request(const CompileRequest& request) {
  for (const Op& op : request.segment->ops) {
    LM_CHECK(check_shapes(op));
    const AccessSet set = access(op);
    for (std::uint32_t i = 0; i < set.n_reads; ++i) {
      LM_CHECK(check_place(set.reads[i], request.buffers, op_name(op)));
    }
    const std::uint32_t rows = std::visit(RowsVisitor{request.max_rows, request.max_outputs}, op);
    for (std::uint32_t i = 0; i < set.n_writes; ++i) {
      LM_CHECK(check_place(set.writes[i], request.buffers, op_name(op)));
      if (set.writes[i].rows < rows) {
        return fail(
            ErrorCode::shape_mismatch, fmt::format("op {}", op_name(op)),
            fmt::format("writes up to {} rows into a tensor of {}", rows, set.writes[i].rows));
      }
    }
  }
  return {};
}

}  // namespace lm
