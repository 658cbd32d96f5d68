#include "backends/cpu/kernels/matmul_k_neon_body.h"

namespace lm::cpu {
const MatMulKernel* matmul_k_i8mm(DType weight) {
  return find_kernel(weight);
}
}  // namespace lm::cpu
