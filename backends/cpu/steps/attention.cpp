#include "backends/cpu/attention_plan.h"
#include "backends/cpu/kernels/ops.h"

namespace lm::cpu {
namespace {

class AttentionStep final : public Step {
 public:
  AttentionStep(const ops::Attention& op, AttentionPlan& cuts, Planner& plan)
      : op_(op),
        cuts_(cuts),
        kernels_(op_kernels(plan.isa()).attention),
        q_(plan.f32(op.q)),
        sinks_(plan.f32(op.sinks)),
        slopes_(plan.f32(op.slopes)),
        out_(plan.f32(op.out)),
        partials_(plan.shared_region(Planner::partials, cuts.partial_bytes())) {
    plan.need_thread_scratch(
        kernels_.scratch_bytes(op, cuts.max_part_rows(), cuts.max_part_heads()));
  }

  std::uint32_t begin(const RunState& run) override {
    cuts_.prepare(run);
    return static_cast<std::uint32_t>(cuts_.parts().size());
  }

  void item(const RunState& run, std::uint32_t index, std::uint32_t thread) const override {
    const AttentionPart& part = cuts_.parts()[index];
    AttentionItem item;
    item.op = &op_;
    item.step = run.input;
    item.seq = part.seq;
    item.row_begin = part.row_begin;
    item.row_end = part.row_end;
    item.head_begin = part.head_begin;
    item.head_end = part.head_end;
    item.page_begin = part.page_begin;
    item.page_end = part.page_end;
    item.q = q_;
    item.sinks = sinks_;
    item.slopes = slopes_;
    item.out = out_;
    if (part.slot != kNoSlot) {
      item.partial =
          reinterpret_cast<float*>(run.region(partials_)) + cuts_.slot_floats() * part.slot;
    }
    kernels_.run(item, run.thread_scratch(thread));
  }

  std::uint64_t bytes_read(const RunState&) const override { return cuts_.bytes_read(); }

  /// Joins what was split, one row of one join after the other.
  void join(const RunState& run, const AttentionJoin& join) const {
    const float* partials = reinterpret_cast<const float*>(run.region(partials_));
    const std::uint32_t rows = join.row_end - join.row_begin;
    for (std::uint32_t r = 0; r < rows; ++r) {
      kernels_.combine(op_, partials + cuts_.slot_floats() * (join.slot + r),
                       cuts_.slot_floats() * rows, join.n_split, sinks_,
                       out_ + std::uint64_t{join.row_begin + r} * op_.n_head * op_.kv.head_dim_v);
    }
  }
  std::uint32_t n_join() const { return static_cast<std::uint32_t>(cuts_.joins().size()); }
  const AttentionJoin& join_at(std::uint32_t i) const { return cuts_.joins()[i]; }

 private:
  ops::Attention op_;
  AttentionPlan& cuts_;
  const AttentionKernels& kernels_;
  const float* q_;
  const float* sinks_;
  const float* slopes_;
  float* out_;
  std::size_t partials_;
};

/// Runs behind the barrier that all splits have passed.
class AttentionJoinStep final : public Step {
 public:
  explicit AttentionJoinStep(const AttentionStep& attention) : attention_(attention) {}

  std::uint32_t begin(const RunState&) override { return attention_.n_join(); }
  void item(const RunState& run, std::uint32_t item, std::uint32_t) const override {
    attention_.join(run, attention_.join_at(item));
  }

 private:
  const AttentionStep& attention_;
};

}  // namespace

AttentionPlan& Planner::attention_plan(const ops::Attention& op) {
  for (const auto& cuts : attention_plans) {
    if (cuts->fits(op)) {
      return *cuts;
    }
  }
  attention_plans.push_back(std::make_unique<AttentionPlan>(op, n_threads_, max_rows_));
  return *attention_plans.back();
}

void emit(const ops::Attention& op, Planner& plan) {
  auto attention = std::make_unique<AttentionStep>(op, plan.attention_plan(op), plan);
  auto join = std::make_unique<AttentionJoinStep>(*attention);
  plan.push(std::move(attention));
  plan.push(std::move(join));
}

}  // namespace lm::cpu
