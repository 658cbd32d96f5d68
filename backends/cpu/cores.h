/// How many cores a process may use.
#pragma once

#include <filesystem>
#include <span>

namespace lm {

/// Physical cores among `cpus` (logical CPU numbers): siblings by
/// <sysfs>/devices/system/cpu/cpuN/topology count once. A CPU without topology files counts as a
/// core of its own.
unsigned physical_cores(std::span<const unsigned> cpus,
                        const std::filesystem::path& sysfs = "/sys");

}  // namespace lm
