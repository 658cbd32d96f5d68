/// blobs/sha256-<hex>.ref: a blob that stays where its owner keeps it. Private to store/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "store/file_ops.h"

namespace lm::store {

/// Where a foreign file is and how it looked when its bytes were hashed. One that looks different
/// is refused until `lm verify` has read it again.
struct Reference {
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;

  /// One line of JSON and its checksum. Error invalid_argument: a path that is no UTF-8, or a time
  /// before 1970.
  Result<std::string> to_text() const;
  /// Opens the foreign file, changed or not. Errors: not_found, invalid_argument, io.
  Result<Fd> open() const;
  bool looks_as_noted(const FileState& state) const {
    return state.size_bytes == size_bytes && state.mtime_ns == mtime_ns;
  }
};

/// Reads `name` in blobs/. Errors: not_found, corrupt, io.
Result<Reference> read_reference(const Folder& blobs, const std::string& name);

}  // namespace lm::store
