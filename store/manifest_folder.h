/// manifests/: reading it, and bringing the index up to it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/index.h"
#include "store/manifest.h"

namespace lm::store {

inline constexpr std::uint64_t kManifestLimitBytes = std::uint64_t{8} << 20;

/// A manifest as it lies on disk.
struct StoredManifest {
  Manifest manifest;
  std::string id;
  IndexedManifest file;
};

/// Keys of all manifests, sorted; none when the folder is missing.
Result<std::vector<std::string>> manifest_keys(const Folder& manifests);

/// Reads manifests/<key>.json. Errors: not_found, corrupt (also: a name that doesn't belong to this
/// key), io.
Result<StoredManifest> read_manifest(const Folder& manifests, const std::string& key);

/// The folder's state now; `recorded_ns` is the time of the call.
Result<FolderStamp> folder_stamp(const Folder& manifests);

/// Whether the index says what the folder says.
struct StepCheck {
  bool in_step = false;
  /// A stamp worth keeping: with it the next check costs one stat only.
  std::optional<FolderStamp> better_stamp;
};

/// Compares. Costs one stat when nothing has changed for two seconds, else a stat a manifest; reads
/// none.
Result<StepCheck> check_step(Index& index, const Folder& manifests);

/// Applies every difference in one transaction. Returns the manifests that couldn't be read; as
/// long as there are any, the index never counts as in step. One that is damaged loses its row, one
/// that an I/O error hides keeps it. `durably`: what differs is made durable in the folder first.
Result<std::vector<Error>> bring_into_step(Index& index, const Folder& manifests, bool durably);

}  // namespace lm::store
