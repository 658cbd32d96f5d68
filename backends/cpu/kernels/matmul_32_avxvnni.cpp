// Weights in blocks of 32 values on AVX-VNNI.
#include "backends/cpu/kernels/matmul_32_ymm.h"

namespace lm::cpu {

const MatMulKernel* matmul_32_avxvnni(DType weight) {
  return find_kernel(weight);
}

}  // namespace lm::cpu
