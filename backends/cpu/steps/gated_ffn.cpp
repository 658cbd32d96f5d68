#include <algorithm>
#include <optional>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/steps/product.h"

namespace lm::cpu {
namespace {

/// An item computes the same columns of gate and up and joins them while they are in cache: the up
/// half never leaves the thread's scratch.
class GatedFfnStep final : public Step {
 public:
  GatedFfnStep(const ops::GatedFfn& op, Planner& plan)
      : rows_(op.rows),
        act_(op.act),
        element_(op_kernels(plan.isa()).element),
        up_(op.x, op.w_up, op.b_up, op.out, false, op.rows, plan) {
    const std::uint32_t rows = std::min(plan.capacity(op.rows), kMaxProductRows);
    item_rows_ = rows_per_item(up_, rows, plan.n_threads());
    kernel_scratch_ = up_.kernel->scratch_bytes(rows, up_.args.k);
    std::uint64_t columns = 0;
    if (!op.w_gate.empty()) {
      gate_.emplace(op.x, op.w_gate, op.b_gate, op.out, false, op.rows, plan);
      const std::uint32_t step = std::max(up_.kernel->row_step, gate_->kernel->row_step);
      item_rows_ = div_up(item_rows_, step) * step;
      kernel_scratch_ =
          std::max(kernel_scratch_, gate_->kernel->scratch_bytes(rows, gate_->args.k));
      columns = std::uint64_t{rows} * item_rows_ * sizeof(float);
    }
    kernel_scratch_ = (kernel_scratch_ + 63) / 64 * 64;
    plan.need_thread_scratch(kernel_scratch_ + columns);
  }

  std::uint32_t begin(const RunState& run) override {
    return div_up(run.rows(rows_), kMaxProductRows) * items_per_pass();
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const std::uint32_t pass = item / items_per_pass();
    const std::uint32_t begin = item % items_per_pass() * item_rows_;
    const std::uint32_t end = std::min(begin + item_rows_, up_.n_out);
    const std::uint32_t n_rows = run.rows(rows_);
    std::byte* scratch = run.thread_scratch(thread);
    MatMulArgs up = up_.pass_args(run, pass, n_rows);
    if (!gate_) {
      up_.kernel->run(up, begin, end, scratch);
      for (std::uint32_t r = 0; r < up.n_rows; ++r) {
        float* row = up.out + r * up.out_stride + begin;
        element_.gate(act_, row, nullptr, row, end - begin);
      }
      return;
    }
    const MatMulArgs gate = gate_->pass_args(run, pass, n_rows);
    gate_->kernel->run(gate, begin, end, scratch);
    // The same range, written to scratch: seen from there it begins at column 0.
    float* columns = reinterpret_cast<float*>(scratch + kernel_scratch_);
    up.weight += up.weight_row_bytes * begin;
    up.bias = up.bias != nullptr ? up.bias + begin : nullptr;
    up.out = columns;
    up.out_stride = end - begin;
    up_.kernel->run(up, 0, end - begin, scratch);
    for (std::uint32_t r = 0; r < gate.n_rows; ++r) {
      float* row = gate.out + r * gate.out_stride + begin;
      element_.gate(act_, row, columns + r * up.out_stride, row, end - begin);
    }
  }

  std::uint64_t bytes_read(const RunState&) const override {
    return up_.weight_bytes() + (gate_ ? gate_->weight_bytes() : 0);
  }

 private:
  std::uint32_t items_per_pass() const { return div_up(up_.n_out, item_rows_); }

  RowSet rows_;
  Activation act_;
  const ElementKernels& element_;
  Product up_;
  std::optional<Product> gate_;
  std::uint32_t item_rows_;
  std::uint64_t kernel_scratch_;
};

}  // namespace

void emit(const ops::GatedFfn& op, Planner& plan) {
  // The step's products may emit conversions, which must stand before it.
  auto step = std::make_unique<GatedFfnStep>(op, plan);
  plan.push(std::move(step));
}

}  // namespace lm::cpu
