// Part of the preloaded library: the calls that change a disk, or open and read files, one
// replacement each. All of them go to the kernel directly.
#include <cerrno>
#include <cstdarg>
#include <cstdio>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/preload_control.h"
#include "tests/crash/preload_log.h"

namespace lm::crash {
namespace {

int as_int(long value) {
  return static_cast<int>(value);
}

/// The verdict on a call on a path; goes through at once when the path is not watched.
Verdict judge(std::uint32_t kinds, const char* name, const char* path) {
  return is_watched(path) ? next_call(kinds, name, path) : Verdict{};
}

/// A call that changes what is at `path` and has no half-way: judged, made, recorded.
template <class Call, class Record>
int change(const char* name, const char* path, Call call, Record record) {
  if (!is_watched(path)) {
    return as_int(call());
  }
  const LogTurn turn;
  const Verdict verdict = next_call(kChanges, name, path);
  if (verdict.last) {
    end_process();
  }
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  const long result = call();
  if (result >= 0) {
    record();
  }
  return as_int(result);
}

int open_file(int folder_fd, const char* name, int flags, mode_t mode) {
  const auto call = [&] { return ::syscall(SYS_openat, folder_fd, name, flags, mode); };
  char path[kPathBytes];
  if (!path_of(folder_fd, name, path) || !is_watched(path)) {
    return as_int(call());
  }
  const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  const LogTurn turn;
  const Verdict verdict = next_call(kOpens | (changes ? kChanges : 0u), "open", path);
  if (verdict.last) {
    end_process();
  }
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  const bool is_new = changes && is_logging() && inode_of(path) == 0;
  const int fd = as_int(call());
  if (fd >= 0 && is_new) {
    log_event(EventKind::create, inode_of(fd), 0, path);
  } else if (fd >= 0 && (flags & O_TRUNC) != 0) {
    log_event(EventKind::truncate, inode_of(fd));
  }
  return fd;
}

template <class Call>
ssize_t write_file(const char* name, int fd, const void* bytes, std::size_t size, Call call) {
  char path[kPathBytes];
  if (!path_of(fd, path) || !is_watched(path)) {
    return call(size);
  }
  const LogTurn turn;
  const Verdict verdict = next_call(kChanges, name, path);
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  const ssize_t written = call(verdict.half ? (size + 1) / 2 : size);
  if (verdict.last) {
    end_process();
  }
  if (written > 0 && is_logging()) {
    const int error = errno;
    const long position = ::syscall(SYS_lseek, fd, 0, SEEK_CUR);
    errno = error;
    log_event(EventKind::write, inode_of(fd), static_cast<std::uint64_t>(position - written),
              nullptr, nullptr, bytes, static_cast<std::size_t>(written));
  }
  return written;
}

ssize_t write_at(int fd, const void* bytes, std::size_t size, off_t offset) {
  const auto call = [&](std::size_t n) { return ::syscall(SYS_pwrite64, fd, bytes, n, offset); };
  char path[kPathBytes];
  if (!path_of(fd, path) || !is_watched(path)) {
    return call(size);
  }
  const LogTurn turn;
  const Verdict verdict = next_call(kChanges, "pwrite", path);
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  const ssize_t written = call(verdict.half ? (size + 1) / 2 : size);
  if (verdict.last) {
    end_process();
  }
  if (written > 0) {
    log_event(EventKind::write, inode_of(fd), static_cast<std::uint64_t>(offset), nullptr, nullptr,
              bytes, static_cast<std::size_t>(written));
  }
  return written;
}

template <class Call>
ssize_t read_file(const char* name, int fd, Call call) {
  char path[kPathBytes];
  if (page() == nullptr || (page()->counted & kReads) == 0 || !path_of(fd, path)) {
    return call();
  }
  const Verdict verdict = judge(kReads, name, path);
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  return call();
}

template <class Call, class Record>
int change_open_file(const char* name, int fd, Call call, Record record) {
  char path[kPathBytes];
  return path_of(fd, path) ? change(name, path, call, record) : as_int(call());
}

int sync_it(const char* name, int fd, long number) {
  return change_open_file(
      name, fd, [&] { return ::syscall(number, fd); },
      [&] { log_event(EventKind::sync, inode_of(fd)); });
}

int truncate_it(int fd, off_t size) {
  return change_open_file(
      "ftruncate", fd, [&] { return ::syscall(SYS_ftruncate, fd, size); },
      [&] { log_event(EventKind::truncate, inode_of(fd), static_cast<std::uint64_t>(size)); });
}

int allocate(int fd, int mode, off_t offset, off_t size) {
  return change_open_file(
      "fallocate", fd, [&] { return ::syscall(SYS_fallocate, fd, mode, offset, size); },
      [&] {
        log_event(EventKind::allocate, inode_of(fd), static_cast<std::uint64_t>(offset + size));
      });
}

int rename_it(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) {
  const auto call = [&] { return ::syscall(SYS_renameat2, from_fd, from, to_fd, to, flags); };
  char old_path[kPathBytes];
  char new_path[kPathBytes];
  if (!path_of(from_fd, from, old_path) || !path_of(to_fd, to, new_path)) {
    return as_int(call());
  }
  return change("rename", new_path, call,
                [&] { log_event(EventKind::rename, 0, 0, old_path, new_path); });
}

int link_it(int from_fd, const char* from, int to_fd, const char* to, int flags) {
  const auto call = [&] { return ::syscall(SYS_linkat, from_fd, from, to_fd, to, flags); };
  char new_path[kPathBytes];
  if (!path_of(to_fd, to, new_path)) {
    return as_int(call());
  }
  return change("link", new_path, call,
                [&] { log_event(EventKind::link, inode_of(new_path), 0, nullptr, new_path); });
}

int unlink_it(int folder_fd, const char* name, int flags) {
  const auto call = [&] { return ::syscall(SYS_unlinkat, folder_fd, name, flags); };
  char path[kPathBytes];
  if (!path_of(folder_fd, name, path)) {
    return as_int(call());
  }
  const bool is_folder = (flags & AT_REMOVEDIR) != 0;
  return change(is_folder ? "rmdir" : "unlink", path, call, [&] {
    log_event(is_folder ? EventKind::remove_folder : EventKind::unlink, 0, 0, path);
  });
}

int make_folder(int folder_fd, const char* name, mode_t mode) {
  const auto call = [&] { return ::syscall(SYS_mkdirat, folder_fd, name, mode); };
  char path[kPathBytes];
  if (!path_of(folder_fd, name, path)) {
    return as_int(call());
  }
  return change("mkdir", path, call,
                [&] { log_event(EventKind::make_folder, inode_of(path), 0, path); });
}

int change_mode(int folder_fd, const char* name, mode_t mode) {
  const auto call = [&] { return ::syscall(SYS_fchmodat, folder_fd, name, mode); };
  char path[kPathBytes];
  if (!path_of(folder_fd, name, path)) {
    return as_int(call());
  }
  return change("chmod", path, call, [&] { log_event(EventKind::mode, inode_of(path), mode); });
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

/// A clone is recorded as a write of what the file holds afterwards.
void log_clone(int fd) {
  char bytes[65536];
  std::uint64_t offset = 0;
  for (;;) {
    const long n = ::syscall(SYS_pread64, fd, bytes, sizeof bytes, offset);
    if (n <= 0) {
      return;
    }
    log_event(EventKind::write, inode_of(fd), offset, nullptr, nullptr, bytes,
              static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

}  // namespace
}  // namespace lm::crash

using namespace lm::crash;  // NOLINT(google-build-using-namespace)

extern "C" {

#define LM_OPEN(function)                          \
  int function(const char* name, int flags, ...) { \
    va_list arguments;                             \
    va_start(arguments, flags);                    \
    const mode_t mode = mode_of(flags, arguments); \
    va_end(arguments);                             \
    return open_file(AT_FDCWD, name, flags, mode); \
  }
#define LM_OPENAT(function)                                       \
  int function(int folder_fd, const char* name, int flags, ...) { \
    va_list arguments;                                            \
    va_start(arguments, flags);                                   \
    const mode_t mode = mode_of(flags, arguments);                \
    va_end(arguments);                                            \
    return open_file(folder_fd, name, flags, mode);               \
  }
LM_OPEN(open)
LM_OPEN(open64)
LM_OPENAT(openat)
LM_OPENAT(openat64)

// What fortified callers use when no mode is needed.
int __open_2(const char* name, int flags) {
  return open_file(AT_FDCWD, name, flags, 0);
}
int __open64_2(const char* name, int flags) {
  return open_file(AT_FDCWD, name, flags, 0);
}
int __openat_2(int folder_fd, const char* name, int flags) {
  return open_file(folder_fd, name, flags, 0);
}
int __openat64_2(int folder_fd, const char* name, int flags) {
  return open_file(folder_fd, name, flags, 0);
}
int creat(const char* name, mode_t mode) {
  return open_file(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char* name, mode_t mode) {
  return open_file(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ssize_t write(int fd, const void* bytes, std::size_t size) {
  return write_file("write", fd, bytes, size,
                    [&](std::size_t n) { return ::syscall(SYS_write, fd, bytes, n); });
}
ssize_t pwrite(int fd, const void* bytes, std::size_t size, off_t offset) {
  return write_at(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, std::size_t size, off_t offset) {
  return write_at(fd, bytes, size, offset);
}

ssize_t read(int fd, void* bytes, std::size_t size) {
  return read_file("read", fd, [&] { return ::syscall(SYS_read, fd, bytes, size); });
}
ssize_t pread(int fd, void* bytes, std::size_t size, off_t offset) {
  return read_file("pread", fd, [&] { return ::syscall(SYS_pread64, fd, bytes, size, offset); });
}
ssize_t pread64(int fd, void* bytes, std::size_t size, off_t offset) {
  return pread(fd, bytes, size, offset);
}
ssize_t __read_chk(int fd, void* bytes, std::size_t size, std::size_t) {
  return read(fd, bytes, size);
}
ssize_t __pread_chk(int fd, void* bytes, std::size_t size, off_t offset, std::size_t) {
  return pread(fd, bytes, size, offset);
}
ssize_t __pread64_chk(int fd, void* bytes, std::size_t size, off_t offset, std::size_t) {
  return pread(fd, bytes, size, offset);
}

int fsync(int fd) {
  return sync_it("fsync", fd, SYS_fsync);
}
int fdatasync(int fd) {
  return sync_it("fdatasync", fd, SYS_fdatasync);
}
int ftruncate(int fd, off_t size) noexcept {
  return truncate_it(fd, size);
}
int ftruncate64(int fd, off_t size) noexcept {
  return truncate_it(fd, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) {
  return allocate(fd, mode, offset, size);
}
int fallocate64(int fd, int mode, off_t offset, off_t size) {
  return allocate(fd, mode, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  const int before = errno;
  const int error = allocate(fd, 0, offset, size) == 0 ? 0 : errno;
  errno = before;
  return error;
}
int posix_fallocate64(int fd, off_t offset, off_t size) {
  return posix_fallocate(fd, offset, size);
}

int rename(const char* from, const char* to) noexcept {
  return rename_it(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_fd, const char* from, int to_fd, const char* to) noexcept {
  return rename_it(from_fd, from, to_fd, to, 0);
}
int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
  return rename_it(from_fd, from, to_fd, to, flags);
}
int link(const char* from, const char* to) noexcept {
  return link_it(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) noexcept {
  return link_it(from_fd, from, to_fd, to, flags);
}
int unlink(const char* name) noexcept {
  return unlink_it(AT_FDCWD, name, 0);
}
int unlinkat(int folder_fd, const char* name, int flags) noexcept {
  return unlink_it(folder_fd, name, flags);
}
int rmdir(const char* name) noexcept {
  return unlink_it(AT_FDCWD, name, AT_REMOVEDIR);
}
int remove(const char* name) noexcept {
  struct stat st{};
  const bool is_folder = ::lstat(name, &st) == 0 && S_ISDIR(st.st_mode);
  return unlink_it(AT_FDCWD, name, is_folder ? AT_REMOVEDIR : 0);
}
int mkdir(const char* name, mode_t mode) noexcept {
  return make_folder(AT_FDCWD, name, mode);
}
int mkdirat(int folder_fd, const char* name, mode_t mode) noexcept {
  return make_folder(folder_fd, name, mode);
}
int chmod(const char* name, mode_t mode) noexcept {
  return change_mode(AT_FDCWD, name, mode);
}
int fchmod(int fd, mode_t mode) noexcept {
  return change_open_file(
      "fchmod", fd, [&] { return ::syscall(SYS_fchmod, fd, mode); },
      [&] { log_event(EventKind::mode, inode_of(fd), mode); });
}

int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  const unsigned long argument = va_arg(arguments, unsigned long);
  va_end(arguments);
  const auto call = [&] { return ::syscall(SYS_ioctl, fd, request, argument); };
  if (request != FICLONE) {
    return as_int(call());
  }
  return change_open_file("FICLONE", fd, call, [&] { log_clone(fd); });
}

}  // extern "C"
