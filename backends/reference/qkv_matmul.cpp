#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::QkvMatMul& op, const Context& c) {
  linear(c, op.x, op.wq, op.bq, op.q, c.step.n_row, false);
  linear(c, op.x, op.wk, op.bk, op.k, c.step.n_row, false);
  linear(c, op.x, op.wv, op.bv, op.v, c.step.n_row, false);
}

}  // namespace lm::reference
