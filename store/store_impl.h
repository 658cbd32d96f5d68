/// State behind Store and the rules of access to it. Private to store/.
///
/// Order of locks, always: the store's flock, then `mutex`, then SQLite's own. The flock is shared
/// while something is read or protected by a lease, exclusive while manifests or blobs change their
/// names.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/blob_store.h"
#include "store/index.h"
#include "store/lease_book.h"
#include "store/lock.h"
#include "store/manifest_folder.h"
#include "store/process.h"

namespace lm::store {

class Cleaner;

struct Store::Impl {
  std::filesystem::path home;
  bool writable = false;
  bool others_may_write = false;  ///< opened read-only, but not because nobody could write here
  Folders folders;
  ProcessMark self = this_process();
  std::shared_ptr<LeaseBook> leases;  ///< of this process; none while the store can't be written

  mutable std::mutex mutex;     // guards everything below
  std::optional<Index> disk;    ///< index.db; none while it can't be opened
  std::optional<Index> memory;  ///< stands in for the models of `disk` while that can't be brought
                                ///< up to the manifests
  /// Why index.db could last not be opened, and until when it isn't tried again: SQLite may try
  /// for ten seconds each time. None once it could be opened.
  struct OpenFailure {
    Error error;
    std::chrono::steady_clock::time_point until;
  };
  std::optional<OpenFailure> open_failure;
  std::vector<Error> unreadable;  ///< manifests, when the index was last brought up to them
  std::vector<std::string> warnings;

  /// Both locks; released in reverse order.
  struct Session {
    FileLock lock;
    std::unique_lock<std::mutex> guard;
  };

  Impl(std::filesystem::path store_home, bool may_write, Folders opened)
      : home(std::move(store_home)), writable(may_write), folders(std::move(opened)) {}

  BlobStore blobs() const { return BlobStore(folders); }
  /// Where models are looked up.
  Index& models() { return memory ? *memory : *disk; }
  std::filesystem::path index_path() const { return home / kIndexName; }
  bool is_index_damage(const Error& error) const;
  void warn(std::string line);

  /// Shared lock; the index says what manifests/ says. Errors: newer_schema, io.
  Result<Session> begin_read();
  /// Exclusive lock, the same. Error read_only.
  Result<Session> begin_write();
  Result<void> check_writable() const;

  /// Runs `look` on an index that is up to date; once more after a rebuild when the index turns out
  /// damaged.
  template <class Look>
  auto read_index(Look look) -> decltype(look(models()));

  /// Applies `change` and the folder's new stamp in one transaction, under the exclusive lock. The
  /// manifests have been changed before, which was the commit point: what fails here is only noted
  /// as a warning, and healed by the next session.
  template <class Change>
  void update_index(Change change);

  // Under the exclusive lock and the mutex:
  /// Runs `look`; once more after a rebuild when the index turns out damaged.
  template <class Look>
  auto with_repair(Look look) -> decltype(look());
  Result<void> heal();
  Result<void> open_disk_index();
  Result<void> replace_damaged_index();
  Result<void> drop_dead_leases();
  /// Blobs that only `key` uses and no live lease protects. Nothing while a manifest can't be read.
  Result<std::vector<Digest>> only_used_by(const std::string& key);
  /// Blobs that some process has a lease of.
  Result<std::set<Digest>> leased_digests();
  /// Deletes what nobody names and what is too old; unfinished downloads only with `partials`.
  /// Nothing while a manifest can't be read (error corrupt).
  Result<void> clean(const PruneOptions& options, bool partials, Cleaner& cleaner);
  /// Error locked while another lm, or another part of this one, works with the store's files. The
  /// descriptors keep unfinished downloads from being gone on with.
  Result<std::vector<Fd>> check_unused();
  /// Removes blobs; stops at the first error.
  Result<std::uint64_t> remove_blobs(const std::vector<Digest>& digests);

  /// Drops the row that nobody of this process holds any more. Takes the locks itself.
  void forget_lease(const LeaseKey& key);

  // Under any lock and the mutex:
  Result<IndexedModel> resolve(std::string_view name_or_id);

 private:
  bool is_alive(const LeaseRow& lease) const;
  Result<bool> is_current();
  /// Opens index.db, unless that failed lately: then the same error again.
  Result<Index> open_index(Database::Access access);
  /// From now on, for a while, `open_index` fails at once.
  void remember_failure(const Error& error);
  Result<void> use_memory();
  Result<void> bring_memory_into_step();
};

template <class Look>
auto Store::Impl::read_index(Look look) -> decltype(look(models())) {
  {
    LM_TRY(const Session session, begin_read());
    auto result = look(models());
    if (result || !is_index_damage(result.error())) {
      return result;
    }
  }
  if (writable) {
    LM_TRY(const FileLock lock, FileLock::acquire(home / kLockName, LockKind::exclusive, true));
    const std::scoped_lock guard(mutex);
    LM_CHECK(replace_damaged_index());
  } else {
    const std::scoped_lock guard(mutex);
    disk.reset();
  }
  LM_TRY(const Session session, begin_read());
  return look(models());
}

template <class Look>
auto Store::Impl::with_repair(Look look) -> decltype(look()) {
  auto result = look();
  if (result || !is_index_damage(result.error())) {
    return result;
  }
  LM_CHECK(replace_damaged_index());
  LM_CHECK(heal());
  return look();
}

template <class Change>
void Store::Impl::update_index(Change change) {
  const auto update = [&]() -> Result<void> {
    Index& index = models();
    LM_TRY(const FolderStamp stamp, folder_stamp(folders.manifests));
    LM_TRY(Transaction transaction, index.begin());
    LM_CHECK(change(index));
    if (unreadable.empty()) {
      LM_CHECK(index.set_stamp(stamp));
    }
    return transaction.commit();
  };
  if (const auto updated = with_repair(update); !updated) {
    warn(updated.error().subject + ": " + updated.error().problem +
         "; the index is brought up to date later");
  }
}

}  // namespace lm::store
