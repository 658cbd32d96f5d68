#include "store/file_ops.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace lm::store {
namespace {

std::atomic<FileOpHook> g_hook{nullptr};

// Runs one system call: asks the hook, retries when a signal interrupted it. Returns the call's
// value; -1 with errno.
template <class Call>
auto run(FileOp op, const std::string& subject, Call call) -> decltype(call(false)) {
  for (;;) {
    int injected = 0;
    if (const FileOpHook hook = g_hook.load(std::memory_order_relaxed)) {
      injected = hook(op, subject.c_str());
    }
    if (injected > 0) {
      errno = injected;
    } else {
      const auto value = call(injected == kShortWrite);
      if (value >= 0) {
        return value;
      }
    }
    if (errno != EINTR) {
      return -1;
    }
  }
}

std::unexpected<Error> failure(std::string subject, std::string_view call) {
  return std::unexpected(errno_error(std::move(subject), call, errno));
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

FileState to_state(const struct stat& st) {
  return {.device = st.st_dev,
          .inode = st.st_ino,
          .size_bytes = static_cast<std::uint64_t>(st.st_size),
          .allocated_bytes = static_cast<std::uint64_t>(st.st_blocks) * 512,
          .n_links = st.st_nlink,
          .mtime_ns = nanoseconds(st.st_mtim),
          .ctime_ns = nanoseconds(st.st_ctim),
          .regular = S_ISREG(st.st_mode)};
}

// O_NONBLOCK: opening a FIFO or a device must not wait.
constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_CLOEXEC;

Result<Fd> regular_file(int raw_fd, const std::string& subject) {
  if (raw_fd < 0) {
    return failure(subject, "open");
  }
  Fd fd(raw_fd);
  LM_TRY(const FileState state, file_state(raw_fd, subject));
  if (!state.regular) {
    return std::unexpected(Error{.code = ErrorCode::invalid_argument,
                                 .subject = subject,
                                 .problem = "not a regular file",
                                 .hint = "name a file, not a folder, device or pipe"});
  }
  return fd;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Fd old(std::exchange(fd_, std::exchange(other.fd_, -1)));
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

void set_file_op_hook(FileOpHook hook) {
  g_hook.store(hook);
}

Result<Folder> open_folder(const std::filesystem::path& path, bool create) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  int fd = ::open(path.c_str(), kFlags);
  if (fd < 0 && errno == ENOENT && create) {
    const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
    LM_TRY(const Folder above, open_folder(parent, parent != path));
    const int made =
        run(FileOp::make_folder, path.native(), [&](bool) { return ::mkdir(path.c_str(), 0755); });
    if (made < 0 && errno != EEXIST) {
      return failure(path.native(), "mkdir");
    }
    // What is made durable in a folder is lost with the folder's name.
    LM_CHECK(sync_folder(above));
    fd = ::open(path.c_str(), kFlags);
  }
  if (fd < 0) {
    return failure(path.native(), "open");
  }
  return Folder{.fd = Fd(fd), .path = path};
}

Result<std::vector<std::string>> folder_names(const Folder& folder) {
  // A descriptor of its own: the position of `folder.fd` is shared between threads.
  Fd fd(::openat(folder.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    return failure(folder.path.native(), "open");
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd.get()), ::closedir);
  if (!dir) {
    return failure(folder.path.native(), "fdopendir");
  }
  fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) {
        return failure(folder.path.native(), "readdir");
      }
      return names;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
  }
}

Result<FileState> file_state(int fd, std::string_view subject) {
  struct stat st{};
  if (::fstat(fd, &st) != 0) {
    return failure(std::string(subject), "fstat");
  }
  return to_state(st);
}

