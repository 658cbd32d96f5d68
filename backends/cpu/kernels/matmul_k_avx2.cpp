// Weights in blocks of 256 values on AVX2.
#include "backends/cpu/kernels/matmul_k_ymm.h"

namespace lm::cpu {

const MatMulKernel* matmul_k_avx2(DType weight) {
  return find_kernel(weight);
}

}  // namespace lm::cpu
