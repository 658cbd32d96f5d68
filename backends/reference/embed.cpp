#include <algorithm>
#include <limits>

#include "backends/reference/context.h"

namespace lm::reference {

/// A token outside the table gives a row of NaN, so that the error shows in the logits instead of
/// as a crash.
void run(const ops::Embed& op, const Context& c) {
  for (std::uint32_t r = 0; r < c.step.n_row; ++r) {
    const std::int32_t token = c.step.token[r];
    float* out = c.f32(op.out, r);
    if (token == kNoToken && c.step.input_embd != nullptr) {
      std::copy_n(c.step.input_embd + std::uint64_t{r} * op.out.cols, op.out.cols, out);
    } else if (token < 0 || static_cast<std::uint32_t>(token) >= op.table.rows) {
      std::fill_n(out, op.out.cols, std::numeric_limits<float>::quiet_NaN());
    } else {
      const std::vector<float> row = c.dequantized(op.table, static_cast<std::uint32_t>(token));
      std::transform(row.begin(), row.end(), out, [&](float v) { return v * op.scale; });
    }
  }
}

}  // namespace lm::reference
