/// The specification of every op as a backend: scalar, double accumulation, one file an op. Slow
/// and right.
#pragma once

#include <memory>

#include "backends/backend.h"

namespace lm {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace lm
