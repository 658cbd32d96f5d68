#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/kv_layout.h"
#include "backends/cpu/step.h"
#include "backends/reference/dequant.h"

namespace lm::cpu {
namespace {

/// Cosines and sines of all rows: [n_row][cos n_rot/2, sin n_rot/2]. Angles are formed in double,
/// where positions beyond 10^5 keep their turn.
class RopeTableStep final : public Step {
 public:
  RopeTableStep(const float* inv_freq, std::uint32_t n_rot, float magnitude, std::size_t region)
      : inv_freq_(inv_freq), half_(n_rot / 2), magnitude_(magnitude), region_(region) {}

  std::uint32_t begin(const RunState& run) override {
    return div_up(run.input->n_row, kRowsPerItem);
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t) const override {
    const std::uint32_t end = std::min((item + 1) * kRowsPerItem, run.input->n_row);
    for (std::uint32_t r = item * kRowsPerItem; r < end; ++r) {
      float* turn = reinterpret_cast<float*>(run.region(region_)) + std::uint64_t{r} * 2 * half_;
      const double position = run.input->pos[std::uint64_t{r} * kPosDims];
      for (std::uint32_t j = 0; j < half_; ++j) {
        const double angle = position * static_cast<double>(inv_freq_[j]);
        turn[j] = static_cast<float>(std::cos(angle) * static_cast<double>(magnitude_));
        turn[half_ + j] = static_cast<float>(std::sin(angle) * static_cast<double>(magnitude_));
      }
    }
  }

 private:
  static constexpr std::uint32_t kRowsPerItem = 16;

  const float* inv_freq_;
  std::uint32_t half_;
  float magnitude_;
  std::size_t region_;
};

class RopeKvWriteStep final : public Step {
 public:
  RopeKvWriteStep(const ops::RopeKvWrite& op, Planner& plan)
      : op_(op),
        kernels_(op_kernels(plan.isa()).rope),
        q_(plan.f32(op.q)),
        k_(plan.f32(op.k)),
        v_(plan.f32(op.v)),
        q_norm_(plan.f32(op.q_norm)),
        k_norm_(plan.f32(op.k_norm)) {
    if (op.rope != RopeKind::none) {
      turn_region_ = plan.rope_table(op);
    }
    // One head in the KV type, before it is spread over its tile.
    plan.need_thread_scratch(row_bytes(op.kv.dtype, std::max(op.kv.head_dim_k, op.kv.head_dim_v)));
  }

  std::uint32_t begin(const RunState& run) override {
    return div_up(run.input->n_row, kRowsPerItem);
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const std::uint32_t end = std::min((item + 1) * kRowsPerItem, run.input->n_row);
    for (std::uint32_t r = item * kRowsPerItem; r < end; ++r) {
      turn_row(run, r);
      if (!op_.k.empty()) {
        write_row(run, r, run.thread_scratch(thread));
      }
    }
  }

 private:
  // A group of keys shares cache lines; rows of one sequence are neighbours, so few groups are
  // shared by two items.
  static constexpr std::uint32_t kRowsPerItem = 16;

  void turn_row(const RunState& run, std::uint32_t r) const {
    const std::uint32_t dim = op_.kv.head_dim_k;
    RopeHeads heads;
    heads.head_dim = dim;
    heads.eps = op_.norm_eps;
    heads.rope = op_.rope;
    heads.rot_begin = op_.rot_begin;
    heads.n_rot = op_.n_rot;
    heads.turn =
        reinterpret_cast<const float*>(run.region(turn_region_)) + std::uint64_t{r} * op_.n_rot;
    heads.heads = q_ + std::uint64_t{r} * op_.n_head * dim;
    heads.n_head = op_.n_head;
    heads.normalise = q_norm_ != nullptr;
    heads.norm = q_norm_;
    heads.factor = temperature(run.input->pos[std::uint64_t{r} * kPosDims]);
    kernels_.rotate(heads);
    if (op_.k.empty()) {
      return;
    }
    heads.factor = 1.0f;
    heads.heads = k_ + std::uint64_t{r} * op_.kv.n_head_kv * dim;
    heads.n_head = op_.kv.n_head_kv;
    heads.normalise = k_norm_ != nullptr;
    heads.norm = k_norm_;
    kernels_.rotate(heads);
    if (op_.v_norm && !op_.v.empty()) {
      RopeHeads values;
      values.heads = v_ + std::uint64_t{r} * op_.kv.n_head_kv * op_.kv.head_dim_v;
      values.n_head = op_.kv.n_head_kv;
      values.head_dim = op_.kv.head_dim_v;
      values.normalise = true;
      values.eps = op_.norm_eps;
      kernels_.rotate(values);
    }
  }

