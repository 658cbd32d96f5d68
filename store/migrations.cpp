#include "store/migrations.h"

#include <array>

#include <fmt/format.h>

namespace lm::store {
namespace {

// kSteps[i] takes version i to i + 1. A released step never changes.
constexpr std::array<const char*, kSchemaVersion> kSteps = {
    R"sql(
CREATE TABLE models (
  key TEXT PRIMARY KEY,            -- file name in manifests/ without ".json"
  name TEXT NOT NULL,
  id TEXT NOT NULL,                -- SHA-256 of the manifest's bytes
  size_bytes INTEGER NOT NULL,     -- of all layers
  modified_unix INTEGER NOT NULL,
  architecture TEXT NOT NULL,
  quantization TEXT NOT NULL,
  parameter_count INTEGER NOT NULL,
  file_inode INTEGER NOT NULL,     -- of the manifest, to see whether it has changed
  file_size INTEGER NOT NULL,
  file_mtime_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX models_by_id ON models (id);
CREATE TABLE layers (
  model_key TEXT NOT NULL REFERENCES models (key) ON DELETE CASCADE,
  digest TEXT NOT NULL,            -- 64 hex digits
  PRIMARY KEY (model_key, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX layers_by_digest ON layers (digest);
CREATE TABLE leases (
  digest TEXT NOT NULL,
  model_key TEXT NOT NULL,
  pid INTEGER NOT NULL,
  boot TEXT NOT NULL,
  start_ticks INTEGER NOT NULL,
  expires_unix INTEGER NOT NULL,
  PRIMARY KEY (digest, model_key, pid, boot, start_ticks)
) STRICT, WITHOUT ROWID;
CREATE TABLE uses (
  model_key TEXT PRIMARY KEY,
  used_unix INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE settings (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE folder_stamp (        -- at most one row
  one INTEGER PRIMARY KEY CHECK (one = 1),
  device INTEGER NOT NULL,
  inode INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  recorded_ns INTEGER NOT NULL
) STRICT;
)sql",
};

}  // namespace

Result<void> migrate(Database& database) {
  return migrate(database, kSteps);
}

Result<void> migrate(Database& database, std::span<const char* const> steps) {
  LM_TRY(Transaction transaction, Transaction::begin(database));
  // Read again inside: another process may have been faster.
  LM_TRY(const std::int64_t version, database.integer("PRAGMA user_version"));
  for (std::size_t step = static_cast<std::size_t>(version); step < steps.size(); ++step) {
    LM_CHECK(database.execute(steps[step]));
  }
  LM_CHECK(database.execute(fmt::format("PRAGMA application_id = {}", kApplicationId)));
  LM_CHECK(database.execute(fmt::format("PRAGMA user_version = {}", steps.size())));
  return transaction.commit();
}

}  // namespace lm::store
