#include "backends/op_work.h"

#include <algorithm>
#include <cmath>

namespace lm {
namespace {

struct Counter {
  const StepInput& step;

  double rows(RowSet set) const {
    return static_cast<double>(set == RowSet::step ? step.n_row : step.n_out);
  }

  /// A product of `n_row` rows with the whole of `weight`.
  static OpWork product(const TensorRef& weight, double n_row) {
    if (weight.empty()) {
      return {};
    }
    return part_of_product(weight, n_row, static_cast<double>(weight.rows));
  }

  /// The same with `weight_rows` rows of the weight read, each used by `n_row` rows.
  static OpWork part_of_product(const TensorRef& weight, double n_row, double weight_rows) {
    OpWork work;
    work.weight_bytes = static_cast<double>(row_bytes(weight.dtype, weight.cols)) * weight_rows;
    const double flops = 2.0 * n_row * weight_rows * weight.cols;
    (layout(weight.dtype).block_elems > 1 ? work.quant_flops : work.float_flops) = flops;
    return work;
  }

  static OpWork table_rows(const TensorRef& table, double n_row) {
    OpWork work;
    if (!table.empty()) {
      work.weight_bytes = static_cast<double>(row_bytes(table.dtype, table.cols)) * n_row;
    }
    return work;
  }

  OpWork state(const StateRef& ref, double flops) const {
    OpWork work;
    work.kv_bytes = 2.0 * static_cast<double>(ref.bytes) * step.n_seq;  // read and written
    work.float_flops = flops;
    return work;
  }

  OpWork operator()(const ops::Embed& o) const {
    OpWork work = table_rows(o.table, step.n_row);
    work += table_rows(o.positions, step.n_row);
    return work;
  }
  OpWork operator()(const ops::MatMul& o) const { return product(o.weight, rows(o.rows)); }
  OpWork operator()(const ops::QkvMatMul& o) const {
    OpWork work = product(o.wq, step.n_row);
    work += product(o.wk, step.n_row);
    work += product(o.wv, step.n_row);
    return work;
  }
  OpWork operator()(const ops::HeadMatMul& o) const { return product(o.weight, step.n_row); }
  OpWork operator()(const ops::GatedFfn& o) const {
    OpWork work = product(o.w_gate, rows(o.rows));
    work += product(o.w_up, rows(o.rows));
    return work;
  }
  OpWork operator()(const ops::Logits& o) const { return product(o.weight, step.n_out); }

  OpWork operator()(const ops::MoeFfn& o) const {
    const double used = o.ids.cols;
    const double experts = std::max(1.0, static_cast<double>(o.n_expert));
    // A row misses an expert with probability 1 - used / experts.
    const double touched =
        experts * (1.0 - std::pow(1.0 - std::min(used / experts, 1.0), rows(o.rows)));
    const double n_row = touched > 0.0 ? rows(o.rows) * used / touched : 0.0;
    OpWork work = part_of_product(o.w_up, n_row, touched * o.n_ff);
    if (!o.w_gate.empty()) {
      work += part_of_product(o.w_gate, n_row, touched * o.n_ff);
    }
    work += part_of_product(o.w_down, n_row, touched * o.x.cols);
    return work;
  }

  OpWork operator()(const ops::Attention& o) const {
    const double key_bytes = static_cast<double>(row_bytes(o.kv.dtype, o.kv.head_dim_k));
    const double value_bytes =
        o.kv.v_in_k ? 0.0 : static_cast<double>(row_bytes(o.kv.dtype, o.kv.head_dim_v));
    OpWork work;
    for (std::uint32_t s = 0; s < step.n_seq; ++s) {
      double seen = 0.0;  // by all rows together
      std::uint32_t first = step.kv_len[s];
      std::uint32_t last = 0;
      for (std::uint32_t r = step.seq_row[s]; r < step.seq_row[s + 1]; ++r) {
        const std::uint32_t at = step.row_kv[r];
        std::uint32_t begin = 0;
        std::uint32_t end = step.kv_len[s];
        if (o.causal) {
          begin = o.window > 0 && at + 1 > o.window ? at + 1 - o.window : 0;
          end = at + 1;
        } else if (o.window > 0) {
          begin = at - std::min(at, o.window / 2);
          end = std::min(end, at + o.window / 2 + 1);
        }
        first = std::min(first, begin);
        last = std::max(last, end);
        seen += end - begin;
      }
      const double keys = last > first ? last - first : 0;
      work.kv_bytes += keys * o.kv.n_head_kv * (key_bytes + value_bytes);
      work.float_flops += seen * o.n_head * 2.0 * (o.kv.head_dim_k + o.kv.head_dim_v);
    }
    return work;
  }

  OpWork operator()(const ops::CausalConv& o) const {
    return state(o.state, 2.0 * step.n_row * o.weight.rows * o.weight.cols);
  }
  OpWork operator()(const ops::DeltaNet& o) const {
    // Decay, S^T k, the outer product, S^T q.
    return state(o.state, 7.0 * step.n_row * o.n_head_v * o.head_dim * o.head_dim);
  }

  OpWork operator()(const ops::Norm&) const { return {}; }
  OpWork operator()(const ops::CopyCols&) const { return {}; }
  OpWork operator()(const ops::RopeKvWrite&) const { return {}; }
  OpWork operator()(const ops::MoeRoute&) const { return {}; }
  OpWork operator()(const ops::MeanRows&) const { return {}; }
  OpWork operator()(const ops::GatherRows&) const { return {}; }
  OpWork operator()(const ops::Add&) const { return {}; }
  OpWork operator()(const ops::Mul&) const { return {}; }
  OpWork operator()(const ops::Scale&) const { return {}; }
  OpWork operator()(const ops::Copy&) const { return {}; }
};

}  // namespace

OpWork& OpWork::operator+=(const OpWork& other) {
  weight_bytes += other.weight_bytes;
  kv_bytes += other.kv_bytes;
  quant_flops += other.quant_flops;
  float_flops += other.float_flops;
  return *this;
}

OpWork op_work(const Op& op, const StepInput& step) {
  return std::visit(Counter{step}, op);
}

}  // namespace lm
