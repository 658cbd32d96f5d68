#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/step.h"

namespace lm::cpu {
namespace {

/// Items are blocks of channels of one sequence: channels do not touch each other, so an item can
/// bring its part of the state up to date by itself.
class CausalConvStep final : public Step {
 public:
  CausalConvStep(const ops::CausalConv& op, Planner& plan)
      : op_(op),
        kernels_(op_kernels(plan.isa())),
        x_(plan.f32(op.x)),
        weight_(plan.f32(op.weight)),
        out_(plan.f32(op.out)),
        channels_per_item_(std::min(op.out.cols, kChannelsPerItem)) {
    plan.need_thread_scratch(std::uint64_t{op.weight.cols} * channels_per_item_ * sizeof(float));
  }

  std::uint32_t begin(const RunState& run) override {
    return run.input->n_seq * items_per_sequence();
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const std::uint32_t seq = item / items_per_sequence();
    const std::uint32_t first = item % items_per_sequence() * channels_per_item_;
    const std::uint32_t row_begin = run.input->seq_row[seq];
    const std::uint32_t rows = run.input->seq_row[seq + 1] - row_begin;
    if (rows == 0) {
      return;
    }
    const std::uint32_t stride = op_.out.cols;
    ConvBlock block;
    block.n = std::min(channels_per_item_, stride - first);
    block.stride = stride;
    block.taps = op_.weight.cols;
    block.x = x_ + std::uint64_t{row_begin} * stride + first;
    block.state = run.state(op_.state, seq) + first;
    block.weight = reinterpret_cast<float*>(run.thread_scratch(thread));
    block.out = out_ + std::uint64_t{row_begin} * stride + first;
    // Taps as rows, so that neighbouring channels are neighbours.
    float* weight = reinterpret_cast<float*>(run.thread_scratch(thread));
    for (std::uint32_t c = 0; c < block.n; ++c) {
      for (std::uint32_t j = 0; j < block.taps; ++j) {
        weight[std::uint64_t{j} * block.n + c] = weight_[std::uint64_t{first + c} * block.taps + j];
      }
    }
    for (std::uint32_t r = 0; r < rows; r += kRowsAtOnce) {
      const std::uint32_t end = std::min(r + kRowsAtOnce, rows);
      kernels_.recurrent.conv(block, r, end);
      activate(block, r, end);
    }
    keep_last(block, rows);
  }

 private:
  static constexpr std::uint32_t kChannelsPerItem = 512;
  static constexpr std::uint32_t kRowsAtOnce = 8;  // activated while they are in cache

  std::uint32_t items_per_sequence() const { return div_up(op_.out.cols, channels_per_item_); }

  void activate(const ConvBlock& block, std::uint32_t begin, std::uint32_t end) const {
    for (std::uint32_t r = begin; r < end && op_.act != Activation::identity; ++r) {
      float* row = block.out + r * block.stride;
      kernels_.element.gate(op_.act, row, nullptr, row, block.n);
    }
  }

  /// The state becomes the last taps - 1 inputs.
  static void keep_last(const ConvBlock& block, std::uint32_t rows) {
    const std::uint32_t before = block.taps - 1;
    const std::uint64_t bytes = block.n * sizeof(float);
    for (std::uint32_t i = 0; i < before; ++i) {
      const std::uint32_t from = i + rows;  // in the state, then in x
      const float* row = from < before ? block.state + std::uint64_t{from} * block.stride
                                       : block.x + std::uint64_t{from - before} * block.stride;
      std::memcpy(block.state + std::uint64_t{i} * block.stride, row, bytes);
    }
  }

  ops::CausalConv op_;
  const OpKernels& kernels_;
  const float* x_;
  const float* weight_;
  float* out_;
  std::uint32_t channels_per_item_;
};

}  // namespace

void emit(const ops::CausalConv& op, Planner& plan) {
  plan.push(std::make_unique<CausalConvStep>(op, plan));
}

}  // namespace lm::cpu
