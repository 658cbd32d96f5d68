#include "runtime/plan/calibration.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

namespace lm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array kTypes = {DType::q4_k, DType::q6_k, DType::q8_0, DType::q5_k,
                               DType::f16,  DType::q4_0, DType::q3_k, DType::bf16};
constexpr std::uint32_t kIn = 2048, kOut = 2048;
constexpr std::uint32_t kPromptRows = 256;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Weights and activations of one type on a device, as a chain of products.
class Products {
 public:
  static Result<Products> create(Backend& device, DType type, std::uint64_t weight_bytes) {
    Products made(device, type, weight_bytes);
    const std::uint64_t bytes = made.matrix_bytes_ * made.count_;
    LM_TRY(made.weights_, device.alloc(bytes));
    // Untouched memory is one page of zeros, which any cache holds. Every block of this pattern is
    // one of small ordinary numbers.
    const std::vector<std::byte> pattern(made.matrix_bytes_, std::byte{0x11});
    for (std::uint32_t i = 0; i < made.count_; ++i) {
      LM_CHECK(device.upload(*made.weights_, i * made.matrix_bytes_, pattern));
    }
    const std::uint64_t row = std::uint64_t{kPromptRows} * kIn * sizeof(float);
    LM_TRY(made.arena_, device.alloc(2 * row));
    const std::vector<float> ones(kPromptRows * kIn, 0.5f);
    LM_CHECK(device.upload(*made.arena_, 0, std::as_bytes(std::span(ones))));
    return made;
  }

  /// Seconds of `n` products of `rows` rows; the best of two runs.
  Result<double> time(std::uint32_t n, std::uint32_t rows) {
    Segment segment;
    const std::uint64_t out_at = std::uint64_t{kPromptRows} * kIn * sizeof(float);
    for (std::uint32_t i = 0; i < std::min(n, count_); ++i) {
      segment.ops.emplace_back(ops::MatMul{.x = {DType::f32, kArena, 0, rows, kIn},
                                           .weight = {type_, 1, i * matrix_bytes_, kOut, kIn},
                                           .bias = {},
                                           .out = {DType::f32, kArena, out_at, rows, kOut}});
    }
    LM_TRY(const auto scratch,
           device_.alloc(std::max<std::uint64_t>(device_.scratch_bytes(segment, rows, 1), 64)));
    const std::array<Buffer*, 2> buffers = {arena_.get(), weights_.get()};
    LM_TRY(const auto code, device_.compile({.segment = &segment,
                                             .buffers = buffers,
                                             .scratch = scratch.get(),
                                             .max_rows = rows,
                                             .max_outputs = 1}));
    StepInput step;
    step.n_row = rows;
    const StopFlag go{false};
    double best = 1e9;
    for (int run = 0; run < 2; ++run) {
      const auto begin = Clock::now();
      if (code->run(step, go) != RunStatus::done) {
        return fail(ErrorCode::device_lost, device_.info().id, "the device was lost");
      }
      best = std::min(best, seconds_since(begin));
    }
    return best;
  }

  std::uint32_t count() const { return count_; }
  double bytes() const { return static_cast<double>(matrix_bytes_) * count_; }

 private:
  Products(Backend& device, DType type, std::uint64_t weight_bytes)
      : device_(device),
        type_(type),
        matrix_bytes_(row_bytes(type, kIn) * kOut),
        count_(
            static_cast<std::uint32_t>(std::max<std::uint64_t>(weight_bytes / matrix_bytes_, 1))) {}

  Backend& device_;
  DType type_;
  std::uint64_t matrix_bytes_;
  std::uint32_t count_;
  std::unique_ptr<Buffer> weights_, arena_;
};

}  // namespace

std::span<const DType> calibrated_types() {
  return kTypes;
}

Result<DeviceSpeed> calibrate(Backend& device, const CalibrationOptions& options) {
  DeviceSpeed speed;
  const auto begin = Clock::now();
  const auto limit = std::chrono::duration<double>(options.limit).count();
  for (const DType type : kTypes) {
    if (!speed.types.empty() && seconds_since(begin) > limit * 0.8) {
      break;
    }
    LM_TRY(Products products, Products::create(device, type, options.weight_bytes));
    LM_TRY(const double one, products.time(products.count(), 1));
    LM_TRY(const double many, products.time(1, kPromptRows));
    speed.types[type] = {.decode_gb_s = products.bytes() / one / 1e9,
                         .prompt_gflop_s = 2.0 * kIn * kOut * kPromptRows / many / 1e9};
    speed.kv_gb_s = std::max(speed.kv_gb_s, 0.7 * speed.types[type].decode_gb_s);
    speed.f32_gflop_s = std::max(speed.f32_gflop_s, 0.2 * speed.types[type].prompt_gflop_s);
  }
  return speed;
}

}  // namespace lm
