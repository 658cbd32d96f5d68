/// Measures what a device's own kernels do, in at most two seconds.
#pragma once

#include <chrono>
#include <span>

#include "backends/backend.h"
#include "runtime/plan/speed.h"

namespace lm {

struct CalibrationOptions {
  std::chrono::milliseconds limit{2000};   ///< what is not measured by then stays unknown
  std::uint64_t weight_bytes = 96u << 20;  ///< of each type: more than caches hold
};

/// The types that most files are made of, the most frequent first.
std::span<const DType> calibrated_types();

/// Products of one row and of many through `device`, by type, and attention over a long KV. Errors:
/// those of the device (out_of_memory, device_lost).
Result<DeviceSpeed> calibrate(Backend& device, const CalibrationOptions& options = {});

}  // namespace lm
