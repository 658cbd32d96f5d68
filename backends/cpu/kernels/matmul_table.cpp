#include <cstdint>

#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/matmul_kernels.h"

namespace lm::cpu {
namespace {

struct Family {
  Isa isa;
  const MatMulKernel* (*find)(DType);
};

// Best first. Every level has all quantised types or none, so ops of one machine that share an
// ActFormat share its layout.
constexpr Family kFamilies[] = {
#if defined(__x86_64__)
    {Isa::avx512vnni, matmul_k_avx512vnni},
    {Isa::avx512vnni, matmul_32_avx512vnni},
    {Isa::avx512, matmul_float_avx512},
    {Isa::avxvnni, matmul_k_avxvnni},
    {Isa::avxvnni, matmul_32_avxvnni},
    {Isa::avx2, matmul_k_avx2},
    {Isa::avx2, matmul_32_avx2},
    {Isa::avx2, matmul_float_avx2},
#elif defined(__aarch64__)
    {Isa::i8mm, matmul_k_i8mm},
    {Isa::i8mm, matmul_32_i8mm},
    {Isa::dotprod, matmul_k_dotprod},
    {Isa::dotprod, matmul_32_dotprod},
    {Isa::neon, matmul_k_neon},
    {Isa::neon, matmul_32_neon},
    {Isa::neon, matmul_float_neon},
#endif
    {Isa::baseline, matmul_quant_baseline},
    {Isa::baseline, matmul_float_baseline},
};

/// Whether a machine limited to `limit` runs kernels of `isa`. AVX-VNNI is no part of the levels
/// above it, and a program may be limited to it on a machine that has only those.
bool runs(Isa isa, Isa limit) {
  return isa == Isa::avxvnni ? limit == Isa::avxvnni && has_avxvnni() : isa <= limit;
}

}  // namespace

const MatMulKernel* find_matmul(DType weight, Isa isa, std::uint32_t k) {
  if (k == 0 || k % layout(weight).block_elems != 0) {
    return nullptr;
  }
  for (const Family& family : kFamilies) {
    if (!runs(family.isa, isa)) {
      continue;
    }
    if (const MatMulKernel* kernel = family.find(weight)) {
      return kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
