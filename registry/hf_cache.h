/// The cache that the hub's own tools keep on this machine, read only: hub-protocol.md 5. Nothing
/// in it is believed: what is taken from there is hashed on the way into the store.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "registry/error.h"
#include "registry/repo_file.h"
#include "store/digest.h"

namespace lm::registry {

/// A repository as the cache has it: one snapshot.
struct CachedSnapshot {
  std::filesystem::path folder;  ///< below snapshots/
  std::string repo;              ///< as its folder spells it
  std::string commit;            ///< 40 hex digits
  std::vector<RepoFile> files;
};

class HfCache {
 public:
  /// `root` is $HF_HUB_CACHE; it need not exist.
  explicit HfCache(std::filesystem::path root) : root_(std::move(root)) {}

  /// A file of that size whose name claims that digest, in `repo`'s folder first, then in any
  /// other's; links are resolved.
  std::optional<std::filesystem::path> find(std::string_view repo, const store::Digest& digest,
                                            std::uint64_t size_bytes) const;
  /// What is here of `repo` (any case) at `revision` (empty: main); digests as the links' targets
  /// claim them. Errors: not_found.
  Result<CachedSnapshot> snapshot(std::string_view repo, std::string_view revision) const;
  /// Text of a small file of a snapshot, for licences; empty when it can't be read.
  static std::string text(const CachedSnapshot& snapshot, std::string_view path,
                          std::size_t max_bytes);

 private:
  std::optional<std::filesystem::path> repo_folder(std::string_view repo) const;

  std::filesystem::path root_;
};

}  // namespace lm::registry
