#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::MeanRows& op, const Context& c) {
  for (std::uint32_t o = 0; o < c.step.n_out; ++o) {
    const std::uint32_t seq = c.step.row_seq[c.step.out_row[o]];
    const std::uint32_t begin = c.step.seq_row[seq];
    const std::uint32_t end = c.step.seq_row[seq + 1];
    for (std::uint32_t i = 0; i < op.out.cols; ++i) {
      double sum = 0.0;
      for (std::uint32_t r = begin; r < end; ++r) {
        sum += c.f32(op.x, r)[i];
      }
      c.f32(op.out, o)[i] = static_cast<float>(sum / (end - begin));
    }
  }
}

}  // namespace lm::reference
