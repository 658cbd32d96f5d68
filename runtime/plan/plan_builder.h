/// Collects ops, follows values over devices, and gives every activation its place in the arena.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/model/weights.h"
#include "runtime/plan/plan.h"

namespace lm {

/// An activation of a plan under construction: a matrix on one device whose place in the arena is
/// not known yet.
struct Value {
  std::uint16_t device = 0;
  TensorRef ref;  ///< buffer kArena; `offset` is the value's number until the plan is finished
  RowSet rows = RowSet::step;
};

class PlanBuilder {
 public:
  /// `weights` may be null for a plan that is never finished.
  PlanBuilder(const Weights* weights, std::uint16_t n_device, std::uint32_t max_rows,
              std::uint32_t max_outputs);

  /// A new activation of `cols` columns (f32 or i32); rows are the bucket or the outputs of the
  /// head.
  Value value(std::uint16_t device, std::uint32_t cols, RowSet rows = RowSet::step,
              DType dtype = DType::f32);
  /// `v` itself when it is on `device`, else a copy of it there (a Copy op is emitted).
  Value on(std::uint16_t device, const Value& v);
  /// A weight on `device`, or an empty ref for a tensor that the file does not have.
  TensorRef weight(const std::string& name, std::uint16_t device) const {
    return weights_ == nullptr ? TensorRef{} : weights_->find(name, device);
  }
  /// Rows [begin, begin + rows) of a weight: parts of a packed tensor.
  static TensorRef slice_rows(const TensorRef& weight, std::uint32_t begin, std::uint32_t rows);
  /// Columns [begin, begin + n) of an f32 row.
  static TensorRef slice_cols(const TensorRef& row, std::uint32_t begin, std::uint32_t n);
  /// A row of f32 constants on `device`; equal `key`s share one.
  TensorRef constant(const std::string& key, std::uint16_t device,
                     const std::vector<float>& values);

  void emit(std::uint16_t device, Op op);
  /// Ops emitted from now on belong to the head.
  void begin_head() { in_head_ = true; }

  /// Places all values (liveness over body and head) and hands the plan over. The builder is spent.
  Plan finish(const Value& logits);

 private:
  const Weights* weights_;
  Plan plan_;
  bool in_head_ = false;
  std::vector<Value> values_;
  std::map<std::pair<std::uint16_t, std::string>, TensorRef> constant_refs_;
};

}  // namespace lm
