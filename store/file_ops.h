/// The only door to the disk: every state-changing system call of store/ (and of the downloads of
/// registry/) is made here, so that tests can fail any one of them or end the process at it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "store/error.h"
#include "store/fd.h"

namespace lm::store {

/// Kinds of state-changing calls.
enum class FileOp {
  create,
  write,
  sync,
  rename,
  link,
  unlink,
  truncate,
  make_folder,
  change_mode,
  clone,
  allocate
};

/// Asked before every state-changing call. Returns 0 to let it happen, an errno to make it fail, or
/// kShortWrite to let a write write only half of its bytes.
using FileOpHook = int (*)(FileOp op, const char* subject);
inline constexpr int kShortWrite = -1;
/// Installs a hook for the whole process (tests only); nullptr removes it.
void set_file_op_hook(FileOpHook hook);

/// An open folder; files are named relative to it, so nothing outside can be reached through it.
/// The folder itself may be a symbolic link, the files in it may not.
struct Folder {
  Fd fd;
  std::filesystem::path path;

  std::filesystem::path at(std::string_view name) const { return path / name; }
  explicit operator bool() const { return static_cast<bool>(fd); }
};

/// Opens a folder; with `create`, makes it and its parents first when it is missing. Errors:
/// not_found, io, read_only.
Result<Folder> open_folder(const std::filesystem::path& path, bool create);
/// Names in the folder except "." and "..", unsorted.
Result<std::vector<std::string>> folder_names(const Folder& folder);

/// What stat says about a file.
struct FileState {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t allocated_bytes = 0;  ///< on the disk; less than the size where there are holes
  std::uint64_t n_links = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  bool regular = false;
};
Result<FileState> file_state(int fd, std::string_view subject);
/// Does not follow a symbolic link. Errors: not_found, io.
Result<FileState> file_state(const Folder& folder, const std::string& name);

/// Opens for reading. Never blocks; anything but a regular file is an error. Errors: not_found,
/// invalid_argument, io.
Result<Fd> open_for_reading(const Folder& folder, const std::string& name);
Result<Fd> open_for_reading(const std::filesystem::path& path);
/// Whole file as text; limit_exceeded above `limit_bytes`.
Result<std::string> read_text(int fd, std::uint64_t limit_bytes, std::string_view subject);
/// Bytes [offset, offset + out.size()); fewer are a size_mismatch.
Result<void> read_exact(int fd, std::span<std::byte> out, std::uint64_t offset,
                        std::string_view subject);

/// Creates a file that must not exist, opened for reading and writing. Errors: already_exists, io,
/// no_space, read_only.
Result<Fd> create_new(const Folder& folder, const std::string& name, mode_t mode = 0644);
/// Opens a file for reading and writing, creating it when missing; never truncates.
Result<Fd> open_or_create(const std::filesystem::path& path, mode_t mode = 0644);

Result<void> write_all(int fd, std::span<const std::byte> bytes, std::string_view subject);
Result<void> write_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset,
                      std::string_view subject);
/// Sets the length; `reserve` first asks the file system for the room (posix_fallocate), so that
/// later writes can't run out of it.
Result<void> set_length(int fd, std::uint64_t size_bytes, bool reserve, std::string_view subject);
Result<void> set_mode(int fd, mode_t mode, std::string_view subject);
Result<void> sync_file(int fd, std::string_view subject);  ///< fsync
Result<void> sync_data(int fd, std::string_view subject);  ///< fdatasync
Result<void> sync_folder(const Folder& folder);
/// Makes the names of a folder and of all folders above it durable; those that may not be opened
/// are not ours to have made.
Result<void> sync_way_to(const std::filesystem::path& folder);

/// Renames over whatever has the new name.
Result<void> rename_over(const Folder& from, const std::string& name, const Folder& to,
                         const std::string& new_name);
/// Renames unless the new name is taken; false: it was, nothing changed.
Result<bool> rename_new(const Folder& from, const std::string& name, const Folder& to,
                        const std::string& new_name);
/// Another name for an open file; false: the name is taken. Errors as of linkat (other file system,
/// not permitted...).
Result<bool> link_new(int fd, const Folder& to, const std::string& new_name);
/// Shares the bytes of `from` with the empty file `to` where the file system can (FICLONE). Error
/// unsupported: it can't.
Result<void> clone_bytes(int from, int to, std::string_view subject);
/// Removes a file; false: there was none.
Result<bool> remove_file(const Folder& folder, const std::string& name);

/// Renames a folder, over an empty one if there is one. Errors as of rename(2).
Result<void> rename_folder(const std::filesystem::path& from, const std::filesystem::path& to);
/// Removes an empty folder; one that is gone is no error.
Result<void> remove_folder(const std::filesystem::path& path);

/// True on file systems where flock and mmap between machines can't be relied upon (NFS, SMB,
/// 9p...).
bool is_network_file_system(const Folder& folder);

}  // namespace lm::store
