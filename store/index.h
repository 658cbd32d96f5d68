/// The SQLite index: a cache of the manifests, plus leases, times of use and small values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/file_ops.h"
#include "store/manifest.h"
#include "store/process.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace lm::store {

/// The manifests as the index knows them.
struct IndexedManifest {
  std::string key;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  friend bool operator==(const IndexedManifest&, const IndexedManifest&) = default;
};

/// State of manifests/ when the index was last brought up to it. When the folder's times haven't
/// moved since, no name in it has, provided it was recorded well after the last change (file
/// systems stamp with the coarse clock: two changes within a tick look like one).
struct FolderStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::int64_t recorded_ns = 0;  ///< wall clock

  bool same_folder_state(const FolderStamp& other) const {
    return device == other.device && inode == other.inode && mtime_ns == other.mtime_ns &&
           ctime_ns == other.ctime_ns;
  }
  bool is_settled() const;
};

/// A row found by name or id.
struct IndexedModel {
  std::string key;
  std::string name;
  std::string id;
};

/// A row of `leases`.
struct LeaseRow {
  Digest digest;
  std::string model_key;  ///< empty: for no model in particular
  ProcessMark owner;
  std::int64_t expires_unix = 0;
};

/// One connection. Not thread-safe. An error `corrupt` whose subject is the index file means:
/// rebuild it.
class Index {
 public:
  /// Opens and checks the schema version; `Access::create` also brings the schema up to date
  /// (migrations.cpp). Errors: not_found, newer_schema, corrupt (also: an older schema that may not
  /// be changed here), locked, io.
  static Result<Index> open(const std::filesystem::path& file, Database::Access access);

  bool moved() const { return database_.moved(); }
  /// Durable when `commit` returns.
  Result<Transaction> begin() { return Transaction::begin(database_); }
  /// Runs `change` in a transaction that may be lost by a power cut (never half of it) and that
  /// doesn't wait long for other writers: for what is only nice to have.
  template <class Change>
  Result<void> casually(Change change);

  // models
  Result<void> put_model(const IndexedManifest& file, const Manifest& manifest,
                         std::string_view id);
  Result<void> delete_model(std::string_view key);
  /// As delete_model, and its time of use: for a model that was removed, not replaced.
  Result<void> forget_model(std::string_view key);
  Result<std::vector<ModelEntry>> list();
  Result<std::optional<IndexedModel>> model_by_key(std::string_view key);
  Result<std::vector<IndexedModel>> models_by_id(std::string_view prefix);
  Result<std::vector<IndexedManifest>> manifests();
  /// Digests of a model's layers, each once.
  Result<std::vector<Digest>> blobs_of(std::string_view key);
  /// True when a model other than `except_key` has a layer with that digest.
  Result<bool> is_used(const Digest& digest, std::string_view except_key);

  Result<std::optional<FolderStamp>> stamp();
  Result<void> set_stamp(const FolderStamp& stamp);
  Result<void> clear_stamp();

  // leases
  Result<void> put_lease(const LeaseRow& lease);
  Result<std::vector<LeaseRow>> leases();
  Result<void> delete_lease(const LeaseRow& lease);

  Result<void> note_use(std::string_view key, std::int64_t unix_seconds);
  Result<std::optional<std::string>> value(std::string_view key);
  Result<void> set_value(std::string_view key, std::string_view value);

 private:
  explicit Index(Database database) : database_(std::move(database)) {}
  Result<void> set_casual(bool on);
  Database database_;
};

template <class Change>
Result<void> Index::casually(Change change) {
  LM_CHECK(set_casual(true));
  const auto changed = [&]() -> Result<void> {
    LM_TRY(Transaction transaction, begin());
    LM_CHECK(change(*this));
    return transaction.commit();
  }();
  LM_CHECK(set_casual(false));
  return changed;
}

}  // namespace lm::store
