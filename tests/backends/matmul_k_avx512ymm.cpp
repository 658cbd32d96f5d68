// matmul_k_avxvnni.cpp in the encoding of AVX-512: see matmul_ymm_test.cpp.
#include "backends/cpu/kernels/matmul_k_ymm.h"

namespace lm::cpu {

const MatMulKernel* matmul_k_avx512ymm(DType weight);
const MatMulKernel* matmul_k_avx512ymm(DType weight) {
  static_assert(kHasVnni);
  return find_kernel(weight);
}

}  // namespace lm::cpu
