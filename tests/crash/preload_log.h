/// Part of the preloaded library: writes the event log.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/crash/event_log.h"

namespace lm::crash {

bool is_logging();

/// Held around a call and its record, so that the order of records is the order of calls. Does
/// nothing without a log.
class LogTurn {
 public:
  LogTurn();
  ~LogTurn();
  LogTurn(const LogTurn&) = delete;
  LogTurn& operator=(const LogTurn&) = delete;
};

/// Inode of an open file, and of what a path names (no symbolic link followed); 0 when there is
/// none.
std::uint64_t inode_of(int fd);
std::uint64_t inode_of(const char* path);

/// Appends a record. `path` and `path2` are absolute or nullptr: folder and name are taken from
/// them.
void log_event(EventKind kind, std::uint64_t inode, std::uint64_t offset = 0,
               const char* path = nullptr, const char* path2 = nullptr, const void* data = nullptr,
               std::size_t data_size = 0);

}  // namespace lm::crash
