// Ops that work row by row or element by element: embed, norm, gather_rows, add, scale.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/step.h"
#include "backends/reference/dequant.h"

namespace lm::cpu {
namespace {

/// A loop over rows, some of them an item.
template <class RowFunction>
class RowStep final : public Step {
 public:
  RowStep(RowSet rows, std::uint32_t cols, RowFunction function)
      : rows_(rows),
        rows_per_item_(std::max(1u, kValuesPerItem / std::max(cols, 1u))),
        function_(function) {}

  std::uint32_t begin(const RunState& run) override {
    return div_up(run.rows(rows_), rows_per_item_);
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t) const override {
    const std::uint32_t end = std::min((item + 1) * rows_per_item_, run.rows(rows_));
    for (std::uint32_t r = item * rows_per_item_; r < end; ++r) {
      function_(*run.input, r);
    }
  }

 private:
  static constexpr std::uint32_t kValuesPerItem = 16384;  // some microseconds

  RowSet rows_;
  std::uint32_t rows_per_item_;
  RowFunction function_;
};

template <class RowFunction>
void push_rows(Planner& plan, RowSet rows, std::uint32_t cols, RowFunction function) {
  plan.push(std::make_unique<RowStep<RowFunction>>(rows, cols, function));
}

}  // namespace

void emit(const ops::Embed& op, Planner& plan) {
  const std::byte* table = plan.bytes(op.table);
  const std::uint64_t stride = row_bytes(op.table.dtype, op.table.cols);
  float* out = plan.f32(op.out);
  const ElementKernels& element = op_kernels(plan.isa()).element;
  push_rows(plan, RowSet::step, op.out.cols, [=, &element](const StepInput& step, std::uint32_t r) {
    const std::int32_t token = step.token[r];
    const std::uint64_t n = op.out.cols;
    float* row = out + r * n;
    if (token == kNoToken && step.input_embd != nullptr) {
      std::memcpy(row, step.input_embd + r * n, n * sizeof(float));
    } else if (token < 0 || static_cast<std::uint32_t>(token) >= op.table.rows) {
      std::fill_n(row, n, std::numeric_limits<float>::quiet_NaN());  // shows in the logits
    } else {
      reference::dequantize_row(op.table.dtype, table + stride * static_cast<std::uint32_t>(token),
                                n, row);
      if (op.scale != 1.0f) {
        element.scale(row, op.scale, row, n);
      }
    }
  });
}

void emit(const ops::Norm& op, Planner& plan) {
  const NormKernels& kernels = op_kernels(plan.isa()).norm;
  const auto norm = op.kind == NormKind::rms ? kernels.rms : kernels.layer;
  const float* x = plan.f32(op.x);
  const float* weight = plan.f32(op.weight);
  const float* bias = plan.f32(op.bias);
  float* out = plan.f32(op.out);
  push_rows(plan, op.rows, op.x.cols, [=](const StepInput&, std::uint32_t r) {
    const std::uint64_t at = std::uint64_t{r} * op.x.cols;
    norm(x + at, op.x.cols, weight, bias, op.eps, op.accumulate, out + at);
  });
}

void emit(const ops::GatherRows& op, Planner& plan) {
  const float* x = plan.f32(op.x);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  push_rows(plan, RowSet::outputs, op.out.cols, [=](const StepInput& step, std::uint32_t o) {
    std::memcpy(out + o * n, x + step.out_row[o] * n, n * sizeof(float));
  });
}

void emit(const ops::Add& op, Planner& plan) {
  const auto add = op_kernels(plan.isa()).element.add;
  const float* a = plan.f32(op.a);
  const float* b = plan.f32(op.b);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  push_rows(plan, op.rows, op.out.cols,
            [=](const StepInput&, std::uint32_t r) { add(a + r * n, b + r * n, out + r * n, n); });
}

void emit(const ops::Scale& op, Planner& plan) {
  const auto scale = op_kernels(plan.isa()).element.scale;
  const float* x = plan.f32(op.x);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  push_rows(plan, op.rows, op.out.cols, [=](const StepInput&, std::uint32_t r) {
    scale(x + r * n, op.factor, out + r * n, n);
  });
}

}  // namespace lm::cpu
