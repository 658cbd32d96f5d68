#include "backends/cpu/steps/expert_rows.h"

#include <algorithm>
#include <cstring>

namespace lm::cpu {

ExpertRows::ExpertRows(const ops::MoeFfn& op, std::uint32_t max_rows)
    : row_set_(op.rows),
      n_expert_(op.n_expert),
      n_used_(op.ids.cols),
      max_slots_(max_rows * op.ids.cols),
      max_groups_(std::min(max_slots_, op.n_expert + max_slots_ / kMaxProductRows)),
      first_(op.n_expert + 1),
      choice_(max_slots_),
      group_(max_slots_) {
  groups_.reserve(max_groups_);
}

std::uint32_t ExpertRows::max_units() const {
  return max_slots_ / PackedRows::kUnitRows + max_groups_;
}

void ExpertRows::prepare(const RunState& run, const std::int32_t* ids) {
  if (run_number_ == run.run_number) {
    return;
  }
  run_number_ = run.run_number;
  n_slot_ = run.rows(row_set_) * n_used_;
  groups_.clear();

  // Counting sort: stable, so that an expert's rows stay in order.
  std::fill(first_.begin(), first_.end(), 0);
  for (std::uint32_t i = 0; i < n_slot_; ++i) {
    LM_ASSERT(ids[i] >= 0 && static_cast<std::uint32_t>(ids[i]) < n_expert_,
              "a row chose an expert that is not there");
    ++first_[static_cast<std::uint32_t>(ids[i]) + 1];
  }
  for (std::uint32_t e = 0; e < n_expert_; ++e) {
    first_[e + 1] += first_[e];
  }
  std::uint32_t unit = 0;
  for (std::uint32_t e = 0; e < n_expert_; ++e) {
    for (std::uint32_t slot = first_[e]; slot < first_[e + 1];) {
      const std::uint32_t n_rows = std::min(first_[e + 1] - slot, kMaxProductRows);
      std::fill_n(group_.begin() + slot, n_rows, static_cast<std::uint32_t>(groups_.size()));
      groups_.push_back({e, slot, n_rows, unit});
      unit += div_up(n_rows, PackedRows::kUnitRows);
      slot += n_rows;
    }
  }
  is_one_row_ = run.rows(row_set_) == 1 && groups_.size() == n_slot_;
  for (std::uint32_t i = 0; i < n_slot_; ++i) {
    choice_[first_[static_cast<std::uint32_t>(ids[i])]++] = i;
  }
}

PackedRows::PackedRows(const MatMulKernel& matmul, std::uint32_t row_length,
                       std::uint32_t max_units, Planner::SharedRegion kind, Planner& plan)
    : kernel(&matmul), k(row_length) {
  if (kernel->format == ActFormat::f32) {
    unit_bytes = std::uint64_t{kUnitRows} * k * sizeof(float);
  } else {
    // The form depends on the number of rows: the most that any number takes a unit.
    for (std::uint32_t n = 1; n <= kMaxProductRows; ++n) {
      const std::uint32_t units = div_up(n, kUnitRows);
      unit_bytes = std::max(unit_bytes, (kernel->act_bytes(n, k) + units - 1) / units);
    }
  }
  unit_bytes = (unit_bytes + 63) / 64 * 64;
  region = plan.shared_region(kind, unit_bytes * max_units);
}

void PackedRows::pack(const RunState& run, const ExpertGroup& to, std::uint32_t row,
                      const float* x) const {
  std::byte* act = group(run, to);
  if (kernel->format == ActFormat::f32) {
    std::memcpy(act + std::uint64_t{row} * k * sizeof(float), x, k * sizeof(float));
  } else {
    // Rows of a group do not lie together: with a stride of nothing every row begins at x.
    kernel->convert(x, 0, to.n_rows, k, act, row, row + 1);
  }
}

}  // namespace lm::cpu
