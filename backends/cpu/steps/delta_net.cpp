#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/step.h"

namespace lm::cpu {
namespace {

/// One head of one sequence an item: rows follow each other, heads do not touch.
class DeltaNetStep final : public Step {
 public:
  DeltaNetStep(const ops::DeltaNet& op, Planner& plan)
      : op_(op),
        kernels_(op_kernels(plan.isa()).recurrent),
        qkv_(plan.f32(op.qkv)),
        alpha_(plan.f32(op.alpha)),
        beta_(plan.f32(op.beta)),
        dt_bias_(plan.f32(op.dt_bias)),
        a_(plan.f32(op.a)),
        out_(plan.f32(op.out)) {
    plan.need_thread_scratch(kernels_.delta_scratch_bytes(op.head_dim));
  }

  std::uint32_t begin(const RunState& run) override { return run.input->n_seq * op_.n_head_v; }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const std::uint32_t seq = item / op_.n_head_v;
    const std::uint32_t head = item % op_.n_head_v;
    const std::uint32_t end = run.input->seq_row[seq + 1];
    const std::uint32_t dim = op_.head_dim;
    DeltaRows block;
    block.dim = dim;
    block.eps = op_.eps;
    block.qkv_stride = op_.qkv.cols;
    block.out_stride = op_.out.cols;
    float gates[2 * kMaxDeltaRows];
    for (std::uint32_t r = run.input->seq_row[seq]; r < end; r += block.rows) {
      block.rows = std::min(end - r, kMaxDeltaRows);
      for (std::uint32_t i = 0; i < block.rows; ++i) {
        const std::uint64_t at = std::uint64_t{r + i} * op_.n_head_v + head;
        gates[i] = decay(alpha_[at] + dt_bias_[head], a_[head]);
        gates[kMaxDeltaRows + i] =
            static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(beta_[at]))));
      }
      block.decay = gates;
      block.beta = gates + kMaxDeltaRows;
      block.q = qkv_ + std::uint64_t{r} * op_.qkv.cols + std::uint64_t{head % op_.n_head_k} * dim;
      block.k = block.q + std::uint64_t{op_.n_head_k} * dim;
      block.v =
          qkv_ + std::uint64_t{r} * op_.qkv.cols + (2 * std::uint64_t{op_.n_head_k} + head) * dim;
      block.state = run.state(op_.state, seq) + std::uint64_t{head} * dim * dim;
      block.out = out_ + std::uint64_t{r} * op_.out.cols + std::uint64_t{head} * dim;
      kernels_.delta(block, run.thread_scratch(thread));
    }
  }

 private:
  /// e^(softplus(x) a).
  static float decay(float x, float a) {
    const double z = static_cast<double>(x);
    const double softplus = std::max(z, 0.0) + std::log1p(std::exp(-std::fabs(z)));
    return static_cast<float>(std::exp(softplus * static_cast<double>(a)));
  }

  ops::DeltaNet op_;
  const RecurrentKernels& kernels_;
  const float* qkv_;
  const float* alpha_;
  const float* beta_;
  const float* dt_bias_;
  const float* a_;
  float* out_;
};

}  // namespace

void emit(const ops::DeltaNet& op, Planner& plan) {
  plan.push(std::make_unique<DeltaNetStep>(op, plan));
}

}  // namespace lm::cpu
