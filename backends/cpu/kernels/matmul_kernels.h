/// The rows that each kernel file gives to the table of `find_matmul`: one function a family and
/// instruction set, null for a type the family does not have.
#pragma once

#include "backends/cpu/kernels/matmul.h"

namespace lm::cpu {

const MatMulKernel* matmul_quant_baseline(DType weight);  ///< blocks of 256 and of 32
const MatMulKernel* matmul_k_avx2(DType weight);          ///< blocks of 256
const MatMulKernel* matmul_k_avxvnni(DType weight);       ///< blocks of 256
const MatMulKernel* matmul_k_avx512vnni(DType weight);    ///< blocks of 256
const MatMulKernel* matmul_32_avx2(DType weight);         ///< blocks of 32
const MatMulKernel* matmul_32_avxvnni(DType weight);      ///< blocks of 32
const MatMulKernel* matmul_32_avx512vnni(DType weight);   ///< blocks of 32
const MatMulKernel* matmul_float_baseline(
    DType weight);  ///< floats, and dequantised rows of the types left over
const MatMulKernel* matmul_float_avx2(DType weight);
const MatMulKernel* matmul_float_avx512(DType weight);
const MatMulKernel* matmul_k_neon(DType weight);      ///< blocks of 256
const MatMulKernel* matmul_k_dotprod(DType weight);   ///< blocks of 256
const MatMulKernel* matmul_k_i8mm(DType weight);      ///< blocks of 256
const MatMulKernel* matmul_32_neon(DType weight);     ///< blocks of 32
const MatMulKernel* matmul_32_dotprod(DType weight);  ///< blocks of 32
const MatMulKernel* matmul_32_i8mm(DType weight);     ///< blocks of 32
const MatMulKernel* matmul_float_neon(DType weight);

}  // namespace lm::cpu
