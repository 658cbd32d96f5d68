// The index is a cache: lost, damaged, foreign or newer, the models stay.
#include "store/index.h"

#include <random>

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/migrations.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

class IndexTest : public testing::Test {
 protected:
  void SetUp() override {
    Store store = open_store(home());
    ASSERT_OK(put_texts(store, "a:1", {"shared", "one"}));
    ASSERT_OK(put_texts(store, "b:1", {"shared", "two"}));
    ASSERT_OK(store.copy("a:1", "c:1"));
    before_ = ids(store);
  }

  static std::map<std::string, std::string> ids(Store& store) {
    std::map<std::string, std::string> result;
    const auto entries = store.list().value();
    for (const ModelEntry& entry : entries) {
      result[entry.name] = entry.id;
    }
    return result;
  }

  std::string kept_copy() const {
    for (const std::string& name : files_in(home())) {
      if (name.starts_with("index.db.corrupt-") && !name.ends_with("-wal") &&
          !name.ends_with("-shm")) {
        return name;
      }
    }
    return {};
  }

  void execute(const std::string& sql) const {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(index().c_str(), &handle), SQLITE_OK);
    char* message = nullptr;
    ASSERT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_close(handle);
  }

  fs::path home() const { return folder_.path() / "home"; }
  fs::path index() const { return home() / "index.db"; }
  TempFolder folder_;
  std::map<std::string, std::string> before_;
};

TEST_F(IndexTest, IsMadeAgainWhenDeleted) {
  for (const char* name : {"index.db", "index.db-wal", "index.db-shm"}) {
    fs::remove(home() / name);
  }
  Store store = open_store(home());
  EXPECT_EQ(ids(store), before_);
  EXPECT_TRUE(store.warnings().empty());
  EXPECT_EQ(kept_copy(), "");
}

TEST_F(IndexTest, IsRebuiltFromNoiseAndKeepsTheOldFile) {
  std::mt19937 random(1);
  std::string noise;
  for (int i = 0; i < 30'000; ++i) {
    noise += static_cast<char>(random());
  }
  write_file(index(), noise);
  Store store = open_store(home());
  EXPECT_EQ(ids(store), before_);
  ASSERT_EQ(store.warnings().size(), 1u);
  EXPECT_TRUE(store.warnings()[0].contains("index.db.corrupt-"));
  ASSERT_NE(kept_copy(), "");
  EXPECT_EQ(read_file(home() / kept_copy()), noise);
  EXPECT_EQ(picture(store).size(), 3u);
}

TEST_F(IndexTest, IsRebuiltWhenCutAnywhere) {
  const std::string good = read_file(index());
  ASSERT_GT(good.size(), 4096u);
  for (std::size_t length = 0; length < good.size(); length += 511) {
    write_file(index(), good.substr(0, length));
    Store store = open_store(home());
    EXPECT_EQ(ids(store), before_) << "cut at " << length;
    EXPECT_OK(put_texts(store, "a:1", {"shared", "one"})) << length;
    EXPECT_OK(store.remove("c:1"));
    EXPECT_OK(store.copy("a:1", "c:1"));
    before_ = ids(store);
  }
}

TEST_F(IndexTest, IsRebuiltWhenAPageIsNoise) {
  const std::string good = read_file(index());
  std::mt19937 random(2);
  for (std::size_t page = 0; page < good.size() / 4096; ++page) {
    std::string bad = good;
    for (std::size_t i = 0; i < 4096; ++i) {
      bad[page * 4096 + i] = static_cast<char>(random());
    }
    write_file(index(), bad);
    Store store = open_store(home());
    EXPECT_EQ(ids(store), before_) << "page " << page;
    EXPECT_EQ(picture(store).size(), 3u);
    EXPECT_OK(store.remove("b:1"));
    EXPECT_OK(put_texts(store, "b:1", {"shared", "two"}));
    before_ = ids(store);
  }
}

TEST_F(IndexTest, AnotherProgramsDatabaseIsPutAside) {
  fs::remove(index());
  execute("CREATE TABLE models (x); INSERT INTO models VALUES (1); PRAGMA user_version = 1;");
  Store store = open_store(home());
  EXPECT_EQ(ids(store), before_);
  EXPECT_NE(kept_copy(), "");
}

