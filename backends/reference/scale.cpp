#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::Scale& op, const Context& c) {
  const std::uint64_t n = std::uint64_t{c.rows(op.rows)} * op.out.cols;
  for (std::uint64_t i = 0; i < n; ++i) {
    c.f32(op.out)[i] = op.factor * c.f32(op.x)[i];
  }
}

}  // namespace lm::reference
