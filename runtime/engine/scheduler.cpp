#include "runtime/engine/scheduler.h"

#include <algorithm>

namespace lm {
namespace {

/// A decoding neighbour waits at most about this long for a step that carries a piece of somebody's
/// prompt.
constexpr double kSharedStepSeconds = 0.1;
constexpr std::uint32_t kMinPromptRows = 16;

}  // namespace

std::vector<Scheduler::Pick> Scheduler::next(
    const std::vector<std::unique_ptr<Generation>>& active) const {
  std::vector<Pick> picks;
  std::uint32_t rows = 0;
  for (const auto& generation : active) {
    // Without credit its reader is behind: only this request pauses.
    const bool ready = !generation->finished() && !generation->preempted && generation->decoding();
    if (ready && generation->credit > generation->events.size() && rows < n_batch_) {
      const auto wanted = static_cast<std::uint32_t>(1 + generation->draft().size());
      const std::uint32_t n = std::min(wanted, n_batch_ - rows);
      picks.push_back({generation.get(), n, n});
      rows += n;
    }
  }
  std::uint32_t budget = n_batch_ - rows;
  if (!picks.empty() && seconds_per_row_ > 0.0) {
    const double fits = kSharedStepSeconds / seconds_per_row_;
    budget =
        std::min(budget, std::max(kMinPromptRows, static_cast<std::uint32_t>(std::min(fits, 1e6))));
  }
  for (const auto& generation : active) {
    if (budget == 0) {
      break;
    }
    if (!generation->finished() && !generation->preempted && !generation->decoding() &&
        generation->pending() > 0) {
      const std::uint32_t pending = generation->pending();
      if (whole_texts_ && pending > budget) {
        continue;
      }
      std::uint32_t n = std::min(budget, pending);
      const std::uint32_t done = generation->sequence->length();
      if (generation->checkpoint() > done) {
        n = std::min(n, generation->checkpoint() - done);
      }
      picks.push_back({generation.get(), n, n == pending ? 1u : 0u});
      budget -= n;
    }
  }
  return picks;
}

void Scheduler::note(std::uint32_t n_row, double seconds) {
  if (n_row < kMinPromptRows) {
    return;
  }
  const double measured = seconds / n_row;
  seconds_per_row_ = seconds_per_row_ == 0.0 ? measured : 0.5 * (seconds_per_row_ + measured);
}

}  // namespace lm
