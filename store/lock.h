/// flock(2): locks between processes that the kernel drops when their owner dies.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "store/error.h"
#include "store/fd.h"

namespace lm::store {

enum class LockKind { shared, exclusive };

/// Locks an open file. `wait` false: returns false when somebody else holds it. The lock belongs to
/// the open file description and ends when the last descriptor of it is closed.
Result<bool> lock_descriptor(int fd, LockKind kind, bool wait, std::string_view subject);

/// A lock on a path, held while the object lives. Every object has an open file description of its
/// own, so two threads of one process exclude each other too.
class FileLock {
 public:
  FileLock() = default;  ///< holds nothing

  /// Opens `path` (created when `create`) and waits for the lock.
  static Result<FileLock> acquire(const std::filesystem::path& path, LockKind kind, bool create);

  explicit operator bool() const { return static_cast<bool>(fd_); }

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace lm::store
