// An index of an older schema becomes the present one in one transaction, whatever stops it
// (promise S7 of the store).
#include <cstdio>

#include <sqlite3.h>

#include "store/migrations.h"
#include "tests/store/child.h"

namespace lm::store {
namespace LM_FILE {

// Two steps after the released ones, as a later program might have them: the machinery is the same.
constexpr const char* kLater[] = {"SELECT 1",  // 0 to 1: a golden database is at 1 already
                                  "ALTER TABLE models ADD COLUMN later TEXT NOT NULL DEFAULT 'x';"
                                  "CREATE TABLE extra (key TEXT PRIMARY KEY) STRICT;"
                                  "INSERT INTO extra SELECT key FROM settings;",
                                  "CREATE INDEX by_later ON models (later);"
                                  "UPDATE models SET later = name;"};

class MigrationTest : public testing::Test {
 protected:
  void TearDown() override { stop_faults(); }

  // The released schema 1 with rows, as the first program wrote it.
  void make_golden() const {
    for (const char* suffix : {"", "-wal", "-shm"}) {
      fs::remove(index().native() + suffix);
    }
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(index().c_str(), &handle), SQLITE_OK);
    const std::string sql = read_file(fs::path(LM_SOURCE_DIR) / "tests/store/schema_v1.sql");
    ASSERT_EQ(sqlite3_exec(handle, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr),
              SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(handle);
  }
  Result<void> migrate_later() const {
    LM_TRY(Database database, Database::open(index(), Database::Access::create));
    return migrate(database, kLater);
  }
  static std::int64_t ask(Database& database, std::string_view sql) {
    const auto value = database.integer(sql);
    EXPECT_TRUE(value.has_value()) << sql << ": " << explain(value.error());
    return value.value_or(-1);
  }
  // Either all of it or nothing of it; never a version that the tables don't have.
  std::int64_t expect_old_or_new() const {
    auto database = Database::open(index(), Database::Access::read_write);
    EXPECT_TRUE(database.has_value());
    if (!database) {
      return -1;
    }
    const std::int64_t version = ask(*database, "PRAGMA user_version");
    EXPECT_TRUE(version == 1 || version == 3) << version;
    const bool is_new = version == 3;
    EXPECT_EQ(ask(*database, "SELECT count(*) FROM sqlite_master WHERE name = 'extra'"), is_new);
    EXPECT_EQ(ask(*database, "SELECT count(*) FROM sqlite_master WHERE name = 'by_later'"), is_new);
    EXPECT_EQ(ask(*database, "SELECT count(*) FROM settings WHERE value = 'kept'"), 1);
    EXPECT_EQ(ask(*database, "SELECT count(*) FROM models"), 1);
    EXPECT_EQ(ask(*database,
                  "SELECT count(*) FROM pragma_integrity_check WHERE "
                  "integrity_check = 'ok'"),
              1);
    return version;
  }

  fs::path index() const { return folder_.path() / "index.db"; }
  TempFolder folder_;
};

TEST_F(MigrationTest, IsAllOrNothingWhereverItIsKilled) {
  long points = 0;
  for (bool completed = false; !completed;) {
    SCOPED_TRACE(points + 1);
    make_golden();
    completed = killed_at(points + 1, [&] { return exit_status(migrate_later()); }) == 0;
    ASSERT_FALSE(HasFailure());
    ++points;
    const std::int64_t version = expect_old_or_new();
    EXPECT_TRUE(!completed || version == 3);
    ASSERT_OK(migrate_later());
    EXPECT_EQ(expect_old_or_new(), 3);
    ASSERT_FALSE(HasFailure());
  }
  std::printf("migration: %ld kill points\n", points - 1);
  EXPECT_GT(points, 5);
}

TEST_F(MigrationTest, IsAllOrNothingWhateverFails) {
  long injections = 0;
  for (const int code : {SQLITE_BUSY, SQLITE_FULL, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB}) {
    for (long at = 1;; ++at) {
      SCOPED_TRACE(std::to_string(code) + " at " + std::to_string(at));
      make_golden();
      start_faults(
          {.kind = FaultPlan::Kind::fail_once, .at = at, .error = EIO, .sqlite_code = code});
      const auto done = migrate_later();
      const bool reached = fault_plan().calls >= at;
      stop_faults();
      const std::int64_t version = expect_old_or_new();
      EXPECT_TRUE(!done || version == 3) << "done means done";
      ASSERT_OK(migrate_later());
      EXPECT_EQ(expect_old_or_new(), 3);
      ASSERT_FALSE(HasFailure());
      if (!reached) {
        break;
      }
      ++injections;
    }
  }
  std::printf("migration: %ld faults of SQLite\n", injections);
  EXPECT_GT(injections, 40);
}

// The whole store over the released schema: killed at every call of the open that adapts it.
TEST_F(MigrationTest, AStoreWithAnEmptyOrGoldenIndexSurvivesItsFirstOpen) {
  long points = 0;
  for (const bool golden : {true, false}) {
    for (bool completed = false; !completed;) {
      SCOPED_TRACE(points);
      TempFolder other;
      const fs::path home = other.path() / "home";
      {
        Store store = open_store(home);
        ASSERT_OK(put_texts(store, "a:1", {"one"}));
      }
      for (const char* suffix : {"", "-wal", "-shm"}) {
        fs::remove(home / (std::string("index.db") + suffix));
      }
      if (golden) {
        make_golden();
        fs::copy_file(index(), home / "index.db");
      }
      completed = killed_at(++points, [&] {
                    return Store::open(home, Store::Mode::read_write) ? 0 : 1;
                  }) == 0;
      Store store = open_store(home);
      EXPECT_EQ(names_of(store), std::vector<std::string>{"a:1"});
      EXPECT_TRUE(store.warnings().empty()) << store.warnings()[0];
      ASSERT_FALSE(HasFailure());
    }
    std::printf("open over %s index: %ld kill points\n", golden ? "the golden" : "no", points - 1);
    points = 0;
  }
}

}  // namespace LM_FILE
}  // namespace lm::store
