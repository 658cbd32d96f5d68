/// A Vulkan device as a backend.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/vulkan/device.h"

namespace lm::vulkan {

/// Opens device `index` of Instance. `adjust` may replace entry points of the device before they
/// are used: tests see errors that way. Errors: those of the driver.
Result<std::unique_ptr<Backend>> make_backend(std::size_t index, const Options& options,
                                              void (*adjust)(DeviceApi&) = nullptr);

}  // namespace lm::vulkan
