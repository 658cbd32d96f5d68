#include "backends/check.h"

#include <fmt/format.h>

namespace lm {
namespace {

/// Gathers the first complaint about one op.
class Checker {
 public:
  explicit Checker(const char* op) : op_(op) {}

  /// An f32 tensor of `cols` columns; `what` names the field.
  void f32(const TensorRef& t, const char* what, std::uint64_t cols) {
    if (t.empty()) {
      complain(fmt::format("{} is missing", what));
      return;
    }
    if (t.dtype != DType::f32) {
      complain(fmt::format("{} has type {}, expected F32", what, layout(t.dtype).name));
    }
    equal(t.cols, cols, what);
  }
  /// A row of f32 that may be left out.
  void optional(const TensorRef& t, const char* what, std::uint64_t cols) {
    if (!t.empty()) {
      f32(t, what, cols);
    }
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
  }
  void operator()(const ops::Norm& o) const {
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
    c.optional(o.weight, "weight", o.out.cols);
    c.optional(o.bias, "bias", o.out.cols);
  }
  void operator()(const ops::MatMul& o) const { product(o.x, o.weight, o.bias, o.out, "weight"); }
  void operator()(const ops::QkvMatMul& o) const {
    product(o.x, o.wq, o.bq, o.q, "wq");
    product(o.x, o.wk, o.bk, o.k, "wk");
    product(o.x, o.wv, o.bv, o.v, "wv");
  }
  void operator()(const ops::RopeKvWrite& o) const {
    const std::uint64_t heads = o.kv.n_head_kv;
    c.kv(o.kv, o.n_head);
    c.f32(o.q, "q", std::uint64_t{o.n_head} * o.kv.head_dim_k);
    c.f32(o.k, "k", heads * o.kv.head_dim_k);
    c.f32(o.v, "v", heads * o.kv.head_dim_v);
    c.optional(o.q_norm, "q_norm", o.kv.head_dim_k);
    c.optional(o.k_norm, "k_norm", o.kv.head_dim_k);
    if (o.rope != RopeKind::none) {
      c.require(o.n_rot % 2 == 0 && o.n_rot <= o.kv.head_dim_k,
                "n_rot is odd or above the head's size");
      c.f32(o.inv_freq, "inv_freq", o.n_rot / 2);
    }
  }
  void operator()(const ops::Attention& o) const {
    c.kv(o.kv, o.n_head);
    c.f32(o.q, "q", std::uint64_t{o.n_head} * o.kv.head_dim_k);
    c.f32(o.out, "out", std::uint64_t{o.n_head} * o.kv.head_dim_v);
    c.optional(o.sinks, "sinks", o.n_head);
  }
  void operator()(const ops::GatedFfn& o) const {
    product(o.x, o.w_up, o.b_up, o.out, "w_up");
    if (!o.w_gate.empty()) {
      product(o.x, o.w_gate, o.b_gate, o.out, "w_gate");
    }
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
  void operator()(const ops::Scale& o) const {
    c.f32(o.x, "x", o.out.cols);
    c.f32(o.out, "out", o.out.cols);
  }
  void operator()(const ops::Copy& o) const {
    c.require(o.src.cols == o.dst.cols, "src and dst differ in width");
  }

 private:
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
  if (t.dtype == DType::f32 && (buffers[t.buffer]->address() + t.offset) % sizeof(float) != 0) {
    return fail(ErrorCode::bad_value, fmt::format("op {}", op),
                fmt::format("F32 values at odd offset {}", t.offset));
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
  std::uint32_t operator()(const ops::RopeKvWrite&) const { return rows; }
  std::uint32_t operator()(const ops::Attention&) const { return rows; }
  std::uint32_t operator()(const ops::GatedFfn&) const { return rows; }
  std::uint32_t operator()(const ops::GatherRows&) const { return outputs; }
  std::uint32_t operator()(const ops::Logits&) const { return outputs; }
  std::uint32_t operator()(const ops::Add& o) const { return of(o.rows); }
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
