#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/steps/row_step.h"
#include "backends/reference/dequant.h"

namespace lm::cpu {
namespace {

/// A table of rows of any weight type.
struct Table {
  Table(const TensorRef& t, const Planner& plan)
      : rows(t.empty() ? 0 : t.rows),
        dtype(t.dtype),
        bytes(plan.bytes(t)),
        stride(t.empty() ? 0 : row_bytes(t.dtype, t.cols)) {}

  /// Row `index` of n values, or NaN beyond the table: shows in the logits.
  void read(std::int32_t index, std::uint64_t n, float* out) const {
    if (index < 0 || static_cast<std::uint32_t>(index) >= rows) {
      std::fill_n(out, n, std::numeric_limits<float>::quiet_NaN());
    } else {
      reference::dequantize_row(dtype, bytes + stride * static_cast<std::uint32_t>(index), n, out);
    }
  }

  std::uint32_t rows;
  DType dtype;
  const std::byte* bytes;
  std::uint64_t stride;
};

}  // namespace

void emit(const ops::Embed& op, Planner& plan) {
  const Table tokens(op.table, plan);
  const Table positions(op.positions, plan);
  const Table added(op.add, plan);
  float* out = plan.f32(op.out);
  const ElementKernels& element = op_kernels(plan.isa()).element;
  plan.need_thread_scratch(op.out.cols * sizeof(float));
  push_rows(plan, RowSet::step, op.out.cols,
            [=, &element](const StepInput& step, std::uint32_t r, std::byte* scratch) {
              const std::int32_t token = step.token[r];
              const std::uint64_t n = op.out.cols;
              float* row = out + r * n;
              if (token == kNoToken && !op.takes_input) {
                std::fill_n(row, n, 0.0f);
              } else if (token == kNoToken && step.input_embd != nullptr) {
                std::memcpy(row, step.input_embd + r * n, n * sizeof(float));
              } else {
                tokens.read(token, n, row);
                if (op.scale != 1.0f) {
                  element.scale(row, op.scale, row, n);
                }
              }
              float* more = reinterpret_cast<float*>(scratch);
              if (!op.positions.empty()) {
                positions.read(step.pos[std::uint64_t{r} * kPosDims], n, more);
                element.add(row, 1.0f, more, 1.0f, row, n);
              }
              if (!op.add.empty()) {
                added.read(0, n, more);
                element.add(row, 1.0f, more, 1.0f, row, n);
              }
            });
}

}  // namespace lm::cpu
