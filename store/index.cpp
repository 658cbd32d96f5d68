#include "store/index.h"

#include <chrono>
#include <cstdlib>

#include <fmt/format.h>

#include "store/migrations.h"

namespace lm::store {
namespace {

constexpr int kBusyTimeoutMs = 10'000;
constexpr int kCasualBusyTimeoutMs = 50;

Error newer(const Database& database, std::int64_t version) {
  return {.code = ErrorCode::newer_schema,
          .subject = database.subject(),
          .problem = fmt::format("schema {} (this lm knows up to {})", version, kSchemaVersion),
          .hint = "the store was written by a newer lm; update this one"};
}

Error damaged(const Database& database, std::string problem) {
  return {.code = ErrorCode::corrupt, .subject = database.subject(), .problem = std::move(problem)};
}

Result<Digest> to_digest(const Database& database, const std::string& hex) {
  auto digest = Digest::parse_hex(hex);
  if (!digest) {
    return std::unexpected(damaged(database, "a row holds no digest where one must be"));
  }
  return digest;
}

std::int64_t as_signed(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
std::uint64_t as_unsigned(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

}  // namespace

bool FolderStamp::is_settled() const {
  constexpr std::int64_t kSlackNs =
      2'000'000'000;  // FAT stamps whole two seconds, others at most 10 ms
  return recorded_ns - mtime_ns > kSlackNs && recorded_ns - ctime_ns > kSlackNs;
}

Result<Index> Index::open(const std::filesystem::path& file, Database::Access access) {
  using Access = Database::Access;
  LM_TRY(Database database, Database::open(file, access));
  database.set_busy_timeout_ms(kBusyTimeoutMs);
  LM_TRY(const std::int64_t version, database.integer("PRAGMA user_version"));
  LM_TRY(const std::int64_t application, database.integer("PRAGMA application_id"));
  if (version > kSchemaVersion) {
    database.leave_untouched();
    return std::unexpected(newer(database, version));
  }
  const bool may_migrate = access == Access::create || access == Access::memory;
  if (version < 0 || (version > 0 && application != kApplicationId) ||
      (version < kSchemaVersion && !may_migrate)) {
    return std::unexpected(
        damaged(database, fmt::format("schema {} of application {:#x} (expected {} of {:#x})",
                                      version, application, kSchemaVersion, kApplicationId)));
  }
  LM_CHECK(database.execute("PRAGMA foreign_keys = ON"));
  LM_CHECK(database.execute("PRAGMA cell_size_check = ON"));
  if (access == Access::create || access == Access::read_write) {
    LM_CHECK(database.execute("PRAGMA journal_mode = WAL"));
    LM_CHECK(database.execute("PRAGMA synchronous = FULL"));
  }
  if (version < kSchemaVersion) {
    LM_CHECK(migrate(database));
  }
  return Index(std::move(database));
}

Result<void> Index::set_casual(bool on) {
  database_.set_busy_timeout_ms(on ? kCasualBusyTimeoutMs : kBusyTimeoutMs);
  return database_.execute(on ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
}

Result<void> Index::put_model(const IndexedManifest& file, const Manifest& manifest,
                              std::string_view id) {
  LM_CHECK(delete_model(file.key));
  LM_TRY(Statement row,
         database_.prepare("INSERT INTO models VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)"));
  LM_CHECK(row.bind(1, file.key)
               .bind(2, manifest.name)
               .bind(3, id)
               .bind(4, as_signed(manifest.size_bytes()))
               .bind(5, manifest.modified_unix)
               .bind(6, manifest.architecture)
               .bind(7, manifest.quantization)
               .bind(8, as_signed(manifest.parameter_count))
               .bind(9, as_signed(file.inode))
               .bind(10, as_signed(file.size_bytes))
               .bind(11, file.mtime_ns)
               .run());
  for (const Layer& layer : manifest.layers) {
    const std::string hex = layer.digest.hex();
    LM_TRY(Statement link, database_.prepare("INSERT OR IGNORE INTO layers VALUES (?1,?2)"));
    LM_CHECK(link.bind(1, file.key).bind(2, hex).run());
  }
  return {};
}

Result<void> Index::delete_model(std::string_view key) {
  LM_TRY(Statement statement, database_.prepare("DELETE FROM models WHERE key = ?1"));
  return statement.bind(1, key).run();
}

Result<void> Index::forget_model(std::string_view key) {
  LM_CHECK(delete_model(key));
  LM_TRY(Statement statement, database_.prepare("DELETE FROM uses WHERE model_key = ?1"));
  return statement.bind(1, key).run();
}

Result<std::vector<ModelEntry>> Index::list() {
  LM_TRY(Statement row,
         database_.prepare("SELECT m.name, m.id, m.size_bytes, m.modified_unix, u.used_unix,"
                           " m.architecture, m.quantization, m.parameter_count"
                           " FROM models m LEFT JOIN uses u ON u.model_key = m.key"
                           " ORDER BY m.modified_unix DESC, m.key"));
  std::vector<ModelEntry> entries;
  for (;;) {
    LM_TRY(const bool more, row.step());
    if (!more) {
      return entries;
    }
    entries.push_back({.name = row.text(0),
                       .id = row.text(1),
                       .size_bytes = as_unsigned(row.integer(2)),
                       .modified_unix = row.integer(3),
                       .used_unix = row.integer(4),
                       .architecture = row.text(5),
                       .quantization = row.text(6),
                       .parameter_count = as_unsigned(row.integer(7))});
  }
}

Result<std::optional<IndexedModel>> Index::model_by_key(std::string_view key) {
  LM_TRY(Statement row, database_.prepare("SELECT key, name, id FROM models WHERE key = ?1"));
  LM_TRY(const bool found, row.bind(1, key).step());
  if (!found) {
    return std::nullopt;
  }
  return IndexedModel{.key = row.text(0), .name = row.text(1), .id = row.text(2)};
}

Result<std::vector<IndexedModel>> Index::models_by_id(std::string_view prefix) {
  // 'g' follows every hex digit, so the range holds exactly what begins with the prefix.
  const std::string end = std::string(prefix) + "g";
  LM_TRY(Statement row,
         database_.prepare(
             "SELECT key, name, id FROM models WHERE id >= ?1 AND id < ?2 ORDER BY key"));
  row.bind(1, prefix).bind(2, end);
  std::vector<IndexedModel> models;
  for (;;) {
    LM_TRY(const bool more, row.step());
    if (!more) {
      return models;
    }
    models.push_back({.key = row.text(0), .name = row.text(1), .id = row.text(2)});
  }
}

Result<std::vector<IndexedManifest>> Index::manifests() {
  LM_TRY(Statement row,
         database_.prepare("SELECT key, file_inode, file_size, file_mtime_ns FROM models"));
  std::vector<IndexedManifest> files;
  for (;;) {
    LM_TRY(const bool more, row.step());
    if (!more) {
      return files;
    }
    files.push_back({.key = row.text(0),
                     .inode = as_unsigned(row.integer(1)),
                     .size_bytes = as_unsigned(row.integer(2)),
                     .mtime_ns = row.integer(3)});
  }
}

Result<std::vector<Digest>> Index::blobs_of(std::string_view key) {
  LM_TRY(Statement row, database_.prepare("SELECT digest FROM layers WHERE model_key = ?1"));
  row.bind(1, key);
  std::vector<Digest> digests;
  for (;;) {
    LM_TRY(const bool more, row.step());
    if (!more) {
      return digests;
    }
    LM_TRY(const Digest digest, to_digest(database_, row.text(0)));
    digests.push_back(digest);
  }
}

Result<bool> Index::is_used(const Digest& digest, std::string_view except_key) {
  const std::string hex = digest.hex();
  LM_TRY(Statement row,
         database_.prepare("SELECT 1 FROM layers WHERE digest = ?1 AND model_key <> ?2 LIMIT 1"));
  return row.bind(1, hex).bind(2, except_key).step();
}

Result<std::optional<FolderStamp>> Index::stamp() {
  LM_TRY(
      Statement row,
      database_.prepare("SELECT device, inode, mtime_ns, ctime_ns, recorded_ns FROM folder_stamp"));
  LM_TRY(const bool found, row.step());
  if (!found) {
    return std::nullopt;
  }
  return FolderStamp{.device = as_unsigned(row.integer(0)),
                     .inode = as_unsigned(row.integer(1)),
                     .mtime_ns = row.integer(2),
                     .ctime_ns = row.integer(3),
                     .recorded_ns = row.integer(4)};
}

Result<void> Index::set_stamp(const FolderStamp& stamp) {
  LM_TRY(Statement row,
         database_.prepare("INSERT OR REPLACE INTO folder_stamp VALUES (1,?1,?2,?3,?4,?5)"));
  return row.bind(1, as_signed(stamp.device))
      .bind(2, as_signed(stamp.inode))
      .bind(3, stamp.mtime_ns)
      .bind(4, stamp.ctime_ns)
      .bind(5, stamp.recorded_ns)
      .run();
}

Result<void> Index::clear_stamp() {
  return database_.execute("DELETE FROM folder_stamp");
}

Result<void> Index::put_lease(const LeaseRow& lease) {
  const std::string hex = lease.digest.hex();
  LM_TRY(Statement row,
         database_.prepare("INSERT OR REPLACE INTO leases VALUES (?1,?2,?3,?4,?5,?6)"));
  return row.bind(1, hex)
      .bind(2, lease.model_key)
      .bind(3, lease.owner.pid)
      .bind(4, lease.owner.boot)
      .bind(5, lease.owner.start_ticks)
      .bind(6, lease.expires_unix)
      .run();
}

Result<std::vector<LeaseRow>> Index::leases() {
  LM_TRY(Statement row,
         database_.prepare(
             "SELECT digest, model_key, pid, boot, start_ticks, expires_unix FROM leases"));
  std::vector<LeaseRow> leases;
  for (;;) {
    LM_TRY(const bool more, row.step());
    if (!more) {
      return leases;
    }
    LM_TRY(const Digest digest, to_digest(database_, row.text(0)));
    leases.push_back(
        {.digest = digest,
         .model_key = row.text(1),
         .owner = {.pid = row.integer(2), .boot = row.text(3), .start_ticks = row.integer(4)},
         .expires_unix = row.integer(5)});
  }
}

Result<void> Index::delete_lease(const LeaseRow& lease) {
  const std::string hex = lease.digest.hex();
  LM_TRY(Statement row,
         database_.prepare("DELETE FROM leases WHERE digest = ?1 AND model_key = ?2 AND pid = ?3"
                           " AND boot = ?4 AND start_ticks = ?5"));
  return row.bind(1, hex)
      .bind(2, lease.model_key)
      .bind(3, lease.owner.pid)
      .bind(4, lease.owner.boot)
      .bind(5, lease.owner.start_ticks)
      .run();
}

Result<void> Index::note_use(std::string_view key, std::int64_t unix_seconds) {
  LM_TRY(Statement row, database_.prepare("INSERT OR REPLACE INTO uses VALUES (?1,?2)"));
  return row.bind(1, key).bind(2, unix_seconds).run();
}

Result<std::optional<std::string>> Index::value(std::string_view key) {
  LM_TRY(Statement row, database_.prepare("SELECT value FROM settings WHERE key = ?1"));
  LM_TRY(const bool found, row.bind(1, key).step());
  if (!found) {
    return std::nullopt;
  }
  return row.text(0);
}

Result<void> Index::set_value(std::string_view key, std::string_view value) {
  LM_TRY(Statement row, database_.prepare("INSERT OR REPLACE INTO settings VALUES (?1,?2)"));
  return row.bind(1, key).bind(2, value).run();
}

}  // namespace lm::store
