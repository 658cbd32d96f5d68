/// `lm fit` as values: what of a model's quants runs how well on given devices, and what to take.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/plan/planner.h"
#include "runtime/plan/speed.h"

namespace lm {

/// One file (or split set) of a model.
struct FitCandidate {
  std::string quant;
  const ModelShape* shape = nullptr;
};

struct FitRow {
  std::string quant;
  bool automatic = false;  ///< the context was solved for
  DType kv_type = DType::f16;
  LoadPlan plan;
  SpeedEstimate speed;
  std::string verdict;  ///< "all on vulkan:0", "20 of 32 layers on vulkan:0", "fits", "too large"
};

struct FitTable {
  std::vector<FitRow> rows;  ///< by candidate, then by context
  std::optional<std::size_t> recommended;
  std::string reason;
  /// What would have to change for more on the GPU or for a plan at all; empty when nothing would
  /// help.
  std::vector<std::string> advice;
};

/// `devices` as plan_load wants them, `speeds` one each. With wish.n_ctx one row a candidate, else
/// one for each usual context up to the trained one and one whose context is solved for. Errors:
/// those of plan_load.
Result<FitTable> fit_table(std::span<const FitCandidate> candidates,
                           std::span<const PlanDevice> devices, std::span<const DeviceSpeed> speeds,
                           const PlanWish& wish);

}  // namespace lm
