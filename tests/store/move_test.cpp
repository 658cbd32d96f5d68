// The whole store moves: one rename, or a copy that is checked; stopped anywhere, one of the two
// stores is complete.
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

#include "store/partials.h"
#include "tests/store/child.h"

namespace lm::store {
namespace LM_FILE {

class MoveTest : public testing::Test {
 protected:
  void TearDown() override { stop_faults(); }

  static void fill(const fs::path& home) {
    write_file(home.parent_path() / "model.gguf", std::string(20'000, 'g'));
    Store store = open_store(home);
    ASSERT_OK(put_texts(store, "a:1", {"shared", "one"}));
    ASSERT_OK(put_texts(store, "b:1", {"shared", "two"}));
    const Adopted adopted =
        store.adopt_file(home.parent_path() / "model.gguf", {.mode = AdoptMode::reference}).value();
    ASSERT_OK(store.put(manifest_of("ref:1", {adopted.layer})));
    const Digest half = sha256("half");
    write_file(store.partial_path(half), "half");
    ASSERT_OK(write_journal(store.journal_path(half), {.model = "half:1", .size_bytes = 9}));
    write_file(home / "aliases.json", "{}");
    write_file(home / "history", "hello\n");
    fs::create_directories(home / "cache/packed");
    write_file(home / "cache/packed/a", "packed");
    write_file(home / "cache/b", "b");
    ASSERT_OK(store.open_model("a:1"));  // has a time of use
  }
  static Result<void> move(const fs::path& home, const fs::path& to, bool may_rename) {
    LM_TRY(Store store, Store::open(home, Store::Mode::read_write));
    LM_CHECK(store.move_to(to, {.may_rename = may_rename}));
    return {};
  }
  static void expect_moved(const fs::path& home, const fs::path& to, const Picture& before) {
    // Stopped at its very last call it leaves an empty folder.
    EXPECT_TRUE(!fs::exists(home) || fs::is_empty(home));
    EXPECT_EQ(picture_of(to), before);
    Store store = open_store(to);
    EXPECT_TRUE(store.warnings().empty()) << store.warnings()[0];
    EXPECT_EQ(store.partials().value().size(), 1u);
    EXPECT_EQ(read_file(to / "aliases.json"), "{}");
    EXPECT_EQ(read_file(to / "history"), "hello\n");
    EXPECT_EQ(read_file(to / "cache/packed/a"), "packed");
    EXPECT_EQ(read_file(to / "cache/b"), "b");
    EXPECT_FALSE(fs::exists(to / "moving-from"));
    EXPECT_TRUE(files_in(to / "tmp").empty());
    EXPECT_OK(store.remove("b:1"));
  }

  fs::path home() const { return folder_.path() / "home"; }
  TempFolder folder_;
};

TEST_F(MoveTest, IsOneRenameOnOneFileSystem) {
  fill(home());
  const Picture before = picture_of(home());
  const fs::path to = folder_.path() / "new/place/store";
  {
    Store store = open_store(home());
    const MoveReport report = store.move_to(to).value();
    EXPECT_TRUE(report.renamed);
    EXPECT_EQ(report.target, fs::canonical(to));
    EXPECT_GT(report.moved_bytes, 10u);
  }
  expect_moved(home(), to, before);
}

TEST_F(MoveTest, CopiesBetweenDisks) {
  fill(home());
  const Picture before = picture_of(home());
  const fs::path to = folder_.path() / "empty";
  fs::create_directory(to);
  std::uint64_t last = 0;
  {
    Store store = open_store(home());
    const auto progress = [&](std::uint64_t done, std::uint64_t total) {
      EXPECT_LE(last, done);
      EXPECT_LE(done, total);
      last = done;
      return true;
    };
    const MoveReport report =
        store.move_to(to, {.may_rename = false, .progress = progress}).value();
    EXPECT_FALSE(report.renamed);
  }
  EXPECT_GT(last, 10u);
  expect_moved(home(), to, before);
}

TEST_F(MoveTest, RefusesWhereItCannotGo) {
  fill(home());
  const Picture before = picture_of(home());
  write_file(folder_.path() / "file", "x");
  fs::create_directory(folder_.path() / "full");
  write_file(folder_.path() / "full/photo", "x");
  fs::create_directory_symlink(home(), folder_.path() / "alias");
  for (const auto& [target, code] : {std::pair{home(), ErrorCode::invalid_argument},
                                     {home() / "inside", ErrorCode::invalid_argument},
                                     {folder_.path(), ErrorCode::invalid_argument},
                                     {folder_.path() / "alias", ErrorCode::invalid_argument},
                                     {folder_.path() / "alias/inside", ErrorCode::invalid_argument},
                                     {folder_.path() / "full", ErrorCode::already_exists}}) {
    Store store = open_store(home());
    EXPECT_ERROR(store.move_to(target), code);
  }
  Store store = open_store(home());
  EXPECT_FALSE(store.move_to(folder_.path() / "file").has_value());
  EXPECT_FALSE(store.move_to(folder_.path() / "file/below").has_value());
  EXPECT_EQ(picture_of(home()), before);
  EXPECT_EQ(read_file(folder_.path() / "full/photo"), "x");
}

TEST_F(MoveTest, RefusesWhileSomebodyUsesTheStore) {
  fill(home());
  const fs::path to = folder_.path() / "to";
  {
    Store store = open_store(home());
    const Layer held = store.add_bytes("held").value();
    Store other = open_store(home());
    EXPECT_ERROR(other.move_to(to), ErrorCode::locked);
  }
  {
    // A chat has only its model left of the store.
    std::optional<OpenModel> model = open_store(home()).open_model("a:1").value();
    Store store = open_store(home());
    const auto refused = store.move_to(to);
    EXPECT_ERROR(refused, ErrorCode::locked);
    EXPECT_TRUE(refused.error().problem.contains("uses the store"));
    EXPECT_EQ(picture(store).size(), 3u) << "a refused move leaves the store as it was";
  }
  {
    Store store = open_store(home());
    const auto part = lock_partial(store.partial_path(sha256("half")), false).value();
    EXPECT_ERROR(store.move_to(to), ErrorCode::locked);
  }
  // A lease of another process.
  int ready[2];
  int end[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(end), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Store store = open_store(home());
    const auto lease = store.take_lease(sha256("held"), "m:1");
    char waits = 0;
    ::_exit(lease && ::write(ready[1], "x", 1) == 1 && ::read(end[0], &waits, 1) == 1 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  {
    Store store = open_store(home());
    EXPECT_ERROR(store.move_to(to), ErrorCode::locked);
  }
  ASSERT_EQ(::write(end[1], "x", 1), 1);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  for (const int fd : {ready[0], ready[1], end[0], end[1]}) {
    ::close(fd);
  }
  EXPECT_FALSE(fs::exists(to));
  Store store = open_store(home());
  EXPECT_OK(store.move_to(to));
}

TEST_F(MoveTest, NobodyOpensAStoreThatIsBeingMoved) {
  fill(home());
  Store store = open_store(home());
  int tried = 0;
  const auto progress = [&](std::uint64_t, std::uint64_t) {
    for (const Store::Mode mode : {Store::Mode::read_write, Store::Mode::read_only}) {
      const auto opened = Store::open(home(), mode);
      EXPECT_FALSE(opened.has_value());
      EXPECT_TRUE(opened || opened.error().code == ErrorCode::locked);
      ++tried;
    }
    return tried < 6;  // breaks the move off
  };
  EXPECT_ERROR(store.move_to(folder_.path() / "to", {.may_rename = false, .progress = progress}),
               ErrorCode::interrupted);
  EXPECT_EQ(tried, 6);
  EXPECT_EQ(picture_of(home()).size(), 3u) << "afterwards it is open to all again";
}

TEST_F(MoveTest, DoesNotMoveADamagedBlob) {
  fill(home());
  Store store = open_store(home());
  const fs::path blob = store.blob_path(sha256("two"));
  fs::permissions(blob, fs::perms(0644));
  write_file(blob, "tvo");
  const auto refused = store.move_to(folder_.path() / "to", {.may_rename = false});
  EXPECT_ERROR(refused, ErrorCode::digest_mismatch);
  EXPECT_EQ(refused.error().subject, fs::canonical(home()) / "blobs" / sha256("two").blob_name());
  EXPECT_EQ(names_of(open_store(home())).size(), 3u);
}

// Killed at every call: one of the two stores is complete, and the same command finishes the move.
TEST_F(MoveTest, LeavesOneCompleteStoreWhereverItIsKilled) {
  fill(home());
  const Picture before = picture_of(home());
  for (const bool may_rename : {true, false}) {
    long points = 0;
    for (bool completed = false; !completed;) {
      SCOPED_TRACE(points + 1);
      TempFolder folder;
      const fs::path home = folder.path() / "home";
      const fs::path to = folder.path() / "to";
      fill(home);
      completed =
          killed_at(points + 1, [&] { return exit_status(move(home, to, may_rename)); }) == 0;
      ASSERT_FALSE(HasFailure());
      ++points;
      // Looked at, not opened: opening would make a store where there is none.
      const auto is_complete = [&](const fs::path& at) {
        return fs::exists(at / "manifests") && picture_of(at).size() == before.size();
      };
      const bool old_complete = is_complete(home);
      const bool new_complete =
          fs::exists(to) && !fs::exists(to / "moving-from") && is_complete(to);
      ASSERT_TRUE(old_complete || new_complete);
      if (fs::exists(home) && !fs::is_empty(home)) {
        ASSERT_OK(move(home, to, may_rename));
      }
      expect_moved(home, to, before);
      ASSERT_FALSE(HasFailure());
    }
    std::printf("move by %s: %ld kill points\n", may_rename ? "rename" : "copy", points - 1);
    EXPECT_GT(points, may_rename ? 1 : 40);
  }
}

TEST_F(MoveTest, FailsCleanlyAtEveryCall) {
  long injections = 0;
  for (const bool may_rename : {true, false}) {
    for (const int error : {ENOSPC, EXDEV}) {
      for (long at = 1;; ++at) {
        SCOPED_TRACE(at);
        TempFolder folder;
        const fs::path home = folder.path() / "home";
        const fs::path to = folder.path() / "to";
        fill(home);
        const Picture before = picture_of(home);
        start_faults({.kind = FaultPlan::Kind::fail_once, .at = at, .error = error});
        const auto done = move(home, to, may_rename);
        const bool reached = fault_plan().calls >= at;
        stop_faults();
        if (!done) {
          EXPECT_FALSE(done.error().subject.empty());
          const bool old_complete = fs::exists(home / "manifests") && picture_of(home) == before;
          ASSERT_TRUE(old_complete || picture_of(to) == before);
          if (fs::exists(home)) {  // not when only the sync after the rename failed
            ASSERT_OK(move(home, to, may_rename));
          }
        }
        expect_moved(home, to, before);
        ASSERT_FALSE(HasFailure());
        if (!reached) {
          break;
        }
        ++injections;
      }
    }
  }
  std::printf("move: %ld injections\n", injections);
  EXPECT_GT(injections, 100);
}

TEST_F(MoveTest, SaysWhereAStoreWentThatWasLeftHalfRemoved) {
  fill(home());
  write_file(home() / "moved-to", "/new/place");
  Store store = open_store(home());
  ASSERT_EQ(store.warnings().size(), 1u);
  EXPECT_TRUE(store.warnings()[0].contains("LM_HOME=/new/place"));
  write_file(folder_.path() / "half/moving-from", "");
  fs::create_directories(folder_.path() / "half");
  write_file(folder_.path() / "half/moving-from", home().native());
  Store half = open_store(folder_.path() / "half");
  ASSERT_EQ(half.warnings().size(), 1u);
  EXPECT_TRUE(half.warnings()[0].contains("broken off"));
}

}  // namespace LM_FILE
}  // namespace lm::store
