/// Long work that reports how far it is and may be stopped.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "store/error.h"

namespace lm::store {

/// Called with bytes done and bytes in all; returns false to stop the work.
using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

/// Error interrupted when `progress` wants to stop; an empty one never does.
Result<void> report_progress(const Progress& progress, std::uint64_t done, std::uint64_t total,
                             std::string_view subject);

}  // namespace lm::store
