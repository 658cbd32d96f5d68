#include "store/manifest_folder.h"

#include <algorithm>
#include <chrono>
#include <map>

#include <fmt/format.h>

#include "store/paths.h"
#include "store/sha256.h"

namespace lm::store {
namespace {

struct Differences {
  std::size_t n_looked_at = 0;       ///< manifests that were compared
  std::vector<std::string> changed;  ///< new, or another file than the indexed one
  std::vector<std::string> gone;
  bool none() const { return changed.empty() && gone.empty(); }
};

IndexedManifest to_row(const std::string& key, const FileState& state) {
  return {
      .key = key, .inode = state.inode, .size_bytes = state.size_bytes, .mtime_ns = state.mtime_ns};
}

Result<Differences> compare(Index& index, const Folder& manifests) {
  LM_TRY(const std::vector<IndexedManifest> rows, index.manifests());
  std::map<std::string, const IndexedManifest*> indexed;
  for (const IndexedManifest& row : rows) {
    indexed.emplace(row.key, &row);
  }
  LM_TRY(const std::vector<std::string> keys, manifest_keys(manifests));
  Differences differences{.n_looked_at = keys.size(), .changed = {}, .gone = {}};
  for (const std::string& key : keys) {
    const auto row = indexed.find(key);
    if (row == indexed.end()) {
      differences.changed.push_back(key);
      continue;
    }
    const auto state = file_state(manifests, key + kManifestSuffix);
    if (!state || to_row(key, *state) != *row->second) {
      differences.changed.push_back(key);
    }
    indexed.erase(row);
  }
  for (const auto& [key, row] : indexed) {
    differences.gone.push_back(key);
  }
  return differences;
}

// What the bytes say, not whether they could be had: only then is the model itself at fault.
bool is_damage(const Error& error) {
  return error.code == ErrorCode::corrupt || error.code == ErrorCode::limit_exceeded ||
         error.code == ErrorCode::newer_schema || error.code == ErrorCode::invalid_argument;
}

}  // namespace

Result<std::vector<std::string>> manifest_keys(const Folder& manifests) {
  if (!manifests) {
    return std::vector<std::string>();
  }
  LM_TRY(std::vector<std::string> names, folder_names(manifests));
  const std::string_view suffix = kManifestSuffix;
  std::vector<std::string> keys;
  for (std::string& name : names) {
    if (name.size() > suffix.size() && name.ends_with(suffix)) {
      name.resize(name.size() - suffix.size());
      keys.push_back(std::move(name));
    }
  }
  std::ranges::sort(keys);
  return keys;
}

Result<StoredManifest> read_manifest(const Folder& manifests, const std::string& key) {
  const std::string name = key + kManifestSuffix;
  const std::string subject = manifests.at(name).native();
  LM_TRY(const Fd fd, open_for_reading(manifests, name));
  LM_TRY(const FileState state, file_state(fd.get(), subject));
  LM_TRY(const std::string text, read_text(fd.get(), kManifestLimitBytes, subject));
  StoredManifest stored;
  LM_TRY(stored.manifest, Manifest::from_json(text, subject));
  if (manifest_key(stored.manifest.name) != key) {
    return std::unexpected(
        Error{.code = ErrorCode::corrupt,
              .subject = subject,
              .problem = fmt::format("field 'name': '{}' belongs into {}.json",
                                     stored.manifest.name, manifest_key(stored.manifest.name)),
              .hint = "rename or remove the file"});
  }
  stored.id = sha256(text).hex();
  stored.file = to_row(key, state);
  return stored;
}

Result<FolderStamp> folder_stamp(const Folder& manifests) {
  if (!manifests) {
    return FolderStamp{};
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  LM_TRY(const FileState state, file_state(manifests.fd.get(), manifests.path.native()));
  return FolderStamp{
      .device = state.device,
      .inode = state.inode,
      .mtime_ns = state.mtime_ns,
      .ctime_ns = state.ctime_ns,
      .recorded_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()};
}

Result<StepCheck> check_step(Index& index, const Folder& manifests) {
  LM_TRY(const FolderStamp now, folder_stamp(manifests));
  LM_TRY(const std::optional<FolderStamp> known, index.stamp());
  if (!known) {
    return StepCheck{};
  }
  if (known->is_settled() && known->same_folder_state(now)) {
    return StepCheck{.in_step = true, .better_stamp = {}};
  }
  LM_TRY(const Differences differences, compare(index, manifests));
  StepCheck check{.in_step = differences.none(), .better_stamp = {}};
  // Writing costs more than looking at a few files again.
  constexpr std::size_t kWorthAWrite = 64;
  if (check.in_step && now.is_settled() && differences.n_looked_at >= kWorthAWrite) {
    check.better_stamp = now;
  }
  return check;
}

Result<std::vector<Error>> bring_into_step(Index& index, const Folder& manifests, bool durably) {
  // The stamp is taken before the names are read: what changes from here on makes it differ.
  LM_TRY(const FolderStamp now, folder_stamp(manifests));
  LM_TRY(const std::optional<FolderStamp> known, index.stamp());
  std::vector<Error> unreadable;
  if (known && known->is_settled() && known->same_folder_state(now)) {
    return unreadable;
  }
  LM_TRY(Differences differences, compare(index, manifests));
  if (differences.none() && known && known->same_folder_state(now) && !now.is_settled()) {
    return unreadable;
  }
  std::vector<StoredManifest> read;
  for (const std::string& key : differences.changed) {
    auto stored = read_manifest(manifests, key);
    if (stored) {
      read.push_back(std::move(*stored));
    } else if (stored.error().code == ErrorCode::not_found) {
      differences.gone.push_back(key);
    } else {
      if (is_damage(stored.error())) {
        differences.gone.push_back(key);
      }
      unreadable.push_back(std::move(stored).error());
    }
  }
  // Who made these changes may have been killed before they were durable, and the next command
  // reports as done what it finds done.
  if (durably && !differences.none()) {
    LM_CHECK(sync_folder(manifests));
  }
  LM_TRY(Transaction transaction, index.begin());
  for (const std::string& key : differences.gone) {
    LM_CHECK(index.delete_model(key));
  }
  for (const StoredManifest& stored : read) {
    LM_CHECK(index.put_model(stored.file, stored.manifest, stored.id));
  }
  if (unreadable.empty()) {
    LM_CHECK(index.set_stamp(now));
  } else {
    LM_CHECK(index.clear_stamp());
  }
  LM_CHECK(transaction.commit());
  return unreadable;
}

}  // namespace lm::store
