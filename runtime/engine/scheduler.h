/// Who takes part in the next step, and with how many rows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/engine/generation.h"
#include "runtime/engine/session.h"

namespace lm {

/// Chooses the rows of a step. Everybody who decodes gets one row and those of a draft; what is
/// left of the batch goes to prompts, first come first served: full batches when nobody waits for a
/// token, smaller ones, sized by measured time, when others decode.
class Scheduler {
 public:
  /// `whole_texts`: a text is one step (encoders), never cut.
  explicit Scheduler(std::uint32_t n_batch, bool whole_texts = false)
      : n_batch_(n_batch), whole_texts_(whole_texts) {}

  struct Pick {
    Generation* generation = nullptr;
    std::uint32_t n_row = 0;
    /// Rows wanted of it: the last, when its last pending token is in the step, and those of its
    /// draft.
    std::uint32_t n_output = 0;
  };
  std::vector<Pick> next(const std::vector<std::unique_ptr<Generation>>& active) const;

  /// Tells how long a step took, so that prompt pieces can be sized.
  void note(std::uint32_t n_row, double seconds);

 private:
  std::uint32_t n_batch_;
  bool whole_texts_;
  double seconds_per_row_ = 0.0;  ///< smoothed, of steps that carry prompt rows
};

}  // namespace lm
