#include <algorithm>

#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::CopyCols& op, const Context& c) {
  for (std::uint32_t r = 0; r < c.rows(op.rows); ++r) {
    for (std::uint32_t g = 0; g < op.groups; ++g) {
      const std::uint32_t from = op.x_groups == 1 ? 0 : g;
      std::copy_n(c.f32(op.x, r) + std::uint64_t{from} * op.x_width + op.x_begin, op.n,
                  c.f32(op.out, r) + std::uint64_t{g} * op.out_width + op.out_begin);
    }
  }
}

}  // namespace lm::reference
