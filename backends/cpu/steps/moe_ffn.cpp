// Experts in four loops: pack each row for its experts; gate, up and activation of all experts;
// pack the hidden rows; down products, summed row by row in rising order of experts.
#include <algorithm>
#include <cstring>
#include <optional>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/steps/expert_rows.h"

namespace lm::cpu {
namespace {

// Results of a kernel that an item keeps in its scratch: they should stay in the second cache.
constexpr std::uint64_t kMaxColumnValues = 65536;

/// The matrices of all experts in one tensor.
struct ExpertWeights {
  ExpertWeights(const TensorRef& weight, const TensorRef& bias_ref, std::uint32_t rows_apart,
                std::uint32_t n_rows, const Planner& plan)
      : kernel(find_matmul(weight.dtype, plan.isa(), weight.cols)),
        k(weight.cols),
        bytes(plan.bytes(weight)),
        row_bytes(lm::row_bytes(weight.dtype, weight.cols)),
        stride(rows_apart),
        n_out(n_rows),
        bias(plan.f32(bias_ref)) {
    LM_ASSERT(kernel != nullptr, "compile took a type without a kernel");
  }

  /// The product with rows [begin, ...) of an expert, which the kernel sees as its rows [0, ...).
  MatMulArgs args(std::uint32_t expert, std::uint32_t begin) const {
    MatMulArgs a;
    a.weight = bytes + row_bytes * (std::uint64_t{expert} * stride + begin);
    a.weight_row_bytes = row_bytes;
    a.k = k;
    a.bias = bias != nullptr ? bias + std::uint64_t{expert} * n_out + begin : nullptr;
    return a;
  }

  const MatMulKernel* kernel;
  std::uint32_t k;
  const std::byte* bytes;
  std::uint64_t row_bytes;
  std::uint32_t stride;
  std::uint32_t n_out;
  const float* bias;
};

/// What the four steps of an op share.
struct ExpertOp {
  ExpertOp(const ops::MoeFfn& op, Planner& plan)
      : rows(op, plan.capacity(op.rows)),
        up(op.w_up, op.b_up, op.expert_stride, op.n_ff, plan),
        down(op.w_down, op.b_down, op.out.cols, op.out.cols, plan),
        n_threads(plan.n_threads()),
        max_group_rows(std::min(rows.max_slots(), kMaxProductRows)),
        hidden(plan.shared_region(Planner::experts_hidden,
                                  std::uint64_t{rows.max_slots()} * op.n_ff * sizeof(float))),
        x_up(*up.kernel, up.k, rows.max_units(), Planner::act_experts, plan) {
    if (!op.w_gate.empty()) {
      gate.emplace(op.w_gate, op.b_gate, op.expert_stride, op.n_ff, plan);
      x_gate = x_up;
      if (gate->kernel->convert != up.kernel->convert) {
        x_gate =
            PackedRows(*gate->kernel, gate->k, rows.max_units(), Planner::act_experts_gate, plan);
      }
    }
    if (down.kernel->format != ActFormat::f32) {
      hidden_act.emplace(*down.kernel, down.k, rows.max_units(), Planner::act_experts_hidden, plan);
    }
    std::uint32_t step = std::max(up.kernel->row_step, down.kernel->row_step);
    kernel_scratch = std::max(up.kernel->scratch_bytes(max_group_rows, up.k),
                              down.kernel->scratch_bytes(max_group_rows, down.k));
    if (gate) {
      step = std::max(step, gate->kernel->row_step);
      kernel_scratch =
          std::max(kernel_scratch, gate->kernel->scratch_bytes(max_group_rows, gate->k));
    }
    kernel_scratch = (kernel_scratch + 63) / 64 * 64;
    plan.need_thread_scratch(kernel_scratch +
                             std::max(kMaxColumnValues, std::uint64_t{max_group_rows} * step) *
                                 sizeof(float));
  }

  float* hidden_rows(const RunState& run, std::uint32_t slot) const {
    return reinterpret_cast<float*>(run.region(hidden)) + std::uint64_t{slot} * up.n_out;
  }
  /// Rows of the largest group in this run.
  std::uint32_t most_rows() const {
    std::uint32_t most = 0;
    for (const ExpertGroup& group : rows.groups()) {
      most = std::max(most, group.n_rows);
    }
    return most;
  }
  std::uint64_t n_expert_used() const {
    std::uint64_t n = 0;
    std::uint32_t last = kMaxExperts;
    for (const ExpertGroup& group : rows.groups()) {
      n += group.expert != last;
      last = group.expert;
    }
    return n;
  }
  /// Weight rows an item: as many as `wanted`, as long as the columns of all rows have room.
  std::uint32_t bounded(std::uint32_t wanted, std::uint32_t n_out, std::uint32_t step) const {
    const std::uint64_t room = kMaxColumnValues / std::max(most_rows(), 1u) / step * step;
    const std::uint64_t rows_in_all = std::uint64_t{div_up(n_out, step)} * step;
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
        wanted, step, std::min(std::max<std::uint64_t>(room, step), rows_in_all)));
  }

