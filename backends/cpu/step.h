/// What an op becomes on the CPU: steps with resolved pointers, and the plan that lays out their
/// work memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/isa.h"
#include "backends/cpu/kernels/matmul.h"

namespace lm::cpu {

/// Everything that is known only when a step runs.
struct RunState {
  const StepInput* input = nullptr;
  std::uint64_t run_number =
      0;  ///< counts runs of the executable, for work that steps of one run share
  std::byte* scratch = nullptr;
  std::span<const std::uint64_t> region_offset;
  std::uint64_t thread_offset = 0;  ///< of thread 0's own scratch
  std::uint64_t thread_bytes = 0;

  std::uint32_t rows(RowSet set) const { return set == RowSet::step ? input->n_row : input->n_out; }
  /// One layer's recurrent state of a sequence.
  float* state(const StateRef& ref, std::uint32_t seq) const {
    LM_ASSERT(input->state_slot[seq] != kNoSlot, "a sequence with recurrent layers has no state");
    return reinterpret_cast<float*>(input->state + ref.slot_bytes * input->state_slot[seq] +
                                    ref.offset);
  }
  std::byte* region(std::size_t id) const { return scratch + region_offset[id]; }
  std::byte* thread_scratch(std::uint32_t thread) const {
    return scratch + thread_offset + thread_bytes * thread;
  }
};

/// One parallel loop and the barrier behind it. A loop of one item runs on the calling thread,
/// without a barrier.
class Step {
 public:
  virtual ~Step() = default;
  /// Number of items in this run; called once before them, by the thread that runs the segment.
  virtual std::uint32_t begin(const RunState& run) = 0;
  virtual void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const = 0;
  /// Weight and KV bytes that the last run read.
  virtual std::uint64_t bytes_read(const RunState&) const { return 0; }
};

class AttentionPlan;

/// Steps of a segment with their work memory. Without buffers it serves to count bytes only:
/// pointers are then null.
class Planner {
 public:
  Planner(Isa isa, std::uint32_t n_threads, std::span<Buffer* const> buffers,
          std::uint32_t max_rows, std::uint32_t max_outputs);
  ~Planner();

  /// Appends the steps of one op.
  void emit(const Op& op);

  // For the emitters of ops.
  Isa isa() const { return isa_; }
  std::uint32_t n_threads() const { return n_threads_; }
  std::uint32_t capacity(RowSet set) const {
    return set == RowSet::step ? max_rows_ : max_outputs_;
  }
  std::byte* bytes(const TensorRef& t) const;
  float* f32(const TensorRef& t) const { return reinterpret_cast<float*>(bytes(t)); }
  void push(std::unique_ptr<Step> step);
  /// New work memory that all steps share, or one of the kinds whose contents never outlive the
  /// next use.
  std::size_t new_region(std::uint64_t bytes);
  enum SharedRegion : std::size_t {
    act_q8_32,
    act_q8_256,
    act_heads,
    act_experts,
    act_experts_gate,
    act_experts_hidden,
    experts_hidden,
    partials,
    n_shared
  };
  std::size_t shared_region(SharedRegion kind, std::uint64_t bytes);
  /// Work memory that every thread has for itself during an item.
  void need_thread_scratch(std::uint64_t bytes);

  /// Makes sure that x stands converted for `kernel` in the returned region; a conversion that is
  /// still valid is used again. Format f32 needs none.
  std::size_t converted(const TensorRef& x, RowSet rows, const MatMulKernel& kernel);
  /// Region of the cosines and sines of this op's rows; computed once a run for all layers that
  /// turn alike.
  std::size_t rope_table(const ops::RopeKvWrite& op);
  /// The split of attention into items; computed once a run for all layers that see alike.
  AttentionPlan& attention_plan(const ops::Attention& op);

  // What the executor takes over.
  struct Layout {
    std::vector<std::uint64_t> region_offset;
    std::uint64_t thread_offset = 0;
    std::uint64_t thread_bytes = 0;
    std::uint64_t total_bytes = 0;
  };
  Layout layout() const;
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<std::uint32_t> step_op;  ///< [step] index of its op
  std::vector<std::unique_ptr<AttentionPlan>> attention_plans;

 private:
  struct Conversion {
    TensorRef x;
    RowSet rows = RowSet::step;
    decltype(MatMulKernel::convert) convert = nullptr;
    std::size_t region = 0;
  };
  struct RopeTable {
    TensorRef inv_freq;
    std::uint32_t n_rot;
    float magnitude;
    std::size_t region;
  };
  void forget_overwritten(const Op& op);

  Isa isa_;
  std::uint32_t n_threads_;
  std::span<Buffer* const> buffers_;
  std::uint32_t max_rows_;
  std::uint32_t max_outputs_;
  std::uint32_t n_ops_ = 0;
  std::vector<std::uint64_t> region_bytes_;
  std::uint64_t thread_bytes_ = 0;
  std::vector<Conversion> conversions_;  ///< at most one a format
  std::vector<RopeTable> rope_tables_;
};

// One file an op or family in cpu/steps/.
void emit(const ops::Embed& op, Planner& plan);
void emit(const ops::Norm& op, Planner& plan);
void emit(const ops::MatMul& op, Planner& plan);
void emit(const ops::QkvMatMul& op, Planner& plan);
void emit(const ops::HeadMatMul& op, Planner& plan);
void emit(const ops::CopyCols& op, Planner& plan);
void emit(const ops::RopeKvWrite& op, Planner& plan);
void emit(const ops::Attention& op, Planner& plan);
void emit(const ops::GatedFfn& op, Planner& plan);
void emit(const ops::MoeRoute& op, Planner& plan);
void emit(const ops::MoeFfn& op, Planner& plan);
void emit(const ops::CausalConv& op, Planner& plan);
void emit(const ops::DeltaNet& op, Planner& plan);
void emit(const ops::MeanRows& op, Planner& plan);
void emit(const ops::GatherRows& op, Planner& plan);
void emit(const ops::Logits& op, Planner& plan);
void emit(const ops::Add& op, Planner& plan);
void emit(const ops::Mul& op, Planner& plan);
void emit(const ops::Scale& op, Planner& plan);
void emit(const ops::Copy& op, Planner& plan);

/// ceil(a / b).
constexpr std::uint32_t div_up(std::uint32_t a, std::uint32_t b) {
  return (a + b - 1) / b;
}

}  // namespace lm::cpu
