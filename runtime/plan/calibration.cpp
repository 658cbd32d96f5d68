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

/// The best of `n_run` runs of a segment, in seconds.
Result<double> best_time(Backend& device, const Segment& segment, std::span<Buffer* const> buffers,
                         const StepInput& step, int n_run) {
  const std::uint64_t scratch_bytes = device.scratch_bytes(segment, step.n_row, 1);
  LM_TRY(const auto scratch, device.alloc(std::max<std::uint64_t>(scratch_bytes, 64)));
  LM_TRY(const auto code, device.compile({.segment = &segment,
                                          .buffers = buffers,
                                          .scratch = scratch.get(),
                                          .max_rows = step.n_row,
                                          .max_outputs = 1}));
  const StopFlag go{false};
  double best = 1e9;
  for (int run = 0; run < n_run; ++run) {
    const auto begin = Clock::now();
    if (code->run(step, go) != RunStatus::done) {
      return fail(ErrorCode::device_lost, device.info().id, "the device was lost");
    }
    best = std::min(best, seconds_since(begin));
  }
  return best;
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
    const std::array<Buffer*, 2> buffers = {arena_.get(), weights_.get()};
    StepInput step;
    step.n_row = rows;
    return best_time(device_, segment, buffers, step, 2);
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

/// Attention over pages of f16 in the shape that most models have: 32 query heads on 8 of keys and
/// values, 128 wide.
class Reading {
 public:
  static Result<Reading> create(Backend& device, std::uint64_t kv_bytes) {
    Reading made(device);
    const std::uint64_t a_page = kLayers * made.layer_bytes();
    made.n_page_ = static_cast<std::uint32_t>(
        std::max<std::uint64_t>(kv_bytes / a_page, kPromptRows / kPageTokens * 2));
    LM_TRY(made.slab_, device.alloc(made.n_page_ * a_page));
    // f16 of a small number in every place, whatever the arrangement of a tile.
    const std::vector<std::byte> pattern(a_page, std::byte{0x20});
    for (std::uint32_t page = 0; page < made.n_page_; ++page) {
      LM_CHECK(device.upload(*made.slab_, page * a_page, pattern));
      made.pages_.push_back(page);
    }
    const std::uint64_t row = std::uint64_t{kPromptRows} * kHeads * kHeadDim * sizeof(float);
    LM_TRY(made.arena_, device.alloc(2 * row));
    const std::vector<float> q(std::size_t{kPromptRows} * kHeads * kHeadDim, 0.01f);
    LM_CHECK(device.upload(*made.arena_, 0, std::as_bytes(std::span(q))));
    return made;
  }

  /// Seconds of `n_layer` layers for the last `rows` of `n_kv` tokens.
  Result<double> time(std::uint32_t n_layer, std::uint32_t rows, std::uint32_t n_kv) {
    const std::uint32_t width = kHeads * kHeadDim;
    const std::uint64_t out_at = std::uint64_t{kPromptRows} * width * sizeof(float);
    Segment segment;
    for (std::uint32_t il = 0; il < n_layer; ++il) {
      KvRef kv = layer();
      kv.k_offset = il * layer_bytes();
      kv.v_offset = kv.k_offset + kv.n_head_kv * kv.k_tile_bytes();
      segment.ops.emplace_back(ops::Attention{.q = {DType::f32, kArena, 0, rows, width},
                                              .out = {DType::f32, kArena, out_at, rows, width},
                                              .n_head = kHeads,
                                              .scale = 0.1f,
                                              .sinks = {},
                                              .slopes = {},
                                              .kv = kv});
    }
    std::vector<std::uint32_t> row_seq(rows, 0), row_kv(rows);
    for (std::uint32_t r = 0; r < rows; ++r) {
      row_kv[r] = n_kv - rows + r;
    }
    const std::array<std::uint32_t, 2> seq_row = {0, rows};
    const std::uint32_t zero = 0;
    const std::uint64_t slab = slab_->address();
    StepInput step;
    step.n_row = rows;
    step.row_seq = row_seq.data();
    step.row_kv = row_kv.data();
    step.n_seq = 1;
    step.seq_row = seq_row.data();
    step.kv_len = &n_kv;
    step.n_group = 1;
    step.page_begin = &zero;
    step.page_table = pages_.data();
    step.slab = &slab;
    step.slab_begin = &zero;
    step.slab_pages = &n_page_;
    const std::array<Buffer*, 1> buffers = {arena_.get()};
    return best_time(device_, segment, buffers, step, 2);
  }

  bool runs() const {
    return device_.supports(ops::Attention{
        .q = {}, .out = {}, .n_head = kHeads, .sinks = {}, .slopes = {}, .kv = layer()});
  }
  std::uint32_t n_token() const { return n_page_ * kPageTokens; }
  static constexpr std::uint32_t kLayers = 4, kHeads = 32, kHeadDim = 128;
  /// K and V of one token and layer.
  static constexpr double kRowBytes = 8 * 2 * kHeadDim * 2.0;

 private:
  explicit Reading(Backend& device) : device_(device) {}
  static KvRef layer() {
    KvRef kv;
    kv.n_head_kv = 8;
    kv.head_dim_k = kv.head_dim_v = kHeadDim;
    kv.page_bytes = kLayers * layer_bytes();
    return kv;
  }
  static std::uint64_t layer_bytes() { return static_cast<std::uint64_t>(kRowBytes) * kPageTokens; }

  Backend& device_;
  std::uint32_t n_page_ = 0;
  std::vector<std::uint32_t> pages_;
  std::unique_ptr<Buffer> slab_, arena_;
};

/// Seconds that one op costs whatever its size: a norm of one short row.
Result<double> op_seconds(Backend& device) {
  constexpr std::uint32_t kOps = 256, kWidth = 64;
  LM_TRY(const auto arena, device.alloc(3 * kWidth * sizeof(float)));
  const auto row = [](std::uint32_t i, DType type = DType::f32) {
    return TensorRef{type, kArena, i * kWidth * sizeof(float), 1, kWidth};
  };
  Segment segment;
  for (std::uint32_t i = 0; i < kOps; ++i) {
    segment.ops.emplace_back(ops::Add{.a = row(0), .b = row(1), .out = row(2)});
  }
  StepInput step;
  step.n_row = 1;
  const std::array<Buffer*, 1> buffers = {arena.get()};
  LM_TRY(const double all, best_time(device, segment, buffers, step, 3));
  return all / kOps;
}

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
  }
  LM_TRY(Reading reading, Reading::create(device, options.weight_bytes));
  if (reading.runs()) {
    LM_TRY(const double one, reading.time(Reading::kLayers, 1, reading.n_token()));
    speed.kv_gb_s = Reading::kLayers * Reading::kRowBytes * reading.n_token() / one / 1e9;
    LM_TRY(const double many, reading.time(1, kPromptRows, 2 * kPromptRows));
    const double keys = 1.5 * kPromptRows;
    speed.f32_gflop_s = 4.0 * Reading::kHeads * Reading::kHeadDim * keys * kPromptRows / many / 1e9;
  }
  LM_TRY(const double op, op_seconds(device));
  speed.op_us = 1e6 * op;
  return speed;
}

}  // namespace lm
