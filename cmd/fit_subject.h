/// What `lm fit` is asked about: one file, or every quant of a repository.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cmd/report.h"
#include "registry/model_ref.h"
#include "runtime/plan/fit_table.h"

namespace lm::cmd {

/// Files and the shapes that point into them.
struct FitSubject {
  std::string name;
  std::vector<std::unique_ptr<GgufFile>> files;
  std::vector<std::unique_ptr<ModelShape>> shapes;
  std::vector<FitCandidate> candidates;

  /// Errors: those of ModelShape::read.
  Result<void> add(std::string quant, GgufFile file);
};

/// A path, a stored model, or a name on the hub, in this order.
Result<FitSubject> find_fit_subject(const std::string& model);
/// Every quant on the hub. Quants that can't be read are left out with a warning.
Result<FitSubject> fit_subject_on_hub(const registry::ModelRef& ref);

/// The quant of `ref` on the hub that suits this machine best, with a line that says why. Errors:
/// out_of_memory when none fits.
struct FittingQuant {
  std::string quant;
  std::string reason;
};
Result<FittingQuant> fitting_quant(const registry::ModelRef& ref);

}  // namespace lm::cmd
