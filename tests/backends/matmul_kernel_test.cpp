// Every matmul kernel of every instruction set that this machine has, against sums in double over
// dequantised weights.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cpu/isa.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/dtype.h"
#include "backends/reference/dequant.h"
#include "tests/backends/matmul_cases.h"

namespace lm::cpu {
namespace LM_FILE {

/// Memory of exactly `size` bytes, so that a sanitizer sees an access past the end.
class Buffer {
 public:
  explicit Buffer(std::size_t size)
      : data_(new(std::align_val_t{64}) std::byte[size + (size == 0)]) {
    std::memset(data_.get(), 0xa5, size);
  }
  std::byte* data() { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte[], Free> data_;
};

struct Shape {
  std::uint32_t k;
  std::uint32_t n_out;
  std::uint32_t n_rows;
};

constexpr std::uint32_t kPoison = 0x7fc0beefu;  // a NaN that no kernel computes

/// One product: its input, and out as a kernel left it.
class Product {
 public:
  Product(const TypeCase& type, Shape shape, std::uint32_t seed)
      : type_(type),
        shape_(shape),
        row_bytes_(row_bytes(type.dtype, shape.k)),
        weight_(row_bytes_ * shape.n_out),
        x_(std::size_t{shape.n_rows} * shape.k),
        bias_(shape.n_out) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    fill_weights(type, weight_.data(), row_bytes_ * shape.n_out, rng);
    for (float& v : x_) {
      v = normal(rng);
    }
    for (float& v : bias_) {
      v = normal(rng);
    }
  }

  std::byte* weight_row(std::uint32_t o) { return weight_.data() + o * row_bytes_; }
  std::vector<float>& x() { return x_; }
  const std::vector<float>& bias() const { return bias_; }

  struct Options {
    bool bias = false;
    bool accumulate = false;
    std::uint32_t begin = 0;
    std::uint32_t end = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t step = std::numeric_limits<std::uint32_t>::max();  ///< rows a call of `run`
    std::uint32_t stride_extra = 0;
    float before = 0.0f;  ///< what out holds where the kernel writes, when it accumulates
  };

  /// Runs the kernel into out [n_rows, n_out + stride_extra], poisoned where it must not write.
  std::vector<float> run(const MatMulKernel& kernel, const Options& options) {
    const std::uint32_t end = std::min(options.end, shape_.n_out);
    const std::uint32_t stride = shape_.n_out + options.stride_extra;
    float poison;
    std::memcpy(&poison, &kPoison, sizeof poison);
    std::vector<float> out(std::size_t{shape_.n_rows} * stride, poison);
    if (options.accumulate) {
      for (std::uint32_t r = 0; r < shape_.n_rows; ++r) {
        for (std::uint32_t o = options.begin; o < end; ++o) {
          out[std::size_t{r} * stride + o] = options.before;
        }
      }
    }
    Buffer act(kernel.act_bytes(shape_.n_rows, shape_.k));
    Buffer scratch(kernel.scratch_bytes(shape_.n_rows, shape_.k));
    MatMulArgs args;
    args.weight = weight_.data();
    args.weight_row_bytes = row_bytes_;
    args.k = shape_.k;
    args.act = reinterpret_cast<const std::byte*>(x_.data());
    args.x_stride = shape_.k;
    args.n_rows = shape_.n_rows;
    args.bias = options.bias ? bias_.data() : nullptr;
    args.out = out.data();
    args.out_stride = stride;
    args.accumulate = options.accumulate;
    if (kernel.format != ActFormat::f32) {
      // In parts, the last first: rows must not depend on each other.
      const std::uint32_t half = shape_.n_rows / 2 / kernel.row_group * kernel.row_group;
      kernel.convert(x_.data(), shape_.k, shape_.n_rows, shape_.k, act.data(), half, shape_.n_rows);
      kernel.convert(x_.data(), shape_.k, shape_.n_rows, shape_.k, act.data(), 0, half);
      args.act = act.data();
    }
    for (std::uint64_t o = options.begin; o < end; o += options.step) {
      kernel.run(args, static_cast<std::uint32_t>(o),
                 static_cast<std::uint32_t>(std::min<std::uint64_t>(o + options.step, end)),
                 scratch.data());
    }
    return out;
  }

