#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::Add& op, const Context& c) {
  const std::uint64_t n = std::uint64_t{c.rows(op.rows)} * op.out.cols;
  for (std::uint64_t i = 0; i < n; ++i) {
    c.f32(op.out)[i] = static_cast<float>(static_cast<double>(op.factor_a) * c.f32(op.a)[i] +
                                          static_cast<double>(op.factor_b) * c.f32(op.b)[i]);
  }
}

}  // namespace lm::reference
