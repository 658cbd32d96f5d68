/// Names of files below LM_HOME, in one place. Their meaning: README.md of this folder.
#pragma once

#include <filesystem>
#include <optional>

#include "store/file_ops.h"

namespace lm::store {

inline constexpr const char* kIndexName = "index.db";
inline constexpr const char* kLockName = "lock";
inline constexpr const char* kMovingFromName = "moving-from";  ///< in a store that is being made
inline constexpr const char* kMovedToName = "moved-to";        ///< in one that is being left
inline constexpr const char* kPartSuffix = ".part";
inline constexpr const char* kJournalSuffix = ".journal";
inline constexpr const char* kJournalNewSuffix = ".journal.new";
/// What a download has written since its journal, for a next process on the same boot.
inline constexpr const char* kLiveSuffix = ".live";
inline constexpr const char* kLiveNewSuffix = ".live.new";
inline constexpr const char* kRefSuffix = ".ref";
inline constexpr const char* kChunksSuffix = ".chunks";
inline constexpr const char* kManifestSuffix = ".json";

/// The store's folders, opened once; they stay the same folders when somebody renames them.
struct Folders {
  Folder root, blobs, manifests, partial, tmp;

  /// Without `create` one that is missing stays empty. Errors: io, no_space, read_only.
  static Result<Folders> open(const std::filesystem::path& home, bool create);
};

/// What a move left in the root of a store: the other store's path. Empty when there is none.
Result<std::optional<std::filesystem::path>> read_marker(const Folder& root, const char* name);

}  // namespace lm::store
