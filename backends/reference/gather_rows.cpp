#include <algorithm>

#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::GatherRows& op, const Context& c) {
  for (std::uint32_t o = 0; o < c.step.n_out; ++o) {
    std::copy_n(c.f32(op.x, c.step.out_row[o]), op.out.cols, c.f32(op.out, o));
  }
}

}  // namespace lm::reference