  /// x W^T in double, [n_rows, n_out]; `x` as stored or as quantised.
  std::vector<double> expected(const std::vector<double>& x) {
    std::vector<double> out(std::size_t{shape_.n_rows} * shape_.n_out);
    std::vector<float> w(shape_.k);
    for (std::uint32_t o = 0; o < shape_.n_out; ++o) {
      reference::dequantize_row(type_.dtype, weight_row(o), shape_.k, w.data());
      for (std::uint32_t r = 0; r < shape_.n_rows; ++r) {
        const double* row = x.data() + std::size_t{r} * shape_.k;
        double sum = 0.0;
        for (std::uint32_t i = 0; i < shape_.k; ++i) {
          sum += row[i] * static_cast<double>(w[i]);
        }
        out[std::size_t{r} * shape_.n_out + o] = sum;
      }
    }
    return out;
  }

 private:
  const TypeCase& type_;
  Shape shape_;
  std::uint64_t row_bytes_;
  Buffer weight_;
  std::vector<float> x_;
  std::vector<float> bias_;
};

double nmse(const std::vector<float>& got, const std::vector<double>& want) {
  double error = 0.0;
  double power = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    power += want[i] * want[i];
  }
  return error / power;
}

bool is_poison(float v) {
  std::uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits == kPoison;
}

class MatMulKernels : public testing::TestWithParam<TypeCase> {
 protected:
  std::uint32_t block() const { return std::max(8u, layout(GetParam().dtype).block_elems); }
};

std::string label(const MatMulKernel&, Isa isa, Shape s) {
  return std::string(isa_name(isa)) + " k " + std::to_string(s.k) + " n_out " +
         std::to_string(s.n_out) + " n_rows " + std::to_string(s.n_rows);
}

TEST_P(MatMulKernels, MatchDoubleSumsForAllShapes) {
  const TypeCase& type = GetParam();
  const std::uint32_t b = block();
  std::vector<Shape> shapes;
  for (const std::uint32_t n_rows :
       {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 33u, 64u, 65u}) {
    shapes.push_back({b, n_rows % 3 + 1, n_rows});
    shapes.push_back({3 * b, 2 * n_rows % 23 + 1, n_rows});
  }
  for (const Shape s : {Shape{1024, 67, 1}, Shape{1024, 129, 2}, Shape{2048, 33, 1},
                        Shape{256 * 5, 31, 9}, Shape{512, 35, 512}}) {
    shapes.push_back(s);
  }
  if (layout(type.dtype).block_elems == 1) {  // floats have no blocks: any k
    for (const std::uint32_t k : {1u, 3u, 7u, 15u, 17u, 31u, 100u, 515u, 1037u}) {
      shapes.push_back({k, 9, 1});
      shapes.push_back({k, 17, 10});
    }
  }
  const double float_bound = 1e-11;  // f32 sums over k <= 2048
  int ran = 0;
  for (const Shape shape : shapes) {
    Product product(type, shape, shape.k * 31 + shape.n_out * 7 + shape.n_rows);
    const std::vector<double> exact =
        product.expected(quantized_activations(product.x(), ActFormat::f32));
    for (const Isa isa : available_isas()) {
      const MatMulKernel* kernel = find_matmul(type.dtype, isa, shape.k);
      ASSERT_NE(kernel, nullptr) << isa_name(isa);
      ASSERT_EQ(kernel->weight, type.dtype);
      const std::vector<float> got = product.run(*kernel, {});
      if (kernel->format == ActFormat::f32) {
        EXPECT_LE(nmse(got, exact), float_bound) << label(*kernel, isa, shape);
      } else {
        const std::vector<double> matched =
            product.expected(quantized_activations(product.x(), kernel->format));
        EXPECT_LE(nmse(got, matched), 1e-9) << label(*kernel, isa, shape);
        // Rounding to int8: a step of max/127, uniform error. In blocks of 256 normal values that
        // is 4.85e-5 on average whatever the weights, 4.6e-5 to 5.1e-5 for one seed of 18000
        // outputs (summed in double, no kernel involved). Few outputs vary more.
        const bool many = shape.n_out * shape.n_rows > 10000;
        EXPECT_LE(nmse(got, exact), many ? 5.5e-5 : 2e-3) << label(*kernel, isa, shape);
      }
      ++ran;
    }
  }
  std::printf("%d products\n", ran);
}

TEST_P(MatMulKernels, AddBiasAndAccumulateAndLeaveTheRestAlone) {
  const TypeCase& type = GetParam();
  for (const std::uint32_t n_rows : {1u, 5u, 11u}) {
    const Shape shape{2 * std::max(block(), 300u / block() * block()), 150, n_rows};
    Product product(type, shape, 5);
    for (const Isa isa : available_isas()) {
      const MatMulKernel& kernel = *find_matmul(type.dtype, isa, shape.k);
      const std::vector<float> plain = product.run(kernel, {});
      Product::Options options;
      options.bias = true;
      options.accumulate = true;
      options.before = 2.5f;
      options.begin = 64;
      options.end = 137;
      options.stride_extra = 9;
      const std::vector<float> got = product.run(kernel, options);
      const std::uint32_t stride = shape.n_out + options.stride_extra;
      for (std::uint32_t r = 0; r < n_rows; ++r) {
        for (std::uint32_t o = 0; o < stride; ++o) {
          const float v = got[std::size_t{r} * stride + o];
          if (o < options.begin || o >= options.end) {
            ASSERT_TRUE(is_poison(v))
                << label(kernel, isa, shape) << " wrote row " << r << " column " << o;
            continue;
          }
          const float sum = plain[std::size_t{r} * shape.n_out + o];
          ASSERT_NEAR(v, sum + product.bias()[o] + 2.5f, 1e-4f * (1.0f + std::abs(sum)))
              << label(kernel, isa, shape) << " row " << r << " column " << o;
        }
      }
    }
  }
}

TEST_P(MatMulKernels, GiveTheSameBitsHoweverRangesAreCut) {
  const TypeCase& type = GetParam();
  for (const std::uint32_t n_rows : {1u, 10u}) {
    const Shape shape{2 * std::max(block(), 300u / block() * block()), 201, n_rows};
    Product product(type, shape, 6);
    for (const Isa isa : available_isas()) {
      const MatMulKernel& kernel = *find_matmul(type.dtype, isa, shape.k);
      const std::vector<float> whole = product.run(kernel, {});
      Product::Options options;
      options.step = kernel.row_step;
      const std::vector<float> cut = product.run(kernel, options);
      EXPECT_EQ(std::memcmp(whole.data(), cut.data(), whole.size() * sizeof(float)), 0)
          << label(kernel, isa, shape);
    }
  }
}

class MatMulKernelsWithScales : public MatMulKernels {};

TEST_P(MatMulKernelsWithScales, KeepNonFiniteWeightsToTheirRow) {
  const TypeCase& type = GetParam();
  for (const std::uint32_t n_rows : {1u, 9u}) {
    const Shape shape{2 * layout(type.dtype).block_elems, 37, n_rows};
    Product product(type, shape, 7);
    const std::vector<double> want =
        product.expected(quantized_activations(product.x(), ActFormat::f32));
    double power = 0.0;
    for (const double v : want) {
      power += v * v;
    }
    const double typical = std::sqrt(power / static_cast<double>(want.size()));
    const std::uint16_t nan = 0x7e00;
    const std::uint16_t inf = 0xfc00;
    std::memcpy(product.weight_row(3) + type.halves[0], &nan, 2);
    std::memcpy(product.weight_row(20) + type.halves[0], &inf, 2);
    for (const Isa isa : available_isas()) {
      const MatMulKernel& kernel = *find_matmul(type.dtype, isa, shape.k);
      const std::vector<float> got = product.run(kernel, {});
      for (std::uint32_t r = 0; r < n_rows; ++r) {
        for (std::uint32_t o = 0; o < shape.n_out; ++o) {
          const std::size_t i = std::size_t{r} * shape.n_out + o;
          if (o == 3 || o == 20) {
            EXPECT_FALSE(std::isfinite(got[i])) << label(kernel, isa, shape) << " row " << o;
          } else {
            EXPECT_TRUE(std::isfinite(got[i])) << label(kernel, isa, shape) << " row " << o;
            EXPECT_NEAR(got[i], want[i], 0.05 * typical);
          }
        }
      }
    }
  }
}

TEST_P(MatMulKernels, CarryNonFiniteActivationsOn) {
  const TypeCase& type = GetParam();
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (const std::uint32_t n_rows : {1u, 10u}) {
      const Shape shape{2 * block(), 19, n_rows};
      Product product(type, shape, 8);
      const std::uint32_t bad_row = n_rows / 2;
      product.x()[std::size_t{bad_row} * shape.k + block() + 5] = bad;
      for (const Isa isa : available_isas()) {
        const MatMulKernel& kernel = *find_matmul(type.dtype, isa, shape.k);
        const std::vector<float> got = product.run(kernel, {});
        for (std::uint32_t r = 0; r < n_rows; ++r) {
          bool all_finite = true;
          for (std::uint32_t o = 0; o < shape.n_out; ++o) {
            all_finite = all_finite && std::isfinite(got[std::size_t{r} * shape.n_out + o]);
          }
          EXPECT_EQ(all_finite, r != bad_row) << label(kernel, isa, shape) << " row " << r;
        }
      }
    }
  }
}

