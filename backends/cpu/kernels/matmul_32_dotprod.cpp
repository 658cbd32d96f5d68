#include "backends/cpu/kernels/matmul_32_neon_body.h"

namespace lm::cpu {
const MatMulKernel* matmul_32_dotprod(DType weight) {
  return find_kernel(weight);
}
}  // namespace lm::cpu
