// Ops that work row by row or element by element: norm, copy_cols, gather_rows, mean_rows, add,
// mul, scale.
#include <cstring>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/steps/row_step.h"

namespace lm::cpu {

void emit(const ops::Norm& op, Planner& plan) {
  const NormKernels& kernels = op_kernels(plan.isa()).norm;
  const auto norm = op.kind == NormKind::rms ? kernels.rms : kernels.layer;
  const float* x = plan.f32(op.x);
  const float* weight = plan.f32(op.weight);
  const float* bias = plan.f32(op.bias);
  float* out = plan.f32(op.out);
  const std::uint32_t n = op.group != 0 ? op.group : op.x.cols;
  // Weights of one group serve all groups.
  const std::uint32_t weight_step = op.weight.cols == op.x.cols ? 1 : 0;
  const std::uint32_t bias_step = op.bias.cols == op.x.cols ? 1 : 0;
  push_rows(plan, op.rows, op.x.cols, [=](const StepInput&, std::uint32_t r, std::byte*) {
    for (std::uint32_t begin = 0; begin < op.x.cols; begin += n) {
      const std::uint64_t at = std::uint64_t{r} * op.x.cols + begin;
      norm(x + at, n, weight != nullptr ? weight + begin * weight_step : nullptr,
           bias != nullptr ? bias + begin * bias_step : nullptr, op.eps, op.accumulate, out + at);
    }
  });
}

void emit(const ops::CopyCols& op, Planner& plan) {
  const float* x = plan.f32(op.x);
  float* out = plan.f32(op.out);
  const std::uint32_t x_step = op.x_groups == 1 ? 0 : op.x_width;
  push_rows(plan, op.rows, op.groups * op.n, [=](const StepInput&, std::uint32_t r, std::byte*) {
    const float* from = x + std::uint64_t{r} * op.x.cols + op.x_begin;
    float* to = out + std::uint64_t{r} * op.out.cols + op.out_begin;
    for (std::uint32_t g = 0; g < op.groups; ++g, from += x_step, to += op.out_width) {
      std::memcpy(to, from, op.n * sizeof(float));
    }
  });
}

void emit(const ops::GatherRows& op, Planner& plan) {
  const float* x = plan.f32(op.x);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  push_rows(plan, RowSet::outputs, op.out.cols,
            [=](const StepInput& step, std::uint32_t o, std::byte*) {
              std::memcpy(out + o * n, x + step.out_row[o] * n, n * sizeof(float));
            });
}

void emit(const ops::MeanRows& op, Planner& plan) {
  const ElementKernels& element = op_kernels(plan.isa()).element;
  const float* x = plan.f32(op.x);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  push_rows(plan, RowSet::outputs, op.out.cols,
            [=, &element](const StepInput& step, std::uint32_t o, std::byte*) {
              const std::uint32_t seq = step.row_seq[step.out_row[o]];
              const std::uint32_t begin = step.seq_row[seq];
              const std::uint32_t end = step.seq_row[seq + 1];
              float* row = out + o * n;
              std::memcpy(row, x + begin * n, n * sizeof(float));
              for (std::uint32_t r = begin + 1; r < end; ++r) {
                element.add(row, 1.0f, x + r * n, 1.0f, row, n);
              }
              element.scale(row, 1.0f / static_cast<float>(end - begin), row, n);
            });
}

void emit(const ops::Add& op, Planner& plan) {
  const auto add = op_kernels(plan.isa()).element.add;
  const float* a = plan.f32(op.a);
  const float* b = plan.f32(op.b);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  push_rows(plan, op.rows, op.out.cols, [=](const StepInput&, std::uint32_t r, std::byte*) {
    add(a + r * n, op.factor_a, b + r * n, op.factor_b, out + r * n, n);
  });
}

void emit(const ops::Mul& op, Planner& plan) {
  const ElementKernels& element = op_kernels(plan.isa()).element;
  const float* a = plan.f32(op.a);
  const float* b = plan.f32(op.b);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  const std::uint64_t a_step = op.a_constant ? 0 : op.a.cols;
  push_rows(plan, op.rows, op.out.cols,
            [=, &element](const StepInput&, std::uint32_t r, std::byte*) {
              const float* factors = a + r * a_step;
              if (op.a.cols == n) {
                element.gate(op.act, factors, b + r * n, out + r * n, n);
              } else {
                float factor = 0.0f;
                element.gate(op.act, factors, nullptr, &factor, 1);
                element.scale(b + r * n, factor, out + r * n, n);
              }
            });
}

void emit(const ops::Scale& op, Planner& plan) {
  const auto scale = op_kernels(plan.isa()).element.scale;
  const float* x = plan.f32(op.x);
  float* out = plan.f32(op.out);
  const std::uint64_t n = op.out.cols;
  push_rows(plan, op.rows, op.out.cols, [=](const StepInput&, std::uint32_t r, std::byte*) {
    scale(x + r * n, op.factor, out + r * n, n);
  });
}

}  // namespace lm::cpu