  ExpertRows rows;
  ExpertWeights up, down;
  std::optional<ExpertWeights> gate;
  std::uint32_t n_threads;
  std::uint32_t max_group_rows;
  std::size_t hidden;  ///< region [slot, n_ff]
  PackedRows x_up, x_gate;
  std::optional<PackedRows> hidden_act;
  std::uint64_t kernel_scratch = 0;
};

std::uint32_t slots_per_item(std::uint32_t k) {
  constexpr std::uint32_t kValuesPerItem = 32768;
  return std::max(kValuesPerItem / k / PackedRows::kUnitRows, 1u) * PackedRows::kUnitRows;
}

class PackInputStep final : public Step {
 public:
  PackInputStep(std::shared_ptr<ExpertOp> op, const ops::MoeFfn& moe, const Planner& plan)
      : op_(std::move(op)),
        x_(plan.f32(moe.x)),
        ids_(reinterpret_cast<const std::int32_t*>(plan.bytes(moe.ids))) {}

  std::uint32_t begin(const RunState& run) override {
    op_->rows.prepare(run, ids_);
    return div_up(n_slot(), slots_per_item(op_->up.k));
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t) const override {
    const std::uint32_t n = slots_per_item(op_->up.k);
    const std::uint32_t end = std::min((item + 1) * n, n_slot());
    for (std::uint32_t slot = item * n; slot < end; ++slot) {
      const ExpertGroup& group = op_->rows.group_of(slot);
      const float* x = x_ + std::uint64_t{op_->rows.row_of(slot)} * op_->up.k;
      op_->x_up.pack(run, group, slot - group.slot, x);
      if (op_->gate && op_->x_gate.region != op_->x_up.region) {
        op_->x_gate.pack(run, group, slot - group.slot, x);
      }
    }
  }

 private:
  std::uint32_t n_slot() const { return op_->rows.is_one_row() ? 1 : op_->rows.n_slot(); }

  std::shared_ptr<ExpertOp> op_;
  const float* x_;
  const std::int32_t* ids_;
};

/// An item is a range of one group's hidden columns; the up half stays in the thread's scratch.
class HiddenStep final : public Step {
 public:
  HiddenStep(std::shared_ptr<ExpertOp> op, Activation act, const Planner& plan)
      : op_(std::move(op)), act_(act), element_(op_kernels(plan.isa()).element) {}

  std::uint32_t begin(const RunState&) override {
    const ExpertWeights& up = op_->up;
    const auto n_group = static_cast<std::uint32_t>(op_->rows.groups().size());
    const std::uint32_t step =
        std::max(up.kernel->row_step, op_->gate ? op_->gate->kernel->row_step : 1u);
    const ItemShape shape{std::uint64_t{up.n_out} * n_group, up.k, up.row_bytes, step};
    const std::uint32_t wanted =
        op_->bounded(rows_per_item(shape, op_->most_rows(), op_->n_threads), up.n_out, step);
    // Items of one size: the last of an expert should not be a remainder.
    const std::uint32_t even = div_up(up.n_out, div_up(up.n_out, wanted));
    item_rows_ = div_up(even, step) * step;
    return n_group * items_per_group();
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const ExpertGroup& group = op_->rows.groups()[item / items_per_group()];
    const std::uint32_t n_ff = op_->up.n_out;
    const std::uint32_t begin = item % items_per_group() * item_rows_;
    const std::uint32_t n = std::min(item_rows_, n_ff - begin);
    std::byte* scratch = run.thread_scratch(thread);
    float* columns = reinterpret_cast<float*>(scratch + op_->kernel_scratch);
    float* hidden = op_->hidden_rows(run, group.slot) + begin;
    if (op_->gate) {
      product(run, *op_->gate, op_->x_gate, group, begin, n, hidden, n_ff, scratch);
      product(run, op_->up, op_->x_up, group, begin, n, columns, n, scratch);
    } else {
      product(run, op_->up, op_->x_up, group, begin, n, hidden, n_ff, scratch);
    }
    for (std::uint32_t r = 0; r < group.n_rows; ++r) {
      float* row = hidden + std::uint64_t{r} * n_ff;
      element_.gate(act_, row, op_->gate ? columns + std::uint64_t{r} * n : nullptr, row, n);
    }
  }

  std::uint64_t bytes_read(const RunState&) const override {
    const std::uint64_t gate = op_->gate ? op_->gate->row_bytes : 0;
    return (op_->up.row_bytes + gate) * op_->up.n_out * op_->n_expert_used();
  }

 private:
  std::uint32_t items_per_group() const { return div_up(op_->up.n_out, item_rows_); }

