/// Looking into folders of other programs without being led out of them. Private to registry/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "registry/local_models.h"
#include "registry/repo_file.h"

namespace lm::registry {

/// A folder that was found, links resolved; everything below is named relative to it.
struct LocalRoot {
  std::filesystem::path path;

  /// Errors: not_found, invalid_argument (no folder).
  static Result<LocalRoot> open(const std::filesystem::path& path);
  /// Where `path` really is. Errors: not_found, invalid_argument (not a regular file, or outside
  /// the root).
  Result<std::filesystem::path> file(const std::filesystem::path& path) const;
  /// A small text below the root. Errors: as of `file`, limit_exceeded, io.
  Result<std::string> text(const std::filesystem::path& path, std::uint64_t limit_bytes) const;
};

/// A file below a folder. Its path in `file` is relative to that folder.
struct WalkedFile {
  std::filesystem::path real;
  RepoFile file;
};

/// All files below `folder`, at most `depth` folders deep; linked folders are not entered, files
/// that lead out of `root` or are no files go to `refused` if their names end in `wanted`. Hidden
/// files are left out. Error limit_exceeded above 100,000 entries.
Result<std::vector<WalkedFile>> walk_files(const LocalRoot& root,
                                           const std::filesystem::path& folder, int depth,
                                           std::vector<LocalRefusal>& refused,
                                           std::string_view wanted = ".gguf");

/// Names of the folders directly in `folder`, sorted; links are left out.
Result<std::vector<std::string>> subfolders(const std::filesystem::path& folder);

}  // namespace lm::registry
