/// The models of the catalogue that a machine can run, best first.
#pragma once

#include "cmd/machine.h"

namespace lm::cmd {

/// Prints them by task, from sizes alone: no request is made.
Result<ExitCode> rank_catalog(const Machine& machine, const PlanWish& wish, bool json);

}  // namespace lm::cmd
