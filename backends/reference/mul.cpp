#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::Mul& op, const Context& c) {
  for (std::uint32_t r = 0; r < c.rows(op.rows); ++r) {
    const float* a = c.f32(op.a, op.a_constant ? 0 : r);
    const float* b = c.f32(op.b, r);
    float* out = c.f32(op.out, r);
    for (std::uint32_t i = 0; i < op.out.cols; ++i) {
      out[i] = static_cast<float>(activate(op.act, a[op.a.cols == 1 ? 0 : i]) * b[i]);
    }
  }
}

}  // namespace lm::reference
