/// The CPU as a device: thread pool, kernels chosen by instruction set, weights used where they are
/// mapped.
#pragma once

#include <memory>
#include <optional>

#include "backends/backend.h"
#include "backends/cpu/isa.h"

namespace lm {

struct CpuOptions {
  unsigned n_threads = 0;        ///< 0: physical cores that this process may use (affinity, cgroup)
  std::optional<Isa> isa_limit;  ///< LM_CPU_ISA; never above what the machine has
  /// LM_CPU_MEMORY: bytes of main memory to plan with; never above what is free.
  std::optional<std::uint64_t> memory_limit = std::nullopt;
};

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options = {});

/// What the backend's info() would say, without starting its threads.
DeviceInfo cpu_device_info(const CpuOptions& options = {});

/// Threads that a pool gets by default: physical cores within the affinity mask and the cgroup's
/// CPU quota.
unsigned default_thread_count();

}  // namespace lm
