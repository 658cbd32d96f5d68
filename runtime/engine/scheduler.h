/// Who takes part in the next step, and with how many rows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/engine/generation.h"
#include "runtime/engine/session.h"

namespace lm {

/// Chooses the rows of a step. Everybody who decodes gets one row; what is left of the batch goes
/// to prompts, first come first served: full batches when nobody waits for a token, smaller ones,
/// sized by measured time, when others decode.
class Scheduler {
 public:
  explicit Scheduler(std::uint32_t n_batch) : n_batch_(n_batch) {}

  struct Pick {
    Generation* generation = nullptr;
    std::uint32_t n_row = 0;
    bool wants_logits = false;  ///< its last pending token is in the step
  };
  std::vector<Pick> next(const std::vector<std::unique_ptr<Generation>>& active) const;

  /// Tells how long a step took, so that prompt pieces can be sized.
  void note(std::uint32_t n_row, double seconds);

 private:
  std::uint32_t n_batch_;
  double seconds_per_row_ = 0.0;  ///< smoothed, of steps that carry prompt rows
};

}  // namespace lm
