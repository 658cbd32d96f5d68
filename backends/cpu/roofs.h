/// Measures what this machine's cores and memory can do at best.
#pragma once

#include <cstdint>
#include <filesystem>

#include "backends/cpu/isa.h"
#include "backends/cpu/thread_pool.h"
#include "backends/roofs.h"

namespace lm::cpu {

/// Takes about a second on all threads of `pool` and, for its time, memory of a few times the last
/// cache's size. What could not be measured (no memory for it) is 0.
Roofs measure_roofs(Isa isa, ThreadPool& pool);

/// Bytes of all last-level caches of the machine as <sysfs>/devices/system/cpu names them, or 0.
std::uint64_t last_cache_bytes(const std::filesystem::path& sysfs = "/sys");

}  // namespace lm::cpu
