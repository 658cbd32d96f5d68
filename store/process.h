/// Which process wrote something, and whether it still lives.
#pragma once

#include <cstdint>
#include <string>

namespace lm::store {

/// Names a process for good: a pid alone is reused, with its start time and the boot it isn't.
struct ProcessMark {
  std::int64_t pid = 0;
  std::string boot;              ///< boot id and pid namespace of the kernel it ran on
  std::int64_t start_ticks = 0;  ///< since boot, field 22 of /proc/<pid>/stat
  friend bool operator==(const ProcessMark&, const ProcessMark&) = default;
};

/// The calling process.
ProcessMark this_process();

/// False only when the process is surely gone: another boot, no such pid, or a pid that started at
/// another time. A process of another pid namespace of this boot can't be seen from here and counts
/// as alive.
bool may_be_alive(const ProcessMark& mark);

}  // namespace lm::store
