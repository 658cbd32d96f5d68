#include "backends/cpu/executor.h"

#include <chrono>

#include "backends/cpu/attention_plan.h"
#include "backends/cpu/step.h"

namespace lm::cpu {

void emit(const ops::Copy&, Planner&) {
  LM_ASSERT(false, "a copy reached a device");
}

namespace {

struct ItemContext {
  const Step* step;
  const RunState* run;
};

void run_item(const void* context, std::uint32_t item, std::uint32_t thread) {
  const auto* c = static_cast<const ItemContext*>(context);
  c->step->item(*c->run, item, thread);
}

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(Planner&& plan, const CompileRequest& request, ThreadPool& pool)
      : pool_(pool),
        layout_(plan.layout()),
        attention_plans_(std::move(plan.attention_plans)),
        steps_(std::move(plan.steps)),
        step_op_(std::move(plan.step_op)),
        max_rows_(request.max_rows),
        max_outputs_(request.max_outputs) {
    run_.scratch = request.scratch != nullptr ? request.scratch->host() : nullptr;
    run_.region_offset = layout_.region_offset;
    run_.thread_offset = layout_.thread_offset;
    run_.thread_bytes = layout_.thread_bytes;
    if (request.profile) {
      for (const Op& op : request.segment->ops) {
        times_.push_back({op_name(op), 0.0, 0});
      }
    }
  }

  RunStatus run(const StepInput& step, const StopFlag& stop) override {
    LM_ASSERT(step.n_row <= max_rows_ && step.n_out <= max_outputs_, "a step above its bucket");
    run_.input = &step;
    ++run_.run_number;
    return times_.empty() ? run_plain(stop) : run_timed(stop);
  }

  std::vector<OpTime> times() const override { return times_; }

 private:
  bool run_step(Step& step, const StopFlag& stop) {
    const ItemContext context{&step, &run_};
    return pool_.run(step.begin(run_), run_item, &context, stop);
  }

  RunStatus run_plain(const StopFlag& stop) {
    for (const auto& step : steps_) {
      if (!run_step(*step, stop)) {
        return RunStatus::cancelled;
      }
    }
    return stop.load(std::memory_order_relaxed) && steps_.empty() ? RunStatus::cancelled
                                                                  : RunStatus::done;
  }

  RunStatus run_timed(const StopFlag& stop) {
    for (OpTime& time : times_) {
      time.microseconds = 0.0;
      time.bytes = 0;
    }
    auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (!run_step(*steps_[i], stop)) {
        return RunStatus::cancelled;
      }
      const auto end = std::chrono::steady_clock::now();
      OpTime& time = times_[step_op_[i]];
      time.microseconds += std::chrono::duration<double, std::micro>(end - begin).count();
      time.bytes += steps_[i]->bytes_read(run_);
      begin = end;
    }
    return RunStatus::done;
  }

  ThreadPool& pool_;
  Planner::Layout layout_;
  std::vector<std::unique_ptr<AttentionPlan>> attention_plans_;
  std::vector<std::unique_ptr<Step>> steps_;  // refer to attention_plans_
  std::vector<std::uint32_t> step_op_;
  std::uint32_t max_rows_;
  std::uint32_t max_outputs_;
  RunState run_;
  std::vector<OpTime> times_;
};

}  // namespace

std::unique_ptr<Executable> make_executable(const CompileRequest& request, Isa isa,
                                            ThreadPool& pool) {
  Planner plan(isa, pool.size(), request.buffers, request.max_rows, request.max_outputs);
  for (const Op& op : request.segment->ops) {
    plan.emit(op);
  }
  return std::make_unique<CpuExecutable>(std::move(plan), request, pool);
}

std::uint64_t segment_scratch_bytes(const Segment& segment, std::uint32_t max_rows,
                                    std::uint32_t max_outputs, Isa isa, std::uint32_t n_threads) {
  Planner plan(isa, n_threads, {}, max_rows, max_outputs);
  for (const Op& op : segment.ops) {
    if (!std::holds_alternative<ops::Copy>(op)) {
      plan.emit(op);
    }
  }
  return plan.layout().total_bytes;
}

}  // namespace lm::cpu