  /// What a query at this position is multiplied with.
  float temperature(std::int32_t position) const {
    if (op_.temperature == 0.0f) {
      return 1.0f;
    }
    const double turns = std::floor(position / static_cast<double>(op_.temperature_length));
    return static_cast<float>(1.0 + static_cast<double>(op_.temperature) * std::log(turns + 1.0));
  }

  void write_row(const RunState& run, std::uint32_t r, std::byte* scratch) const {
    const KvRef& kv = op_.kv;
    const StepInput& step = *run.input;
    const std::uint32_t at = step.row_kv[r];
    const std::uint32_t first = step.page_begin[kv.group * step.n_seq + step.row_seq[r]];
    const std::uint32_t page = step.page_table[first + at / kPageTokens];
    auto* base = reinterpret_cast<std::byte*>(step.page_address(kv.group, page, kv.page_bytes));
    const std::uint64_t v_row = row_bytes(kv.dtype, kv.head_dim_v);
    for (std::uint32_t h = 0; h < kv.n_head_kv; ++h) {
      const float* k = k_ + (std::uint64_t{r} * kv.n_head_kv + h) * kv.head_dim_k;
      convert(k, kv.head_dim_k, scratch);
      put_key(kv.dtype, scratch, kv.head_dim_k, at % kPageTokens,
              base + kv.k_offset + kv.k_tile_bytes() * h);
      if (!op_.v.empty()) {
        const float* v = v_ + (std::uint64_t{r} * kv.n_head_kv + h) * kv.head_dim_v;
        convert(v, kv.head_dim_v,
                base + kv.v_offset + kv.v_tile_bytes() * h + v_row * (at % kPageTokens));
      }
    }
  }

  /// One head into the KV type.
  void convert(const float* head, std::uint32_t dim, std::byte* to) const {
    if (op_.kv.dtype == DType::f32) {
      std::memcpy(to, head, dim * sizeof(float));
    } else if (op_.kv.dtype == DType::f16) {
      kernels_.to_f16(head, dim, reinterpret_cast<std::uint16_t*>(to));
    } else {
      reference::quantize_row(op_.kv.dtype, head, dim, to);
    }
  }

  ops::RopeKvWrite op_;
  const RopeKernels& kernels_;
  float* q_;
  float* k_;
  float* v_;
  const float* q_norm_;
  const float* k_norm_;
  std::size_t turn_region_ = 0;
};

}  // namespace

std::size_t Planner::rope_table(const ops::RopeKvWrite& op) {
  for (const RopeTable& t : rope_tables_) {
    if (t.inv_freq.buffer == op.inv_freq.buffer && t.inv_freq.offset == op.inv_freq.offset &&
        t.n_rot == op.n_rot && t.magnitude == op.magnitude) {
      return t.region;
    }
  }
  const std::size_t region =
      new_region(std::uint64_t{capacity(RowSet::step)} * op.n_rot * sizeof(float));
  push(std::make_unique<RopeTableStep>(f32(op.inv_freq), op.n_rot, op.magnitude, region));
  rope_tables_.push_back({op.inv_freq, op.n_rot, op.magnitude, region});
  return region;
}

void emit(const ops::RopeKvWrite& op, Planner& plan) {
  auto step = std::make_unique<RopeKvWriteStep>(op, plan);  // emits its table first
  plan.push(std::move(step));
}

}  // namespace lm::cpu
