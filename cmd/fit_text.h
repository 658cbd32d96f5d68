/// A fit table as text and as JSON.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "cmd/machine.h"
#include "runtime/plan/fit_table.h"

namespace lm::cmd {

/// What one machine makes of a model.
struct FitResult {
  std::string machine;  ///< "" for this one, "8 GB card" for others
  Machine devices;
  FitTable table;
};

/// Rows, recommendation with its reason, advice.
std::string fit_text(const FitResult& fit);
/// Several machines side by side: what each takes best.
std::string fit_tiers_text(const std::vector<FitResult>& fits);
nlohmann::ordered_json fit_json(const std::string& model, const FitResult& fit);

}  // namespace lm::cmd
