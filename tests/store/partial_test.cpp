// Unfinished downloads: listed, removed, locked, made into blobs.
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "store/partials.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

class PartialTest : public StoreTest {};

TEST_F(PartialTest, TurnsAPartialIntoABlob) {
  Store store = open();
  const Digest digest = sha256("downloaded");
  EXPECT_EQ(store.partial_path(digest), home() / "partial" / (digest.blob_name() + ".part"));
  const Lease lease = store.take_lease(digest, "a:1").value();
  write_file(store.partial_path(digest), "downloaded");
  Journal journal{
      .model = "a:1", .size_bytes = 10, .sha256 = digest, .done = {{0, 10}}, .chunks = {1}};
  ASSERT_OK(write_journal(store.journal_path(digest), journal));
  EXPECT_ERROR(store.commit_partial(digest, 11), ErrorCode::size_mismatch);
  const std::vector<std::uint64_t> sums = {
      chunk_hash(std::as_bytes(std::span(std::string_view("downloaded"))))};
  ASSERT_OK(store.commit_partial(digest, 10, {.chunk_sums = sums}));
  EXPECT_TRUE(store.has_blob(digest));
  EXPECT_EQ(files_in(home() / "blobs"),
            (std::set<std::string>{digest.blob_name(), digest.blob_name() + ".chunks"}));
  EXPECT_TRUE(store.partials().value().empty());
  const Layer layer{.digest = digest, .size_bytes = 10, .file_name = "x.gguf", .lease = lease};
  ASSERT_OK(store.put(manifest_of("a:1", {layer})));
  EXPECT_TRUE(files_in(home() / "partial").empty()) << "the journal goes with the commit";
  EXPECT_ERROR(store.commit_partial(digest, 10), ErrorCode::not_found);
  ASSERT_OK(store.remove("a:1"));
  EXPECT_TRUE(files_in(home() / "blobs").empty());
}

TEST_F(PartialTest, TakesAPartialWithoutAKnownDigest) {
  Store store = open();
  write_file(home() / "partial/url-00ff.part", "downloaded");
  ASSERT_OK(write_journal(home() / "partial/url-00ff.journal", {.model = "a:1", .size_bytes = 10}));
  ASSERT_OK(store.commit_partial(sha256("downloaded"), 10, {.stem = "url-00ff"}));
  EXPECT_TRUE(store.has_blob(sha256("downloaded")));
  EXPECT_TRUE(files_in(home() / "partial").empty());
}

TEST_F(PartialTest, AnExistingBlobWinsUnlessItIsDamaged) {
  Store store = open();
  const Digest digest = sha256("downloaded");
  ASSERT_OK(store.add_bytes("downloaded"));
  const auto inode = [&] {
    struct stat st{};
    EXPECT_EQ(::stat(store.blob_path(digest).c_str(), &st), 0);
    return st.st_ino;
  };
  const auto first = inode();
  write_file(store.partial_path(digest), "downloaded");
  ASSERT_OK(store.commit_partial(digest, 10));
  EXPECT_EQ(inode(), first);
  EXPECT_TRUE(files_in(home() / "partial").empty());

  fs::permissions(store.blob_path(digest), fs::perms::owner_all);
  write_file(store.blob_path(digest), "dow");
  write_file(store.partial_path(digest), "downloaded");
  ASSERT_OK(store.commit_partial(digest, 10));
  EXPECT_EQ(read_file(store.blob_path(digest)), "downloaded");

  fs::permissions(store.blob_path(digest), fs::perms::owner_all);
  write_file(store.blob_path(digest), "downloadex");
  write_file(store.partial_path(digest), "downloaded");
  ASSERT_OK(store.commit_partial(digest, 10, {.replace = true}));
  EXPECT_EQ(read_file(store.blob_path(digest)), "downloaded");
}

TEST_F(PartialTest, ListsAndRemovesUnfinishedDownloads) {
  Store store = open();
  const Digest digest = sha256("to come");
  write_file(store.partial_path(digest), std::string(100, 'x'));
  ASSERT_OK(write_journal(
      store.journal_path(digest),
      {.model = "Big:7b", .size_bytes = 100, .sha256 = digest, .done = {{0, 10}, {20, 52}}}));
  write_file(home() / "partial/url-1.part", "abc");
  write_file(home() / "partial/url-1.journal", "damaged");
  const auto partials = store.partials().value();
  ASSERT_EQ(partials.size(), 2u);
  EXPECT_EQ(partials[0].name, "Big:7b");
  EXPECT_EQ(partials[0].file, digest.blob_name() + ".part");
  EXPECT_EQ(partials[0].done_bytes, 42u);
  EXPECT_EQ(partials[0].total_bytes, 100u);
  EXPECT_GT(partials[0].modified_unix, 0);
  EXPECT_EQ(partials[1].name, "");
  EXPECT_EQ(partials[1].total_bytes, 3u);

  EXPECT_TRUE(names_of(store).empty());
  EXPECT_EQ(store.remove("big:7b", true).value().freed_bytes, 100u);
  EXPECT_EQ(store.remove("big:7b").value().freed_bytes, 100u);
  EXPECT_ERROR(store.remove("big:7b"), ErrorCode::not_found);
  EXPECT_EQ(store.prune_partials(std::chrono::hours(1)).value(), 0u);
  EXPECT_EQ(store.prune_partials(std::chrono::seconds(0)).value(), 3u);
  EXPECT_TRUE(files_in(home() / "partial").empty());
}

TEST_F(PartialTest, LeavesADownloadThatSomebodyIsWorkingOn) {
  Store store = open();
  const Digest digest = sha256("to come");
  {
    const Fd fd = std::move(lock_partial(store.partial_path(digest), true).value().value());
    ASSERT_OK(write_journal(store.journal_path(digest),
                            {.model = "a:1", .size_bytes = 5, .sha256 = digest}));
    EXPECT_EQ(lock_partial(store.partial_path(digest), false).value(), std::nullopt);
    EXPECT_ERROR(store.remove("a:1"), ErrorCode::not_found);
    ASSERT_OK(store.prune_partials(std::chrono::seconds(0)));
    EXPECT_EQ(files_in(home() / "partial").size(), 2u);
  }
  ASSERT_OK(store.prune_partials(std::chrono::seconds(0)));
  EXPECT_TRUE(files_in(home() / "partial").empty());
}

TEST_F(PartialTest, ALockThatWasWaitedForIsOnTheFileThatHasTheName) {
  Store store = open();
  const Digest digest = sha256("content");
  std::optional<Fd> first = std::move(lock_partial(store.partial_path(digest), true).value());
  write_file(store.partial_path(digest), "content");
  std::jthread second([&] {
    const Fd fd = std::move(lock_partial(store.partial_path(digest), true).value().value());
    struct stat st{};
    EXPECT_EQ(::fstat(fd.get(), &st), 0);
    EXPECT_EQ(st.st_size, 0) << "a new file, not the blob that the first has made of the old one";
    EXPECT_TRUE(store.has_blob(digest));
  });
  ASSERT_OK(store.commit_partial(digest, 7));
  first.reset();
  second.join();
}

TEST_F(PartialTest, UnlocksAPartialThatACrashLeftReadOnly) {
  Store store = open();
  const fs::path part = store.partial_path(sha256("x"));
  write_file(part, "x");
  fs::permissions(part, fs::perms::owner_read);
  EXPECT_TRUE(lock_partial(part, false).value().has_value());
}

}  // namespace LM_FILE
}  // namespace lm::store
