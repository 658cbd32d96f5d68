// The kernels of level avxvnni where only AVX-512 has their instruction: the same source, compiled
// for AVX-512 VNNI in 256 bits. Integer dots are exact and scales are applied alike, so the outputs
// are AVX2's to the bit.
#include <cstdio>
#include <random>

#include <gtest/gtest.h>

#include "backends/cpu/kernels/matmul.h"
#include "tests/backends/matmul_cases.h"

#if defined(__x86_64__)

namespace lm::cpu {

const MatMulKernel* matmul_k_avx512ymm(DType weight);
const MatMulKernel* matmul_32_avx512ymm(DType weight);

namespace LM_FILE {

std::vector<float> run(const MatMulKernel& kernel, const std::vector<std::byte>& weight,
                       const std::vector<float>& x, std::uint32_t k, std::uint32_t n_rows,
                       std::uint32_t n_out) {
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> act(kernel.act_bytes(n_rows, k) / 64 + 1);
  std::vector<Line> scratch(kernel.scratch_bytes(n_rows, k) / 64 + 1);
  kernel.convert(x.data(), k, n_rows, k, act[0].bytes, 0, n_rows);
  std::vector<float> out(std::size_t{n_rows} * n_out);
  MatMulArgs args;
  args.weight = weight.data();
  args.weight_row_bytes = row_bytes(kernel.weight, k);
  args.k = k;
  args.act = act[0].bytes;
  args.x_stride = k;
  args.n_rows = n_rows;
  args.out = out.data();
  args.out_stride = n_out;
  kernel.run(args, 0, n_out, scratch[0].bytes);
  return out;
}

TEST(YmmVnni, GivesAvx2sBits) {
  int ran = 0;
  for (const TypeCase& type : all_types()) {
    const MatMulKernel* avx2 = find_matmul(type.dtype, Isa::avx2, 512);
    const MatMulKernel* vnni = matmul_k_avx512ymm(type.dtype);
    vnni = vnni != nullptr ? vnni : matmul_32_avx512ymm(type.dtype);
    if (vnni == nullptr || detect_isa() < Isa::avx512vnni) {
      continue;  // a type of neither family, or a machine that runs the level itself or cannot
    }
    std::mt19937 rng(11);
    std::normal_distribution<float> normal;
    for (const std::uint32_t k : {512u, 1280u}) {
      constexpr std::uint32_t kOut = 35;
      std::vector<std::byte> weight(row_bytes(type.dtype, k) * kOut + 64);
      fill_weights(type, weight.data(), row_bytes(type.dtype, k) * kOut, rng);
      for (const std::uint32_t n_rows : {1u, 2u, 5u, 8u, 19u}) {
        std::vector<float> x(std::size_t{n_rows} * k);
        for (float& v : x) {
          v = normal(rng);
        }
        EXPECT_EQ(run(*vnni, weight, x, k, n_rows, kOut), run(*avx2, weight, x, k, n_rows, kOut))
            << layout(type.dtype).name << " k " << k << " rows " << n_rows;
        ++ran;
      }
    }
  }
  std::printf("%d products\n", ran);
  EXPECT_TRUE(ran > 0 || detect_isa() < Isa::avx512vnni);
}

}  // namespace LM_FILE
}  // namespace lm::cpu

#endif
