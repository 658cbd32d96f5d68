/// Shapes and places of a segment, checked once when it is compiled, so that kernels need not.
#pragma once

#include "backends/backend.h"

namespace lm {

/// True when the tensors and options of `op` fit each other: widths, head counts, f32 where
/// activations are.
/// Errors: shape_mismatch, unsupported; `subject` is the op's name, `problem` names the field.
Result<void> check_shapes(const Op& op);

/// Shapes of all ops, every tensor inside its buffer, and rows enough for max_rows and max_outputs.
Result<void> check_request(const CompileRequest& request);

}  // namespace lm
