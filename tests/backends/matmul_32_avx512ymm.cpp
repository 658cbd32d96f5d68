// matmul_32_avxvnni.cpp in the encoding of AVX-512: see matmul_ymm_test.cpp.
#include "backends/cpu/kernels/matmul_32_ymm.h"

namespace lm::cpu {

const MatMulKernel* matmul_32_avx512ymm(DType weight);
const MatMulKernel* matmul_32_avx512ymm(DType weight) {
  static_assert(kHasVnni);
  return find_kernel(weight);
}

}  // namespace lm::cpu
