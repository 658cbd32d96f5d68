/// The log of what a process did to the disk: one record per call that succeeded, in order. Written
/// by the preloaded library, read by disk_model.cpp. Same machine, same build: plain structs.
#pragma once

#include <cstdint>

namespace lm::crash {

enum class EventKind : std::uint32_t {
  create,         ///< inode: the new file; folder, name
  write,          ///< inode, offset, data
  truncate,       ///< inode, offset: the new size
  allocate,       ///< inode, offset: the least size from now on
  sync,           ///< inode: of a file or a folder
  rename,         ///< folder, name -> folder2, name2
  link,           ///< inode; folder2, name2
  unlink,         ///< folder, name
  make_folder,    ///< inode; folder, name
  remove_folder,  ///< folder, name
  mode,           ///< inode, offset: the mode
};

/// Followed by `name_size`, `name2_size` and `data_size` bytes.
struct EventHeader {
  EventKind kind = EventKind::create;
  std::uint32_t name_size = 0;
  std::uint32_t name2_size = 0;
  std::uint32_t unused = 0;
  std::uint64_t data_size = 0;
  std::uint64_t inode = 0;
  std::uint64_t folder = 0;   ///< inode of a folder
  std::uint64_t folder2 = 0;  ///< inode of a folder
  std::uint64_t offset = 0;
};

}  // namespace lm::crash
