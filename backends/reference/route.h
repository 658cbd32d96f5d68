/// The choice of experts for one row.
#pragma once

#include <cstdint>

#include "backends/ops.h"

namespace lm::reference {

/// Writes op.ids.cols ids and weights for one row of op.logits.cols logits. `bias` and
/// `expert_scale` may be null. In double, because a choice that flips on a rounding changes the
/// whole row: other backends on the host call this too.
void route_row(const ops::MoeRoute& op, const float* logits, const float* bias,
               const float* expert_scale, std::int32_t* ids, float* weights);

}  // namespace lm::reference
