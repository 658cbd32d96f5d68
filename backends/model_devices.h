/// The devices that one model may be spread over.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "backends/discover.h"

namespace lm {

struct ModelDevices {
  std::vector<std::shared_ptr<Backend>> devices;  ///< GPUs, then the CPU; or one alone
  bool gpu_named = false;          ///< the caller asked for a GPU: without one there is an error
  std::vector<std::string> notes;  ///< devices that "auto" found and could not open, and why
};

/// `spec`: "auto" (every GPU, and the CPU for what they can't take), "cpu", "reference", or names
/// of GPUs with commas, to which the CPU is added. Errors: those of open_backend for devices that
/// were named.
Result<ModelDevices> open_model_devices(std::string_view spec, const DiscoverOptions& options = {});

}  // namespace lm