Result<FileState> file_state(const Folder& folder, const std::string& name) {
  struct stat st{};
  if (::fstatat(folder.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return failure(folder.at(name).native(), "fstatat");
  }
  return to_state(st);
}

Result<Fd> open_for_reading(const Folder& folder, const std::string& name) {
  return regular_file(::openat(folder.fd.get(), name.c_str(), kReadFlags | O_NOFOLLOW),
                      folder.at(name).native());
}

Result<Fd> open_for_reading(const std::filesystem::path& path) {
  return regular_file(::open(path.c_str(), kReadFlags), path.native());
}

Result<std::string> read_text(int fd, std::uint64_t limit_bytes, std::string_view subject) {
  LM_TRY(const FileState state, file_state(fd, subject));
  if (state.size_bytes > limit_bytes) {
    return std::unexpected(Error{
        .code = ErrorCode::limit_exceeded,
        .subject = std::string(subject),
        .problem = fmt::format("file has {} bytes (limit {})", state.size_bytes, limit_bytes)});
  }
  std::string text(static_cast<std::size_t>(state.size_bytes), '\0');
  LM_CHECK(read_exact(fd, std::as_writable_bytes(std::span(text)), 0, subject));
  return text;
}

Result<void> read_exact(int fd, std::span<std::byte> out, std::uint64_t offset,
                        std::string_view subject) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return failure(std::string(subject), "pread");
    }
    if (got == 0) {
      return std::unexpected(
          Error{.code = ErrorCode::size_mismatch,
                .subject = std::string(subject),
                .problem = fmt::format("file ends at byte {} (expected at least {})", offset + done,
                                       offset + out.size())});
    }
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Result<Fd> create_new(const Folder& folder, const std::string& name, mode_t mode) {
  const std::string subject = folder.at(name).native();
  const int fd = run(FileOp::create, subject, [&](bool) {
    return ::openat(folder.fd.get(), name.c_str(),
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  });
  if (fd < 0) {
    Error error = errno_error(subject, "open", errno);
    if (error.os_error == EEXIST) {
      error.code = ErrorCode::already_exists;
    }
    return std::unexpected(std::move(error));
  }
  return Fd(fd);
}

Result<Fd> open_or_create(const std::filesystem::path& path, mode_t mode) {
  // First without O_CREAT: only what changes the disk is a state-changing call.
  int fd = ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    fd = run(FileOp::create, path.native(), [&](bool) {
      return ::open(path.c_str(), O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, mode);
    });
  }
  return regular_file(fd, path.native());
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, std::string_view subject) {
  const std::string name(subject);
  while (!bytes.empty()) {
    const ssize_t wrote = run(FileOp::write, name, [&](bool half) {
      return ::write(fd, bytes.data(), half ? (bytes.size() + 1) / 2 : bytes.size());
    });
    if (wrote < 0) {
      return failure(name, "write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return {};
}

Result<void> write_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset,
                      std::string_view subject) {
  const std::string name(subject);
  while (!bytes.empty()) {
    const ssize_t wrote = run(FileOp::write, name, [&](bool half) {
      return ::pwrite(fd, bytes.data(), half ? (bytes.size() + 1) / 2 : bytes.size(),
                      static_cast<off_t>(offset));
    });
    if (wrote < 0) {
      return failure(name, "pwrite");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
  return {};
}

Result<void> set_length(int fd, std::uint64_t size_bytes, bool reserve, std::string_view subject) {
  const std::string name(subject);
  if (size_bytes > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
    return std::unexpected(errno_error(name, "ftruncate", EFBIG));
  }
  const auto length = static_cast<off_t>(size_bytes);
  if (reserve && length > 0) {
    // posix_fallocate gives the error as its value. File systems without the call are left to
    // ftruncate: writing zeros in its stead, as the C library would, costs a pass over the disk.
    const int done =
        run(FileOp::allocate, name, [&](bool) { return ::fallocate(fd, 0, 0, length); });
    if (done < 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
      return failure(name, "fallocate");
    }
  }
  if (run(FileOp::truncate, name, [&](bool) { return ::ftruncate(fd, length); }) < 0) {
    return failure(name, "ftruncate");
  }
  return {};
}

Result<void> set_mode(int fd, mode_t mode, std::string_view subject) {
  const std::string name(subject);
  if (run(FileOp::change_mode, name, [&](bool) { return ::fchmod(fd, mode); }) < 0) {
    return failure(name, "fchmod");
  }
  return {};
}

Result<void> sync_file(int fd, std::string_view subject) {
  const std::string name(subject);
  if (run(FileOp::sync, name, [&](bool) { return ::fsync(fd); }) < 0) {
    return failure(name, "fsync");
  }
  return {};
}

Result<void> sync_data(int fd, std::string_view subject) {
  const std::string name(subject);
  if (run(FileOp::sync, name, [&](bool) { return ::fdatasync(fd); }) < 0) {
    return failure(name, "fdatasync");
  }
  return {};
}

Result<void> sync_folder(const Folder& folder) {
  return sync_file(folder.fd.get(), folder.path.native());
}

Result<void> sync_way_to(const std::filesystem::path& folder) {
  std::error_code failed;
  const std::filesystem::path whole = std::filesystem::absolute(folder, failed);
  if (failed) {
    return std::unexpected(errno_error(folder.native(), "getcwd", failed.value()));
  }
  for (std::filesystem::path above = whole.parent_path();; above = above.parent_path()) {
    if (const auto opened = open_folder(above, false)) {
      const auto synced = sync_folder(*opened);
      // Nothing can have been made where nothing can be written.
      if (!synced && synced.error().os_error != EROFS && synced.error().os_error != EINVAL) {
        return synced;
      }
    }
    if (above == above.parent_path()) {
      return {};
    }
  }
}

Result<void> rename_over(const Folder& from, const std::string& name, const Folder& to,
                         const std::string& new_name) {
  const std::string subject = to.at(new_name).native();
  const int done = run(FileOp::rename, subject, [&](bool) {
    return ::renameat(from.fd.get(), name.c_str(), to.fd.get(), new_name.c_str());
  });
  if (done < 0) {
    return failure(subject, "rename");
  }
  return {};
}

Result<bool> rename_new(const Folder& from, const std::string& name, const Folder& to,
                        const std::string& new_name) {
  const std::string subject = to.at(new_name).native();
  int done = run(FileOp::rename, subject, [&](bool) {
    return ::renameat2(from.fd.get(), name.c_str(), to.fd.get(), new_name.c_str(),
                       RENAME_NOREPLACE);
  });
  if (done < 0 && (errno == EINVAL || errno == ENOSYS)) {
    // The file system can't promise it; a second name and then one less is the same to everyone who
    // looks.
    done = run(FileOp::link, subject, [&](bool) {
      return ::linkat(from.fd.get(), name.c_str(), to.fd.get(), new_name.c_str(), 0);
    });
    if (done == 0) {
      LM_CHECK(remove_file(from, name));
    }
  }
  if (done < 0 && errno == EEXIST) {
    return false;
  }
  if (done < 0) {
    return failure(subject, "rename");
  }
  return true;
}

Result<bool> link_new(int fd, const Folder& to, const std::string& new_name) {
  const std::string subject = to.at(new_name).native();
  // Through /proc it is the file that was read, whatever has its name by now.
  const std::string source = fmt::format("/proc/self/fd/{}", fd);
  const int done = run(FileOp::link, subject, [&](bool) {
    return ::linkat(AT_FDCWD, source.c_str(), to.fd.get(), new_name.c_str(), AT_SYMLINK_FOLLOW);
  });
  if (done < 0 && errno == EEXIST) {
    return false;
  }
  if (done < 0) {
    return failure(subject, "link");
  }
  return true;
}

Result<void> clone_bytes(int from, int to, std::string_view subject) {
  const std::string name(subject);
  if (run(FileOp::clone, name, [&](bool) { return ::ioctl(to, FICLONE, from); }) < 0) {
    Error error = errno_error(name, "FICLONE", errno);
    if (error.code == ErrorCode::io && error.os_error != EIO) {
      error.code = ErrorCode::unsupported;
    }
    return std::unexpected(std::move(error));
  }
  return {};
}

Result<bool> remove_file(const Folder& folder, const std::string& name) {
  const std::string subject = folder.at(name).native();
  const int done = run(FileOp::unlink, subject,
                       [&](bool) { return ::unlinkat(folder.fd.get(), name.c_str(), 0); });
  if (done < 0 && errno == ENOENT) {
    return false;
  }
  if (done < 0) {
    return failure(subject, "unlink");
  }
  return true;
}

Result<void> rename_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  const int done =
      run(FileOp::rename, to.native(), [&](bool) { return ::rename(from.c_str(), to.c_str()); });
  if (done < 0) {
    return failure(to.native(), "rename");
  }
  return {};
}

Result<void> remove_folder(const std::filesystem::path& path) {
  const int done = run(FileOp::unlink, path.native(), [&](bool) { return ::rmdir(path.c_str()); });
  if (done < 0 && errno != ENOENT) {
    return failure(path.native(), "rmdir");
  }
  return {};
}

bool is_network_file_system(const Folder& folder) {
  struct statfs info{};
  if (::fstatfs(folder.fd.get(), &info) != 0) {
    return false;
  }
  // NFS, SMB, CIFS, SMB2, AFS, Ceph, 9p: the magic numbers of statfs(2).
  constexpr unsigned kNetwork[] = {0x6969,     0x517b,     0xff534d42, 0xfe534d42,
                                   0x5346414f, 0x00c36400, 0x01021997};
  const auto type = static_cast<unsigned>(info.f_type);
  return std::ranges::find(kNetwork, type) != std::end(kNetwork);
}

}  // namespace lm::store
