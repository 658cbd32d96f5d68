#include "backends/cpu/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sched.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/host_memory.h"

namespace lm {
namespace {

/// CPUs of the affinity mask. The kernel refuses masks shorter than its own, hence the growing
/// size.
std::vector<unsigned> allowed_cpus() {
  for (int size = 1024; size <= 1 << 18; size *= 4) {
    cpu_set_t* mask = CPU_ALLOC(static_cast<std::size_t>(size));
    if (mask == nullptr) {
      break;
    }
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(size));
    CPU_ZERO_S(bytes, mask);
    const bool ok = sched_getaffinity(0, bytes, mask) == 0;
    std::vector<unsigned> cpus;
    for (unsigned cpu = 0; ok && cpu < static_cast<unsigned>(size); ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, mask)) {
        cpus.push_back(cpu);
      }
    }
    CPU_FREE(mask);
    if (ok) {
      return cpus;
    }
  }
  return {};
}

}  // namespace

unsigned physical_cores(std::span<const unsigned> cpus, const std::filesystem::path& sysfs) {
  std::set<std::string> cores;
  for (const unsigned cpu : cpus) {
    const auto topology = sysfs / fmt::format("devices/system/cpu/cpu{}/topology", cpu);
    std::string siblings;
    std::getline(std::ifstream(topology / "thread_siblings_list"), siblings);
    cores.insert(siblings.empty() ? fmt::format("cpu{}", cpu) : siblings);
  }
  return static_cast<unsigned>(cores.size());
}

unsigned default_thread_count() {
  const std::vector<unsigned> cpus = allowed_cpus();
  unsigned cores = physical_cores(cpus);
  if (cores == 0) {
    cores = std::max(1u, std::thread::hardware_concurrency());
  }
  if (const std::optional<double> quota = cgroup_cpu_quota()) {
    cores = std::min(cores, static_cast<unsigned>(std::clamp(std::ceil(*quota), 1.0, 1e6)));
  }
  return cores;
}

}  // namespace lm
