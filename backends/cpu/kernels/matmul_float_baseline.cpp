/// F32, F16, BF16, NVFP4, Q1_0 and Q2_0 weights in plain C++: a weight row is brought to f32 in
/// chunks and dotted with every activation row.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backends/cpu/kernels/floats_of_blocks.h"
#include "backends/cpu/kernels/matmul_kernels.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kRowStep = 64;
constexpr std::uint32_t kChunk =
    512;  ///< values of k in scratch at a time: a multiple of every block size

using Floats = float __attribute__((vector_size(16)));

inline Floats load(const float* p) {
  Floats v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline float dot(const float* w, const float* x, std::uint32_t n) {
  Floats a = {};
  Floats b = {};
  Floats c = {};
  Floats d = {};
  std::uint32_t i = 0;
  for (; i + 16 <= n; i += 16) {
    a += load(w + i) * load(x + i);
    b += load(w + i + 4) * load(x + i + 4);
    c += load(w + i + 8) * load(x + i + 8);
    d += load(w + i + 12) * load(x + i + 12);
  }
  const Floats sum = (a + b) + (c + d);
  float total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  for (; i < n; ++i) {
    total += w[i] * x[i];
  }
  return total;
}

/// n values to f32. F16 and BF16 without branches, so that the compiler vectorises them.
template <DType kWeight>
inline void read_values(const std::byte* bytes, std::uint32_t n, float* out) {
  if constexpr (kWeight == DType::f16 || kWeight == DType::bf16) {
    for (std::uint32_t i = 0; i < n; ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, bytes + std::size_t{i} * 2, sizeof bits);
      out[i] = kWeight == DType::bf16 ? float_from_bits(std::uint32_t{bits} << 16)
                                      : float_from_half(bits);
    }
  } else if constexpr (kWeight == DType::f32) {
    std::memcpy(out, bytes, n * sizeof(float));
  } else {
    floats_of_blocks<kWeight>(bytes, n, out);
  }
}

template <DType kWeight>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  const float* x = reinterpret_cast<const float*>(args.act);
  float* values = reinterpret_cast<float*>(scratch);
  const BlockLayout& block = layout(kWeight);
  for (std::uint32_t o = begin; o < end; ++o) {
    const float start = args.bias != nullptr ? args.bias[o] : 0.0f;
    for (std::uint32_t i = 0; i < args.k; i += kChunk) {
      const std::uint32_t n = args.k - i < kChunk ? args.k - i : kChunk;
      const std::byte* bytes = args.weight + o * args.weight_row_bytes +
                               std::uint64_t{i / block.block_elems} * block.block_bytes;
      read_values<kWeight>(bytes, n, values);
      for (std::uint32_t r = 0; r < args.n_rows; ++r) {
        const float sum = dot(values, x + r * args.x_stride + i, n);
        float& out = args.out[r * args.out_stride + o];
        const float before = i > 0 ? out : args.accumulate ? out + start : start;
        out = before + sum;
      }
    }
  }
}

std::uint64_t no_act(std::uint32_t, std::uint32_t) {
  return 0;
}
std::uint64_t scratch_bytes(std::uint32_t, std::uint32_t) {
  return kChunk * sizeof(float);
}

template <DType kWeight>
constexpr MatMulKernel make_kernel() {
  return {kWeight, ActFormat::f32, kRowStep, no_act, nullptr, 1, scratch_bytes, run<kWeight>};
}

constexpr MatMulKernel kKernels[] = {
    make_kernel<DType::f32>(),   make_kernel<DType::f16>(),  make_kernel<DType::bf16>(),
    make_kernel<DType::nvfp4>(), make_kernel<DType::q1_0>(), make_kernel<DType::q2_0>(),
};

}  // namespace

const MatMulKernel* matmul_float_baseline(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
