/// A parallel loop over rows: what ops are made of that treat every row by itself.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "backends/cpu/step.h"

namespace lm::cpu {

/// function(step, row, scratch) for every row of a set, some of them an item. `scratch` is the
/// thread's.
template <class RowFunction>
class RowStep final : public Step {
 public:
  RowStep(RowSet rows, std::uint32_t cols, RowFunction function)
      : rows_(rows),
        rows_per_item_(std::max(1u, kValuesPerItem / std::max(cols, 1u))),
        function_(function) {}

  std::uint32_t begin(const RunState& run) override {
    return div_up(run.rows(rows_), rows_per_item_);
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const std::uint32_t end = std::min((item + 1) * rows_per_item_, run.rows(rows_));
    for (std::uint32_t r = item * rows_per_item_; r < end; ++r) {
      function_(*run.input, r, run.thread_scratch(thread));
    }
  }

 private:
  static constexpr std::uint32_t kValuesPerItem = 16384;  // some microseconds

  RowSet rows_;
  std::uint32_t rows_per_item_;
  RowFunction function_;
};

/// `cols` says how much work a row is: about so many values.
template <class RowFunction>
void push_rows(Planner& plan, RowSet rows, std::uint32_t cols, RowFunction function) {
  plan.push(std::make_unique<RowStep<RowFunction>>(rows, cols, function));
}

}  // namespace lm::cpu
