// Weights in blocks of 256 values on AVX-VNNI.
#include "backends/cpu/kernels/matmul_k_ymm.h"

namespace lm::cpu {

const MatMulKernel* matmul_k_avxvnni(DType weight) {
  return find_kernel(weight);
}

}  // namespace lm::cpu