  void product(const RunState& run, const ExpertWeights& weights, const PackedRows& x,
               const ExpertGroup& group, std::uint32_t begin, std::uint32_t n, float* out,
               std::uint64_t out_stride, std::byte* scratch) const {
    MatMulArgs args = weights.args(group.expert, begin);
    args.act = x.group(run, op_->rows.is_one_row() ? op_->rows.groups()[0] : group);
    args.x_stride = weights.k;
    args.n_rows = group.n_rows;
    args.out = out;
    args.out_stride = out_stride;
    weights.kernel->run(args, 0, n, scratch);
  }

  std::shared_ptr<ExpertOp> op_;
  Activation act_;
  const ElementKernels& element_;
  std::uint32_t item_rows_ = 1;
};

class PackHiddenStep final : public Step {
 public:
  explicit PackHiddenStep(std::shared_ptr<ExpertOp> op) : op_(std::move(op)) {}

  std::uint32_t begin(const RunState&) override {
    return div_up(op_->rows.n_slot(), slots_per_item(op_->down.k));
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t) const override {
    const std::uint32_t n = slots_per_item(op_->down.k);
    const std::uint32_t end = std::min((item + 1) * n, op_->rows.n_slot());
    for (std::uint32_t slot = item * n; slot < end; ++slot) {
      const ExpertGroup& group = op_->rows.group_of(slot);
      op_->hidden_act->pack(run, group, slot - group.slot, op_->hidden_rows(run, slot));
    }
  }

 private:
  std::shared_ptr<ExpertOp> op_;
};

/// An item is a range of output columns for all groups: it alone adds to them, so that sums have
/// one order.
class DownStep final : public Step {
 public:
  DownStep(std::shared_ptr<ExpertOp> op, const ops::MoeFfn& moe, const Planner& plan)
      : op_(std::move(op)),
        element_(op_kernels(plan.isa()).element),
        weights_(plan.f32(moe.weights)),
        out_(plan.f32(moe.out)),
        accumulate_(moe.accumulate) {}

  std::uint32_t begin(const RunState& run) override {
    const ExpertWeights& down = op_->down;
    const std::uint32_t step = down.kernel->row_step;
    const std::uint32_t passes = std::max(div_up(op_->rows.n_slot(), kMaxProductRows), 1u);
    const ItemShape shape{down.n_out, down.k * passes,
                          down.row_bytes * std::max<std::size_t>(op_->rows.groups().size(), 1),
                          step};
    item_rows_ =
        op_->bounded(rows_per_item(shape, op_->rows.n_slot(), op_->n_threads), down.n_out, step);
    return run.rows(op_->rows.row_set()) == 0 ? 0 : div_up(down.n_out, item_rows_);
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const ExpertWeights& down = op_->down;
    const std::uint32_t begin = item * item_rows_;
    const std::uint32_t n = std::min(item_rows_, down.n_out - begin);
    std::byte* scratch = run.thread_scratch(thread);
    float* columns = reinterpret_cast<float*>(scratch + op_->kernel_scratch);
    float* out = out_ + begin;
    for (std::uint32_t r = 0; !accumulate_ && r < run.rows(op_->rows.row_set()); ++r) {
      std::memset(out + std::uint64_t{r} * down.n_out, 0, n * sizeof(float));
    }
    for (const ExpertGroup& group : op_->rows.groups()) {
      MatMulArgs args = down.args(group.expert, begin);
      args.act = op_->hidden_act
                     ? op_->hidden_act->group(run, group)
                     : reinterpret_cast<const std::byte*>(op_->hidden_rows(run, group.slot));
      args.x_stride = down.k;
      args.n_rows = group.n_rows;
      args.out = columns;
      args.out_stride = n;
      down.kernel->run(args, 0, n, scratch);
      for (std::uint32_t r = 0; r < group.n_rows; ++r) {
        float* row = out + std::uint64_t{op_->rows.row_of(group.slot + r)} * down.n_out;
        element_.add(row, 1.0f, columns + std::uint64_t{r} * n,
                     weights_[op_->rows.choice_of(group.slot + r)], row, n);
      }
    }
  }

  std::uint64_t bytes_read(const RunState&) const override {
    return op_->down.row_bytes * op_->down.n_out * op_->n_expert_used();
  }

 private:
  std::shared_ptr<ExpertOp> op_;
  const ElementKernels& element_;
  const float* weights_;
  float* out_;
  bool accumulate_;
  std::uint32_t item_rows_ = 1;
};

}  // namespace

void emit(const ops::MoeFfn& op, Planner& plan) {
  auto shared = std::make_shared<ExpertOp>(op, plan);
  plan.push(std::make_unique<PackInputStep>(shared, op, plan));
  plan.push(std::make_unique<HiddenStep>(shared, op.act, plan));
  if (shared->hidden_act) {
    plan.push(std::make_unique<PackHiddenStep>(shared));
  }
  plan.push(std::make_unique<DownStep>(shared, op, plan));
}

}  // namespace lm::cpu
