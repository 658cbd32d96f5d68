#include "backends/cpu/kernels/matmul_k_neon_body.h"

namespace lm::cpu {
const MatMulKernel* matmul_k_dotprod(DType weight) {
  return find_kernel(weight);
}
}  // namespace lm::cpu
