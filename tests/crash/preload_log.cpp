#include "tests/crash/preload_log.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/preload_control.h"

namespace lm::crash {
namespace {

pthread_mutex_t g_turn = PTHREAD_MUTEX_INITIALIZER;

int log_fd() {
  static const int fd = static_cast<int>(::syscall(
      SYS_openat, AT_FDCWD, page()->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  return fd;
}

/// Folder of a path as an inode, and where its last name begins.
const char* split(const char* path, std::uint64_t& folder) {
  folder = 0;
  if (path == nullptr) {
    return "";
  }
  const char* slash = std::strrchr(path, '/');
  if (slash == nullptr) {
    return path;
  }
  char parent[kPathBytes];
  const auto n = static_cast<std::size_t>(slash - path);
  std::memcpy(parent, path, n);
  parent[n] = '\0';
  folder = inode_of(n == 0 ? "/" : parent);
  return slash + 1;
}

}  // namespace

bool is_logging() {
  return page() != nullptr && page()->log_path[0] != '\0';
}

LogTurn::LogTurn() {
  if (is_logging()) {
    pthread_mutex_lock(&g_turn);
  }
}

LogTurn::~LogTurn() {
  if (is_logging()) {
    pthread_mutex_unlock(&g_turn);
  }
}

std::uint64_t inode_of(int fd) {
  struct stat st{};
  return ::fstat(fd, &st) == 0 ? st.st_ino : 0;
}

std::uint64_t inode_of(const char* path) {
  struct stat st{};
  return ::lstat(path, &st) == 0 ? st.st_ino : 0;
}

void log_event(EventKind kind, std::uint64_t inode, std::uint64_t offset, const char* path,
               const char* path2, const void* data, std::size_t data_size) {
  if (!is_logging()) {
    return;
  }
  const int error = errno;
  EventHeader header{.kind = kind, .data_size = data_size, .inode = inode, .offset = offset};
  const char* const name = split(path, header.folder);
  const char* const name2 = split(path2, header.folder2);
  header.name_size = static_cast<std::uint32_t>(std::strlen(name));
  header.name2_size = static_cast<std::uint32_t>(std::strlen(name2));
  iovec parts[4] = {{&header, sizeof header},
                    {const_cast<char*>(name), header.name_size},
                    {const_cast<char*>(name2), header.name2_size},
                    {const_cast<void*>(data), data_size}};
  if (::syscall(SYS_writev, log_fd(), parts, 4) < 0) {
    end_process();  // a log with a hole proves nothing
  }
  errno = error;
}

}  // namespace lm::crash
