#include <algorithm>
#include <limits>

#include "backends/reference/context.h"

namespace lm::reference {
namespace {

constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();

void add_row(const Context& c, const TensorRef& t, std::int32_t row, float* out) {
  if (row < 0 || static_cast<std::uint32_t>(row) >= t.rows) {
    std::fill_n(out, t.cols, kNoNumber);
    return;
  }
  const std::vector<float> values = c.dequantized(t, static_cast<std::uint32_t>(row));
  std::transform(values.begin(), values.end(), out, out, [](float v, float o) { return o + v; });
}

}  // namespace

/// A token or position outside its table gives a row of NaN, so that the error shows in the logits
/// instead of as a crash.
void run(const ops::Embed& op, const Context& c) {
  for (std::uint32_t r = 0; r < c.step.n_row; ++r) {
    const std::int32_t token = c.step.token[r];
    float* out = c.f32(op.out, r);
    if (token == kNoToken && !op.takes_input) {
      std::fill_n(out, op.out.cols, 0.0f);
    } else if (token == kNoToken && c.step.input_embd != nullptr) {
      std::copy_n(c.step.input_embd + std::uint64_t{r} * op.out.cols, op.out.cols, out);
    } else if (token < 0 || static_cast<std::uint32_t>(token) >= op.table.rows) {
      std::fill_n(out, op.out.cols, kNoNumber);
    } else {
      const std::vector<float> row = c.dequantized(op.table, static_cast<std::uint32_t>(token));
      std::transform(row.begin(), row.end(), out, [&](float v) { return v * op.scale; });
    }
    if (!op.positions.empty()) {
      add_row(c, op.positions, c.step.pos[std::uint64_t{r} * kPosDims], out);
    }
    if (!op.add.empty()) {
      add_row(c, op.add, 0, out);
    }
  }
}

}  // namespace lm::reference
