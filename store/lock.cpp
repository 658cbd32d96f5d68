#include "store/lock.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>

#include "store/file_ops.h"

namespace lm::store {

Result<bool> lock_descriptor(int fd, LockKind kind, bool wait, std::string_view subject) {
  const int operation = (kind == LockKind::shared ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB);
  while (::flock(fd, operation) != 0) {
    if (errno == EINTR) {
      continue;
    }
    if (errno == EWOULDBLOCK) {
      return false;
    }
    return std::unexpected(errno_error(std::string(subject), "flock", errno));
  }
  return true;
}

Result<FileLock> FileLock::acquire(const std::filesystem::path& path, LockKind kind, bool create) {
  Fd fd;
  if (create) {
    LM_TRY(fd, open_or_create(path));
  } else {
    LM_TRY(fd, open_for_reading(path));
  }
  LM_CHECK(lock_descriptor(fd.get(), kind, true, path.native()));
  return FileLock(std::move(fd));
}

}  // namespace lm::store
