// Tensors of the sizes that models have, and beyond 4 GiB: the rows are far apart in memory that is
// reserved, not used, and only those that a test looks at are filled.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "tests/backends/matmul_cases.h"

namespace lm::cpu {
namespace LM_FILE {

constexpr std::uint32_t kVocabulary = 262144;
constexpr std::uint64_t kFarBytes = (std::uint64_t{4} << 30) + (64u << 20);

/// Zeros that take no memory until they are written.
class SparseMemory {
 public:
  explicit SparseMemory(std::uint64_t size)
      : size_(size),
        data_(::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~SparseMemory() {
    if (reserved()) {
      ::munmap(data_, size_);
    }
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;

  bool reserved() const { return data_ != MAP_FAILED; }
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  std::uint64_t size_;
  void* data_;
};

struct Range {
  std::uint32_t begin;
  std::uint32_t end;
};

struct Error {
  double difference = 0.0;
  double norm = 0.0;
  double nmse() const { return difference / norm; }
};

/// Fills the given rows of a tensor [n_out, k], runs the kernel of every instruction set over the
/// ranges and compares the filled rows with sums in double.
void check(const TypeCase& type, std::uint32_t k, std::uint32_t n_out, std::uint32_t n_rows,
           const std::vector<std::uint32_t>& filled, const std::vector<Range>& ranges) {
  const std::uint64_t bytes = row_bytes(type.dtype, k);
  // As in a file, whose rows end where others begin.
  const SparseMemory weight(bytes * n_out);
  const SparseMemory out(std::uint64_t{n_rows} * n_out * sizeof(float));
  ASSERT_TRUE(weight.reserved() && out.reserved());
  std::mt19937 rng(k + n_out);
  for (const std::uint32_t o : filled) {
    fill_weights(type, weight.data() + o * bytes, bytes, rng);
  }
  std::vector<float> x(std::size_t{n_rows} * k);
  std::normal_distribution<float> normal;
  for (float& v : x) {
    v = normal(rng);
  }
  for (const Isa isa : available_isas()) {
    const MatMulKernel* kernel = find_matmul(type.dtype, isa, k);
    ASSERT_NE(kernel, nullptr) << isa_name(isa);
    const std::uint64_t act_bytes = kernel->act_bytes(n_rows, k) + 64;
    const std::uint64_t scratch_bytes = kernel->scratch_bytes(n_rows, k) + 64;
    const SparseMemory act(act_bytes);
    const SparseMemory scratch(scratch_bytes);
    ASSERT_TRUE(act.reserved() && scratch.reserved());
    MatMulArgs args;
    args.weight = weight.data();
    args.weight_row_bytes = bytes;
    args.k = k;
    args.act = reinterpret_cast<const std::byte*>(x.data());
    args.x_stride = k;
    args.n_rows = n_rows;
    args.out = reinterpret_cast<float*>(out.data());
    args.out_stride = n_out;
    if (kernel->format != ActFormat::f32) {
      kernel->convert(x.data(), k, n_rows, k, act.data(), 0, n_rows);
      args.act = act.data();
    }
    for (const std::uint32_t o : filled) {
      for (std::uint32_t r = 0; r < n_rows; ++r) {
        args.out[std::uint64_t{r} * n_out + o] = NAN;
      }
    }
    for (const Range& range : ranges) {
      kernel->run(args, range.begin, range.end, scratch.data());
    }
    const std::vector<double> rounded = quantized_activations(x, kernel->format);
    Error error;
    std::vector<float> w(k);
    for (const std::uint32_t o : filled) {
      reference::dequantize_row(type.dtype, weight.data() + o * bytes, k, w.data());
      for (std::uint32_t r = 0; r < n_rows; ++r) {
        double want = 0.0;
        for (std::uint32_t i = 0; i < k; ++i) {
          want += rounded[std::size_t{r} * k + i] * static_cast<double>(w[i]);
        }
        const double got = args.out[std::uint64_t{r} * n_out + o];
        error.difference += (got - want) * (got - want);
        error.norm += want * want;
      }
    }
    EXPECT_LE(error.nmse(), 1e-9) << layout(type.dtype).name << " " << isa_name(isa) << " k " << k
                                  << " n_out " << n_out << " n_rows " << n_rows;
  }
}

class BigMatMul : public testing::TestWithParam<TypeCase> {};

TEST_P(BigMatMul, ReadsRowsBeyondFourGigabytes) {
  const TypeCase& type = GetParam();
  int n_case = 0;
  for (const std::uint32_t k : {14336u, 11008u, 2880u, 192u}) {
    if (k % layout(type.dtype).block_elems != 0) {
      continue;
    }
    const std::uint64_t far = kFarBytes / row_bytes(type.dtype, k) + 100;
    const auto n_out =
        static_cast<std::uint32_t>(std::max<std::uint64_t>(kVocabulary, far) / 64 * 64 + 40);
    std::vector<Range> ranges;
    std::vector<std::uint32_t> filled;
    for (const std::uint32_t begin : {0u, n_out / 128 * 64, n_out - 40}) {
      ranges.push_back({begin, std::min(begin + 64, n_out)});
      for (const std::uint32_t row : {0u, 1u, 17u, 39u}) {
        filled.push_back(begin + row);
      }
    }
    ASSERT_GT(filled.back() * row_bytes(type.dtype, k), std::uint64_t{4} << 30);
    for (const std::uint32_t n_rows : {1u, 3u, 9u}) {
      check(type, k, n_out, n_rows, filled, ranges);
      ++n_case;
    }
  }
  std::printf("%d shapes\n", n_case);
}

/// A vocabulary in one range, as a thread of decode gets it: the streams are 32768 rows apart.
TEST(BigMatMulRange, CoversAWholeVocabulary) {
  for (const DType dtype : {DType::q4_k, DType::q8_0, DType::q3_k, DType::bf16}) {
    for (const TypeCase& type : all_types()) {
      if (type.dtype == dtype) {
        const std::uint32_t k = std::max(32u, layout(dtype).block_elems);
        const std::uint32_t n_out = kVocabulary - 3;
        check(type, k, n_out, 1,
              {0, 1, 32766, 32767, 32768, 65535, 65536, 131071, 200000, n_out - 2, n_out - 1},
              {{0, n_out}});
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, BigMatMul, testing::ValuesIn(all_types()),
                         [](const testing::TestParamInfo<TypeCase>& param) {
                           return std::string(layout(param.param.dtype).name);
                         });

}  // namespace LM_FILE
}  // namespace lm::cpu