TEST_F(IndexTest, AnEmptyFileAndAnOlderSchemaAreBroughtUpToDate) {
  write_file(index(), "");
  {
    Store store = open_store(home());
    EXPECT_EQ(ids(store), before_);
  }
  fs::remove(index());
  execute("PRAGMA user_version = 0; CREATE TABLE models (x);");
  Store store = open_store(home());
  EXPECT_EQ(ids(store), before_)
      << "a table in the way makes the migration fail, and the file is put aside";
}

TEST_F(IndexTest, IsRebuiltWhenATableIsMissing) {
  for (const char* table : {"layers", "leases", "uses", "folder_stamp", "models", "settings"}) {
    execute(std::string("DROP TABLE ") + table);
    Store store = open_store(home());
    EXPECT_EQ(ids(store), before_) << table;
    EXPECT_OK(store.remove("c:1"));
    EXPECT_OK(store.copy("a:1", "c:1"));
    EXPECT_OK(store.open_model("c:1"));
    before_ = ids(store);
  }
}

TEST_F(IndexTest, ANewerSchemaIsRefusedAndNotTouched) {
  execute("PRAGMA user_version = " + std::to_string(kSchemaVersion + 1));
  const std::string bytes = read_file(index());
  const auto files = files_in(home());
  for (const auto mode : {Store::Mode::read_write, Store::Mode::read_only}) {
    EXPECT_ERROR(Store::open(home(), mode), ErrorCode::newer_schema);
  }
  EXPECT_EQ(read_file(index()), bytes);
  EXPECT_EQ(kept_copy(), "");
  for (const std::string& name : files_in(home())) {
    EXPECT_TRUE(files.contains(name) || name.starts_with("index.db-")) << name;
  }
}

// The released schema 1, as the first program wrote it: opened by every later one.
TEST_F(IndexTest, ReadsTheReleasedSchemas) {
  fs::remove(index());
  execute(read_file(fs::path(LM_SOURCE_DIR) / "tests/store/schema_v1.sql"));
  Store store = open_store(home());
  EXPECT_EQ(ids(store), before_);
  EXPECT_EQ(store.value("device.cpu").value(), "kept");
  EXPECT_EQ(kept_copy(), "");
  EXPECT_TRUE(store.warnings().empty());
}

TEST_F(IndexTest, SeesManifestsThatCameAndWentByHand) {
  Store store = open_store(home());
  fs::remove(home() / "manifests/a%3a1.json");
  EXPECT_EQ(names_of(store), (std::vector<std::string>{"b:1", "c:1"}));
  Manifest manifest = store.find("b:1").value();
  manifest.name = "hand:made";
  write_file(home() / "manifests/hand%3amade.json", manifest.to_json());
  EXPECT_EQ(names_of(store), (std::vector<std::string>{"b:1", "c:1", "hand:made"}));
  EXPECT_OK(store.open_model("hand:made"));
  write_file(home() / "manifests/wrong%3akey.json", manifest.to_json());
  EXPECT_EQ(names_of(store), (std::vector<std::string>{"b:1", "c:1", "hand:made"}));
  ASSERT_EQ(store.warnings().size(), 1u);
  EXPECT_TRUE(store.warnings()[0].contains("wrong%3akey.json"));
  fs::remove(home() / "manifests/wrong%3akey.json");
  write_file(home() / "manifests/notes.txt", "not a manifest");
  EXPECT_EQ(names_of(store).size(), 3u);
}

TEST_F(IndexTest, IsReplacedUnderARunningStore) {
  Store store = open_store(home());
  EXPECT_EQ(ids(store), before_);
  fs::remove(index());
  EXPECT_EQ(ids(store), before_);
  EXPECT_OK(put_texts(store, "d:1", {"d"}));
  Store second = open_store(home());
  EXPECT_EQ(names_of(second).size(), 4u);
  EXPECT_EQ(names_of(store).size(), 4u);
}

TEST_F(IndexTest, OpensAsAReadOnlyStoreWithoutWriting) {
  const Store store = open_store(home(), Store::Mode::read_only);
  EXPECT_FALSE(store.is_writable());
  EXPECT_EQ(names_of(store).size(), 3u);
  EXPECT_OK(store.find("a:1"));
}

