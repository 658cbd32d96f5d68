#include "backends/host_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace lm {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? text.str() : std::string();
}

/// The number at the start of `text`, or none ("max", empty, negative).
std::optional<std::uint64_t> leading_number(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> read_number(const fs::path& path) {
  return leading_number(read_text(path));
}

/// The number after `key` at a line's start, as in meminfo and memory.stat.
std::optional<std::uint64_t> find_number(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key)) {
      return leading_number(std::string_view(line).substr(key.size()));
    }
  }
  return std::nullopt;
}

/// Directories of the group that holds this process and of all groups above it, for one controller:
/// version 2 has one tree ("0::/path"), version 1 one a controller ("4:memory:/path"). Inside a
/// container the path may not exist below the mount point; the mount's root is then the group.
std::vector<fs::path> group_dirs(const fs::path& proc, const fs::path& root,
                                 std::string_view controller) {
  std::vector<fs::path> dirs;
  std::istringstream lines(read_text(proc / "self" / "cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string names = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool v2 = names == ",,";
    if (!v2 && !names.contains(fmt::format(",{},", controller))) {
      continue;
    }
    const fs::path mount = v2 ? root : root / controller;
    fs::path below = fs::path(line.substr(second + 1)).relative_path();
    for (;; below = below.parent_path()) {
      dirs.push_back(below.empty() ? mount : mount / below);
      if (below.empty()) {
        break;
      }
    }
  }
  return dirs;
}

struct Room {
  std::uint64_t limit;
  std::uint64_t free;
};

/// Limit and room of one group. File pages that can be dropped count as free, as MemAvailable
/// counts them.
std::optional<Room> group_room(const fs::path& dir) {
  std::optional<std::uint64_t> limit = read_number(dir / "memory.max");
  std::optional<std::uint64_t> used = read_number(dir / "memory.current");
  const char* droppable = "inactive_file";
  if (!limit) {
    limit = read_number(dir / "memory.limit_in_bytes");
    used = read_number(dir / "memory.usage_in_bytes");
    droppable = "total_inactive_file";
  }
  if (!limit || !used) {
    return std::nullopt;
  }
  const std::uint64_t cache = find_number(read_text(dir / "memory.stat"), droppable).value_or(0);
  const std::uint64_t hard = *used - std::min(*used, cache);
  return Room{*limit, *limit - std::min(*limit, hard)};
}

}  // namespace

HostMemory host_memory(const fs::path& proc, const fs::path& cgroup) {
  const std::string meminfo = read_text(proc / "meminfo");
  HostMemory memory;
  memory.total_bytes = find_number(meminfo, "MemTotal:").value_or(0) * 1024;
  memory.free_bytes = find_number(meminfo, "MemAvailable:").value_or(0) * 1024;
  memory.source = "MemAvailable";
  for (const fs::path& dir : group_dirs(proc, cgroup, "memory")) {
    const std::optional<Room> room = group_room(dir);
    if (!room) {
      continue;
    }
    memory.total_bytes = std::min(memory.total_bytes, room->limit);
    if (room->free < memory.free_bytes) {
      memory.free_bytes = room->free;
      memory.source = "MemAvailable, cgroup limit";
    }
  }
  return memory;
}

std::optional<double> cgroup_cpu_quota(const fs::path& proc, const fs::path& cgroup) {
  std::optional<double> least;
  const auto consider = [&](std::optional<std::uint64_t> quota,
                            std::optional<std::uint64_t> period) {
    if (quota && period && *quota > 0 && *period > 0) {
      const double cpus = static_cast<double>(*quota) / static_cast<double>(*period);
      least = std::min(least.value_or(cpus), cpus);
    }
  };
  for (const fs::path& dir : group_dirs(proc, cgroup, "cpu")) {
    const std::string max = read_text(dir / "cpu.max");  // "200000 100000" or "max 100000"
    const auto space = max.find(' ');
    if (space != std::string::npos) {
      consider(leading_number(max), leading_number(std::string_view(max).substr(space)));
    }
    consider(read_number(dir / "cpu.cfs_quota_us"), read_number(dir / "cpu.cfs_period_us"));
  }
  return least;
}

}  // namespace lm
