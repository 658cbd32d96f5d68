/// The index's schema and how older ones become it.
#pragma once

#include <cstdint>
#include <span>

#include "store/sqlite.h"

namespace lm::store {

/// Version this program writes (PRAGMA user_version).
inline constexpr std::int64_t kSchemaVersion = 1;
/// PRAGMA application_id: "lmix". Tells our index from any other SQLite file.
inline constexpr std::int64_t kApplicationId = 0x6c6d6978;

/// Brings a database of any version from 0 (empty) to kSchemaVersion in one transaction, the
/// version last. The caller holds the store's exclusive lock.
Result<void> migrate(Database& database);

/// The same by other steps (tests): `steps[i]` is SQL that takes version i to i + 1.
Result<void> migrate(Database& database, std::span<const char* const> steps);

}  // namespace lm::store