TEST_F(IndexTest, ReadOnlySeesWhatAnotherStoreChanges) {
  const Store reader = open_store(home(), Store::Mode::read_only);
  EXPECT_EQ(names_of(reader).size(), 3u);
  Store writer = open_store(home());
  ASSERT_OK(put_texts(writer, "d:1", {"d"}));
  ASSERT_OK(writer.remove("a:1"));
  EXPECT_EQ(names_of(reader), (std::vector<std::string>{"b:1", "c:1", "d:1"}));
  EXPECT_OK(reader.find("d:1"));
}

TEST_F(IndexTest, ReadOnlyMakesItsOwnIndexWhenTheFileIsNoUse) {
  write_file(index(), std::string(9000, 'n'));
  {
    Store store = open_store(home(), Store::Mode::read_only);
    EXPECT_EQ(ids(store), before_);
    EXPECT_OK(store.open_model("b:1"));
    EXPECT_EQ(read_file(index()), std::string(9000, 'n'));
  }
  fs::remove(index());
  Store store = open_store(home(), Store::Mode::read_only);
  EXPECT_EQ(ids(store), before_);
  EXPECT_FALSE(fs::exists(index()));
}

// A folder that this user may not write, as on a read-only medium (promise S11).
TEST_F(IndexTest, ListsAndOpensInAFolderThatMayNotBeWritten) {
  fs::permissions(folder_.path(), fs::perms::all);
  for (const auto& entry : fs::recursive_directory_iterator(home())) {
    fs::permissions(entry.path(), entry.is_directory() ? fs::perms(0555) : fs::perms(0444));
  }
  fs::permissions(home(), fs::perms(0555));
  const auto names = files_in(home());
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) {
      ::_exit(99);
    }
    auto store = Store::open(home(), Store::Mode::read_write);
    if (!store) {
      std::fprintf(stderr, "%s\n", explain(store.error()).c_str());
      ::_exit(1);
    }
    bool good =
        !store->is_writable() && ids(*store) == before_ && store->open_model("a:1").has_value();
    good = good && store->find("b:1").has_value() && store->warnings().empty();
    const auto added = store->add_bytes("x");
    good = good && !added && added.error().code == ErrorCode::read_only;
    const auto removed = store->remove("a:1");
    good = good && !removed && removed.error().code == ErrorCode::read_only;
    ::_exit(good ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(files_in(home()), names);
  for (const char* name : {"", "blobs", "manifests", "partial", "tmp"}) {
    fs::permissions(home() / name, fs::perms(0755));
  }
}

TEST_F(IndexTest, ReportsAHomeThatCannotBeMade) {
  write_file(folder_.path() / "file", "x");
  const auto store = Store::open(folder_.path() / "file/home", Store::Mode::read_write);
  ASSERT_FALSE(store.has_value());
  EXPECT_TRUE(store.error().subject.contains("file"));
}

TEST(Stamp, IsSettledOnlyWellAfterTheLastChange) {
  FolderStamp stamp{
      .mtime_ns = 10'000'000'000, .ctime_ns = 10'000'000'000, .recorded_ns = 10'500'000'000};
  EXPECT_FALSE(stamp.is_settled());
  stamp.recorded_ns = 13'000'000'000;
  EXPECT_TRUE(stamp.is_settled());
  stamp.ctime_ns = 14'000'000'000;
  EXPECT_FALSE(stamp.is_settled()) << "a clock that was set back";
}

class DefaultHome : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"LM_HOME", "XDG_DATA_HOME", "HOME"}) {
      ::unsetenv(name);
    }
  }
};

TEST_F(DefaultHome, FollowsTheEnvironmentInOrder) {
  EXPECT_ERROR(default_home(), ErrorCode::invalid_argument);
  ::setenv("HOME", "/home/me", 1);
  EXPECT_EQ(default_home().value(), "/home/me/.local/share/lm");
  ::setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(default_home().value(), "/data/lm");
  ::setenv("LM_HOME", " \"/models/x\" ", 1);
  EXPECT_EQ(default_home().value(), "/models/x");
  ::setenv("LM_HOME", "", 1);
  EXPECT_EQ(default_home().value(), "/data/lm");
  ::setenv("LM_HOME", "relative", 1);
  const auto home = default_home();
  EXPECT_ERROR(home, ErrorCode::invalid_argument);
  EXPECT_EQ(home.error().subject, "LM_HOME");
}

}  // namespace LM_FILE
}  // namespace lm::store