TEST_P(MatMulKernels, TakeZerosAndTinyAndHugeActivations) {
  const TypeCase& type = GetParam();
  for (const float magnitude : {0.0f, 1e-42f, 1e-36f, 1e30f}) {
    for (const std::uint32_t n_rows : {1u, 3u}) {
      const Shape shape{block(), 5, n_rows};
      Product product(type, shape, 9);
      for (float& v : product.x()) {
        v *= magnitude;
      }
      for (const Isa isa : available_isas()) {
        const MatMulKernel& kernel = *find_matmul(type.dtype, isa, shape.k);
        Product::Options options;
        options.bias = magnitude == 0.0f;
        const std::vector<float> got = product.run(kernel, options);
        for (std::size_t i = 0; i < got.size(); ++i) {
          ASSERT_TRUE(std::isfinite(got[i])) << label(kernel, isa, shape) << " at " << magnitude;
          if (magnitude == 0.0f) {
            ASSERT_EQ(got[i], product.bias()[i % shape.n_out]) << label(kernel, isa, shape);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MatMulKernels, testing::ValuesIn(all_types()),
                         [](const testing::TestParamInfo<TypeCase>& param) {
                           return std::string(layout(param.param.dtype).name);
                         });

std::vector<TypeCase> types_with_f16_scales() {
  std::vector<TypeCase> types = all_types();
  std::erase_if(types, [](const TypeCase& type) { return type.halves.empty(); });
  return types;
}

INSTANTIATE_TEST_SUITE_P(Types, MatMulKernelsWithScales, testing::ValuesIn(types_with_f16_scales()),
                         [](const testing::TestParamInfo<TypeCase>& param) {
                           return std::string(layout(param.param.dtype).name);
                         });

TEST(FindMatMul, HasAKernelForEveryTypeThatCanBeDequantized) {
  int found = 0;
  for (std::uint32_t id = 0; id < 64; ++id) {
    const BlockLayout* block = find_layout(id);
    if (block == nullptr || block->use != TypeUse::weight ||
        !reference::can_dequantize(block->dtype)) {
      continue;
    }
    for (const Isa isa : isa_levels()) {
      const MatMulKernel* kernel = find_matmul(block->dtype, isa, block->block_elems);
      ASSERT_NE(kernel, nullptr) << block->name << " " << isa_name(isa);
      EXPECT_EQ(kernel->weight, block->dtype);
      ++found;
    }
  }
  EXPECT_GE(found, static_cast<int>(isa_levels().size() * 20));
  EXPECT_EQ(all_types().size() * isa_levels().size(), static_cast<std::size_t>(found))
      << "a type is not tested";
}

TEST(FindMatMul, RefusesRowsThatAreNotWholeBlocks) {
  EXPECT_EQ(find_matmul(DType::q4_k, isa_levels().back(), 128), nullptr);
  EXPECT_EQ(find_matmul(DType::q8_0, Isa::baseline, 33), nullptr);
  EXPECT_EQ(find_matmul(DType::f32, Isa::baseline, 0), nullptr);
  EXPECT_EQ(find_matmul(DType::i32, isa_levels().back(), 32), nullptr);
}

TEST(FindMatMul, NeverNeedsLessMemoryForMoreRows) {
  for (const Isa isa : isa_levels()) {
    for (const TypeCase& type : all_types()) {
      const MatMulKernel* kernel = find_matmul(type.dtype, isa, 512);
      for (std::uint32_t n_rows = 1; n_rows < 512; ++n_rows) {
        ASSERT_LE(kernel->act_bytes(n_rows, 512), kernel->act_bytes(n_rows + 1, 512)) << n_rows;
        ASSERT_LE(kernel->scratch_bytes(n_rows, 512), kernel->scratch_bytes(n_rows + 1, 512))
            << n_rows;
      }
    }
  }
}

TEST(FindMatMul, GivesOneConversionPerFormatAndIsa) {
  for (const Isa isa : isa_levels()) {
    decltype(MatMulKernel::convert) seen[3] = {};
    for (const TypeCase& type : all_types()) {
      const MatMulKernel* kernel = find_matmul(type.dtype, isa, 256);
      auto& convert = seen[static_cast<int>(kernel->format)];
      if (convert != nullptr) {
        EXPECT_EQ(convert, kernel->convert) << layout(type.dtype).name << " " << isa_name(isa);
      }
      convert = kernel->convert;
      EXPECT_EQ(kernel->convert == nullptr, kernel->format == ActFormat::f32);
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm::cpu
