/// How much memory this machine has for us: what the kernel says, capped by the control groups we
/// run in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace lm {

struct HostMemory {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;  ///< what can be used without swapping
  std::string source;  ///< "MemAvailable", or "MemAvailable, cgroup limit" when a group is the
                       ///< tighter bound
};

/// Reads <proc>/meminfo, <proc>/self/cgroup and the limits below `cgroup`. Unreadable files count
/// as "no limit"; without meminfo all figures are 0. The paths are arguments so that tests can lay
/// out their own.
HostMemory host_memory(const std::filesystem::path& proc = "/proc",
                       const std::filesystem::path& cgroup = "/sys/fs/cgroup");

/// CPUs' worth of time that the control groups grant (cpu.max, cpu.cfs_quota_us), or none without a
/// quota.
std::optional<double> cgroup_cpu_quota(const std::filesystem::path& proc = "/proc",
                                       const std::filesystem::path& cgroup = "/sys/fs/cgroup");

}  // namespace lm
