#include "backends/cpu/steps/row_step.h"
#include "backends/reference/route.h"

namespace lm::cpu {

/// The choice is the reference's: exponentials of some hundred logits a row, in double.
void emit(const ops::MoeRoute& op, Planner& plan) {
  const float* logits = plan.f32(op.logits);
  const float* bias = plan.f32(op.bias);
  const float* expert_scale = plan.f32(op.expert_scale);
  auto* ids = reinterpret_cast<std::int32_t*>(plan.bytes(op.ids));
  float* weights = plan.f32(op.weights);
  constexpr std::uint32_t kValuesPerExpert = 64;  // what one exponential and its sorting cost
  push_rows(plan, op.rows, op.logits.cols * kValuesPerExpert,
            [=](const StepInput&, std::uint32_t r, std::byte*) {
              reference::route_row(op, logits + std::uint64_t{r} * op.logits.cols, bias,
                                   expert_scale, ids + std::uint64_t{r} * op.ids.cols,
                                   weights + std::uint64_t{r} * op.ids.cols);
            });
}

}  // namespace lm::cpu
