/// A segment as recorded commands.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/vulkan/emit.h"
#include "backends/vulkan/step_buffer.h"

namespace lm::vulkan {

/// Compiles the pipelines that are missing, uploads all parameters and records the commands, with
/// barriers only where an op needs what another one wrote. Everything passed in outlives it.
Result<std::unique_ptr<Executable>> make_executable(const CompileRequest& request, Device& device,
                                                    Pipelines& pipelines, StepBuffer& step);

}  // namespace lm::vulkan
