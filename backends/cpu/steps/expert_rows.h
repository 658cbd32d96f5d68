/// Which rows go to which expert: a step's (row, choice) pairs sorted by expert, and activations
/// packed in that order.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/cpu/steps/product.h"

namespace lm::cpu {

/// Rows of one expert: the slots [slot, slot + n_rows) of the sorted order.
struct ExpertGroup {
  std::uint32_t expert = 0;
  std::uint32_t slot = 0;
  std::uint32_t n_rows = 0;  ///< at most kMaxProductRows
  std::uint32_t unit = 0;    ///< where its packed activations begin, see PackedRows
};

/// The sorted order of one step. All room is taken when it is made.
class ExpertRows {
 public:
  ExpertRows(const ops::MoeFfn& op, std::uint32_t max_rows);

  /// Sorts the choices of `n_row` rows, unless that was done in this run.
  void prepare(const RunState& run, const std::int32_t* ids);

  const std::vector<ExpertGroup>& groups() const { return groups_; }
  std::uint32_t n_slot() const { return n_slot_; }
  /// All groups hold the same single row: one packed form serves them.
  bool is_one_row() const { return is_one_row_; }
  std::uint32_t row_of(std::uint32_t slot) const { return choice_[slot] / n_used_; }
  /// Index of the pair in ids and weights.
  std::uint32_t choice_of(std::uint32_t slot) const { return choice_[slot]; }
  const ExpertGroup& group_of(std::uint32_t slot) const { return groups_[group_[slot]]; }

  /// Which rows of a step these are.
  RowSet row_set() const { return row_set_; }
  std::uint32_t max_slots() const { return max_slots_; }
  /// Units that the groups of any step need at most.
  std::uint32_t max_units() const;

 private:
  RowSet row_set_;
  std::uint32_t n_expert_;
  std::uint32_t n_used_;
  std::uint32_t max_slots_;
  std::uint32_t max_groups_;
  std::uint32_t n_slot_ = 0;
  bool is_one_row_ = false;
  std::uint64_t run_number_ = 0;
  std::vector<std::uint32_t> first_;   ///< [n_expert + 1]
  std::vector<std::uint32_t> choice_;  ///< [slot]
  std::vector<std::uint32_t> group_;   ///< [slot]
  std::vector<ExpertGroup> groups_;
};

/// Activations of all groups in the form of one kernel, each group by itself. A unit is the room of
/// kUnitRows rows in the least favourable form.
struct PackedRows {
  static constexpr std::uint32_t kUnitRows = 8;

  PackedRows() = default;
  PackedRows(const MatMulKernel& kernel, std::uint32_t k, std::uint32_t max_units,
             Planner::SharedRegion kind, Planner& plan);

  std::byte* group(const RunState& run, const ExpertGroup& group) const {
    return run.region(region) + unit_bytes * group.unit;
  }
  /// Row `row` of a group from k floats at x.
  void pack(const RunState& run, const ExpertGroup& to, std::uint32_t row, const float* x) const;

  const MatMulKernel* kernel = nullptr;
  std::uint32_t k = 0;
  std::uint64_t unit_bytes = 0;
  std::size_t region = 0;
};

}  // namespace lm::cpu
