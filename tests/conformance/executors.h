/// Who is compared with the reference, and by which measure.
#pragma once

#include <cstdlib>
#include <functional>

#include <fmt/format.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/discover.h"
#include "backends/reference/reference_backend.h"
#include "tests/conformance/scene.h"

namespace lm::conformance {

struct Executor {
  std::string name;
  std::unique_ptr<Backend> backend;
  int n_case = 0;
};

/// Which device LM_TEST_BACKEND names ("vulkan", "vulkan:1"); empty: the CPU.
inline std::string backend_of_test() {
  const char* name = std::getenv("LM_TEST_BACKEND");
  return name != nullptr ? name : "";
}

/// The CPU at every instruction set that this machine has, with one and with two threads; or the
/// device that LM_TEST_BACKEND names. A device that does not open is a failure, never a skip.
inline std::vector<Executor>& executors() {
  static std::vector<Executor> all = [] {
    std::vector<Executor> list;
    if (const std::string name = backend_of_test(); !name.empty()) {
      auto backend = open_backend(name);
      if (!backend) {
        ADD_FAILURE() << name << ": " << backend.error().problem;
        return list;
      }
      list.push_back({name, std::move(*backend)});
      return list;
    }
    for (const Isa isa : isa_levels()) {
      for (unsigned threads = 1; threads <= 2 && has_isa(isa); ++threads) {
        list.push_back({fmt::format("cpu {} x{}", isa_name(isa), threads),
                        make_cpu_backend({.n_threads = threads, .isa_limit = isa})});
      }
    }
    return list;
  }();
  return all;
}

inline Backend& reference_backend() {
  static const std::unique_ptr<Backend> backend = make_reference_backend();
  return *backend;
}

/// |a - b|^2 / |b|^2, infinite when a holds anything that is not a number.
inline double nmse(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) {
      return HUGE_VAL;
    }
    const double d = static_cast<double>(a[i]) - b[i];
    difference += d * d;
    norm += static_cast<double>(b[i]) * b[i];
  }
  return norm > 0.0 ? difference / norm : (difference > 0.0 ? HUGE_VAL : 0.0);
}

/// A tensor to compare: how many rows of it are alive and how far it may be off.
struct Compared {
  TensorRef tensor;
  std::uint32_t rows;
  double limit;
};

// Limits. Elementwise and f32 sums differ by rounding only. Products of quantised weights also by
// the activations' rounding to int8, as every fast kernel does it: 3e-5 to 5e-5 are usual.
constexpr double kExact = 1e-7;
constexpr double kQuantized = 5e-4;

/// What a KV row may be off: f16 keys that fall on the other side of a rounding boundary.
constexpr double kKvLimit = 1e-7;

/// Runs a scene on the reference and on every executor that supports its ops, and compares.
inline void expect_agreement(const Scene& scene, const std::vector<Compared>& compared,
                             bool compare_kv = false) {
  const StopFlag stop{false};
  const Scene::Outcome expected = scene.run(reference_backend(), stop);
  for (const Compared& c : compared) {
    ASSERT_TRUE(
        std::isfinite(nmse(expected.values(c.tensor, c.rows), expected.values(c.tensor, c.rows))))
        << "the reference itself gives no numbers";
  }
  for (Executor& executor : executors()) {
    SCOPED_TRACE(executor.name);
    for (const Op& op : scene.segment.ops) {
      ASSERT_TRUE(executor.backend->supports(op)) << op_name(op);
    }
    const Scene::Outcome got = scene.run(*executor.backend, stop);
    ASSERT_EQ(got.status, RunStatus::done);
    for (const Compared& c : compared) {
      EXPECT_LE(nmse(got.values(c.tensor, c.rows), expected.values(c.tensor, c.rows)), c.limit);
    }
    for (std::size_t s = 0; s < expected.states.size(); ++s) {
      EXPECT_LE(nmse(got.states[s], expected.states[s]), kExact) << "state of sequence " << s;
    }
    if (compare_kv) {
      const KvRef& kv = scene.kv_ref();
      const auto values = [&](const std::vector<std::byte>& page, std::uint32_t dim,
                              std::uint32_t row) {
        std::vector<float> v(dim);
        reference::dequantize_row(kv.dtype, &page[row_bytes(kv.dtype, dim) * row], dim, v.data());
        return v;
      };
      for (std::uint32_t r = 0; r < scene.n_row(); ++r) {
        const std::uint32_t page = scene.page_of_row(r);
        for (std::uint32_t h = 0; h < kv.n_head_kv; ++h) {
          const std::uint32_t row = h * kPageTokens + scene.kv_of_row(r) % kPageTokens;
          // A quant or a scale may round to its neighbour.
          const double limit =
              kv.dtype == DType::q8_0 ? 1e-5 : (kv.dtype == DType::q4_0 ? 1e-2 : kKvLimit);
          EXPECT_LE(nmse(values(got.k_rows[page], kv.head_dim_k, row),
                         values(expected.k_rows[page], kv.head_dim_k, row)),
                    limit);
          if (kv.v_in_k) {
            continue;
          }
          EXPECT_LE(nmse(values(got.v_rows[page], kv.head_dim_v, row),
                         values(expected.v_rows[page], kv.head_dim_v, row)),
                    limit);
        }
      }
    }
    ++executor.n_case;
  }
}

/// Runs a scene on the reference and on every executor, and compares a tensor with numbers found by
/// hand: what pins the reference itself.
inline void expect_values(const Scene& scene, const TensorRef& tensor,
                          const std::vector<float>& expected, double tolerance = 1e-5) {
  const StopFlag stop{false};
  const auto rows = static_cast<std::uint32_t>(expected.size() / tensor.cols);
  const auto check = [&](Backend& backend, const std::string& name) {
    SCOPED_TRACE(name);
    const std::vector<float> got = scene.run(backend, stop).values(tensor, rows);
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], expected[i], tolerance) << "value " << i;
    }
  };
  check(reference_backend(), "reference");
  for (Executor& executor : executors()) {
    check(*executor.backend, executor.name);
    ++executor.n_case;
  }
}

/// Prints once per process how many cases each executor ran, so that a silent skip is seen.
class CountPrinter : public ::testing::Environment {
 public:
  void TearDown() override {
    for (const Executor& executor : executors()) {
      if (executor.n_case != 0) {
        fmt::print("{}: {} cases\n", executor.name, executor.n_case);
      }
    }
  }
};

/// Names a case in failures.
#define LM_CASE(...) SCOPED_TRACE(fmt::format(__VA_ARGS__))

}  // namespace lm::conformance
