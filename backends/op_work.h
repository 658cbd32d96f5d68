/// What an op must read and compute at the least, on any device: the numerators of a roofline.
#pragma once

#include "backends/ops.h"
#include "backends/step_input.h"

namespace lm {

/// Bytes are those of weights and of KV pages and recurrent states, each counted once a run of the
/// op. A multiplication and an addition are two operations. Norms, rotations and other element-wise
/// work count as nothing.
struct OpWork {
  double weight_bytes = 0.0;
  double kv_bytes = 0.0;
  double quant_flops = 0.0;  ///< products with weights in blocks
  double float_flops = 0.0;  ///< products with floats, attention, recurrences

  double bytes() const { return weight_bytes + kv_bytes; }
  double flops() const { return quant_flops + float_flops; }
  OpWork& operator+=(const OpWork& other);
};

/// Experts that a step touches are not known beforehand: their number is the expected one of an
/// even choice. Reads only row and sequence arrays of `step`, never its pages.
OpWork op_work(const Op& op, const StepInput& step);

}  // namespace lm
