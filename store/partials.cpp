#include "store/partials.h"

#include <algorithm>
#include <cerrno>

#include "store/journal.h"
#include "store/lock.h"
#include "store/manifest.h"
#include "store/names.h"
#include "store/paths.h"
#include "store/temp_file.h"

namespace lm::store {
namespace {

struct Partial {
  std::string stem;
  FileState part;
  std::optional<Journal> journal;
  std::int64_t modified_ns = 0;
};

Result<std::vector<Partial>> read_partials(const Folder& partial) {
  std::vector<Partial> result;
  if (!partial) {
    return result;
  }
  LM_TRY(std::vector<std::string> names, folder_names(partial));
  std::ranges::sort(names);
  for (const std::string& name : names) {
    const std::string_view suffix = kPartSuffix;
    const auto state = file_state(partial, name);
    if (!name.ends_with(suffix) || !state || !state->regular) {
      continue;
    }
    Partial entry{
        .stem = name.substr(0, name.size() - suffix.size()), .part = *state, .journal = {}};
    entry.modified_ns = state->mtime_ns;
    const std::string journal_name = entry.stem + kJournalSuffix;
    if (auto journal = read_journal(partial.at(journal_name))) {
      entry.journal = std::move(*journal);
    }
    if (const auto journal_state = file_state(partial, journal_name)) {
      entry.modified_ns = std::max(entry.modified_ns, journal_state->mtime_ns);
    }
    result.push_back(std::move(entry));
  }
  return result;
}

// Leaves one that somebody holds.
Result<void> remove_unless_locked(const Folder& partial, const Partial& entry, Cleaner& cleaner) {
  const std::string name = entry.stem + kPartSuffix;
  const auto fd = open_for_reading(partial, name);
  if (!fd) {
    return {};
  }
  LM_TRY(const bool locked,
         lock_descriptor(fd->get(), LockKind::exclusive, false, partial.at(name).native()));
  if (!locked) {
    return {};
  }
  // The journal goes first: a .part without one is a download that starts over, a journal without
  // its .part nothing.
  for (const char* suffix : {kLiveNewSuffix, kLiveSuffix, kJournalNewSuffix, kJournalSuffix}) {
    if (const auto state = file_state(partial, entry.stem + suffix)) {
      LM_CHECK(cleaner.remove(partial, entry.stem + suffix, 0));
    }
  }
  return cleaner.remove(partial, name, entry.part.size_bytes);
}

Result<Fd> open_part(const std::filesystem::path& path) {
  auto fd = open_or_create(path);
  if (fd || fd.error().os_error != EACCES) {
    return fd;
  }
  // A crash between chmod and rename left it read-only.
  LM_TRY(const Fd readable, open_for_reading(path));
  LM_CHECK(set_mode(readable.get(), 0644, path.native()));
  return open_or_create(path);
}

}  // namespace

Result<std::optional<Fd>> lock_partial(const std::filesystem::path& path, bool wait) {
  for (;;) {
    LM_TRY(Fd fd, open_part(path));
    LM_TRY(const bool locked, lock_descriptor(fd.get(), LockKind::exclusive, wait, path.native()));
    if (!locked) {
      return std::nullopt;
    }
    LM_TRY(const FileState held, file_state(fd.get(), path.native()));
    LM_TRY(const Folder folder, open_folder(path.parent_path(), false));
    const auto named = file_state(folder, path.filename().native());
    if (named && named->inode == held.inode && named->device == held.device) {
      return fd;
    }
    if (!named && named.error().code != ErrorCode::not_found) {
      return std::unexpected(named.error());
    }
  }
}

Result<std::vector<PartialEntry>> list_partials(const Folder& partial) {
  LM_TRY(const std::vector<Partial> partials, read_partials(partial));
  std::vector<PartialEntry> entries;
  for (const Partial& item : partials) {
    PartialEntry entry{.name = {}, .file = item.stem + kPartSuffix};
    entry.total_bytes = item.part.size_bytes;
    entry.modified_unix = item.modified_ns / 1'000'000'000;
    if (item.journal) {
      entry.name = item.journal->model;
      entry.done_bytes = item.journal->done_bytes();
      entry.total_bytes = item.journal->size_bytes;
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<void> clean_partials_of(const Folder& partial, std::string_view model_key,
                               Cleaner& cleaner) {
  LM_TRY(const std::vector<Partial> partials, read_partials(partial));
  for (const Partial& item : partials) {
    if (item.journal && manifest_key(with_tag(item.journal->model)) == model_key) {
      LM_CHECK(remove_unless_locked(partial, item, cleaner));
    }
  }
  return {};
}

Result<void> clean_old_partials(const Folder& partial, std::int64_t min_age_s, Cleaner& cleaner) {
  LM_TRY(const std::vector<Partial> partials, read_partials(partial));
  for (const Partial& item : partials) {
    if (age_seconds(item.part) >= min_age_s) {
      LM_CHECK(remove_unless_locked(partial, item, cleaner));
    }
  }
  return {};
}

Result<void> clean_orphan_journals(const Folder& partial, std::int64_t min_age_s,
                                   Cleaner& cleaner) {
  LM_TRY(const std::vector<std::string> names, folder_names(partial));
  for (const std::string& name : names) {
    for (const std::string_view suffix :
         {kJournalSuffix, kJournalNewSuffix, kLiveSuffix, kLiveNewSuffix}) {
      if (!name.ends_with(suffix)) {
        continue;
      }
      const std::string part = name.substr(0, name.size() - suffix.size()) + kPartSuffix;
      const auto state = file_state(partial, name);
      if (!file_state(partial, part) && state && age_seconds(*state) >= min_age_s) {
        LM_CHECK(cleaner.remove(partial, name, state->size_bytes));
      }
    }
  }
  return {};
}

}  // namespace lm::store
