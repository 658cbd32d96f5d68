// Good chunks of damaged blobs become an unfinished download; stopped anywhere, nothing is worse.
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

#include "store/partials.h"
#include "tests/store/fault_plan.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

constexpr std::size_t kLength = 2 * kChunkBytes + 1000;

class RepairTest : public testing::Test {
 protected:
  void SetUp() override {
    for (std::size_t i = 0; i < content_.size(); ++i) {
      content_[i] = static_cast<char>((i * 2654435761u) >> 24);
    }
    write_file(folder_.path() / "model.gguf", content_);
    Store store = open_store(home());
    const Adopted adopted =
        store.adopt_file(folder_.path() / "model.gguf", {.mode = AdoptMode::copy}).value();
    digest_ = adopted.layer.digest;
    ASSERT_OK(store.put(manifest_of("m:1", {adopted.layer})));
    blob_ = store.blob_path(digest_);
    fs::permissions(blob_, fs::perms(0644));
  }
  void TearDown() override { stop_faults(); }

  void flip(std::size_t at) {
    std::string bytes = read_file(blob_);
    bytes[at] ^= 1;
    write_file(blob_, bytes);
  }
  Journal identity() const {
    return {.repo = "u/r", .model = "m:1", .size_bytes = kLength, .sha256 = digest_};
  }
  // What the download does with what salvage_blob has kept.
  Result<void> repair(Store& store) const {
    LM_TRY(const std::uint64_t kept, store.salvage_blob(identity()));
    LM_TRY(const std::optional<Fd> part, lock_partial(store.partial_path(digest_), true));
    Journal journal = identity();
    if (kept > 0) {
      LM_TRY(journal, read_journal(store.journal_path(digest_)));
    }
    const std::string subject = store.partial_path(digest_).native();
    LM_CHECK(set_length(part->get(), kLength, true, subject));
    std::uint64_t at = 0;
    const auto fill = [&](std::uint64_t end) {
      return write_at(part->get(),
                      std::as_bytes(std::span(content_).subspan(
                          static_cast<std::size_t>(at), static_cast<std::size_t>(end - at))),
                      at, subject);
    };
    for (const ByteRange& range : journal.done) {
      LM_CHECK(fill(range.begin));
      at = range.end;
    }
    LM_CHECK(fill(kLength));
    LM_CHECK(store.commit_partial(digest_, kLength, {.chunk_sums = sums(), .replace = true}));
    LM_CHECK(remove_file(open_folder(home() / "partial", false).value(),
                         digest_.blob_name() + ".journal"));
    return {};
  }
  std::vector<std::uint64_t> sums() const {
    std::vector<std::uint64_t> result;
    for (std::size_t at = 0; at < content_.size(); at += kChunkBytes) {
      result.push_back(chunk_hash(std::as_bytes(std::span(content_).subspan(
          at, std::min<std::size_t>(kChunkBytes, content_.size() - at)))));
    }
    return result;
  }
  static BlobCheck::State state_of(Store& store, const Digest& digest) {
    return store.verify_blob(digest, kLength).value().state;
  }

  fs::path home() const { return folder_.path() / "home"; }
  TempFolder folder_;
  std::string content_ = std::string(kLength, '\0');
  Digest digest_;
  fs::path blob_;
};

TEST_F(RepairTest, KeepsTheGoodChunksOfAFlippedBlob) {
  flip(5);
  flip(2 * kChunkBytes);
  Store store = open_store(home());
  EXPECT_EQ(store.salvage_blob(identity()).value(), kChunkBytes);
  const Journal journal = read_journal(store.journal_path(digest_)).value();
  EXPECT_EQ(journal.done, (std::vector<ByteRange>{{kChunkBytes, 2 * kChunkBytes}}));
  EXPECT_FALSE(journal.chunks[0]);
  EXPECT_TRUE(journal.chunks[1]);
  EXPECT_EQ(fs::file_size(blob_), kLength) << "the blob stays meanwhile";
  EXPECT_EQ(store.salvage_blob(identity()).value(), kChunkBytes)
      << "an earlier repair that was broken off is gone on with";
  ASSERT_OK(repair(store));
  EXPECT_EQ(state_of(store, digest_), BlobCheck::State::good);
  EXPECT_TRUE(files_in(home() / "partial").empty());
}

TEST_F(RepairTest, KeepsTheBeginningOfATruncatedBlob) {
  fs::resize_file(blob_, kChunkBytes + 7);
  Store store = open_store(home());
  const BlobCheck check = store.verify_blob(digest_, kLength).value();
  EXPECT_EQ(check.state, BlobCheck::State::wrong_size);
  EXPECT_EQ(check.bad_chunks, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(store.salvage_blob(identity()).value(), kChunkBytes);
  ASSERT_OK(repair(store));
  EXPECT_EQ(state_of(store, digest_), BlobCheck::State::good);
}

TEST_F(RepairTest, KeepsNothingWhereNothingCanBeTold) {
  Store store = open_store(home());
  const fs::path sums_file = blob_.native() + ".chunks";
  const std::string sums_text = read_file(sums_file);
  flip(5);
  fs::remove(sums_file);
  EXPECT_EQ(store.salvage_blob(identity()).value(), 0u);
  write_file(sums_file, "{");
  EXPECT_EQ(store.salvage_blob(identity()).value(), 0u);
  write_file(sums_file, sums_text);
  Journal other = identity();
  other.size_bytes = 7;
  EXPECT_EQ(store.salvage_blob(other).value(), 0u);
  write_file(blob_, std::string(kLength, 'x'));
  EXPECT_EQ(store.salvage_blob(identity()).value(), 0u);
  fs::remove(blob_);
  EXPECT_EQ(store.salvage_blob(identity()).value(), 0u);
  EXPECT_TRUE(files_in(home() / "partial").empty());
}

TEST_F(RepairTest, NeverWritesToAFileItOnlyLinks) {
  TempFolder other;
  const fs::path home2 = other.path() / "home";
  Store store = open_store(home2);
  const Adopted adopted =
      store.adopt_file(folder_.path() / "model.gguf", {.mode = AdoptMode::link}).value();
  ASSERT_OK(store.put(manifest_of("m:1", {adopted.layer})));
  std::string damaged = content_;
  damaged[9] ^= 1;
  write_file(folder_.path() / "model.gguf", damaged);
  EXPECT_GT(store.salvage_blob(identity()).value(), 0u);
  EXPECT_EQ(read_file(folder_.path() / "model.gguf"), damaged);
}

// Killed at every single call: the model stays listed, the blob is as it was or good,
// and the next try repairs it.
TEST_F(RepairTest, IsRepairedByTheNextTryWhereverItStops) {
  flip(2 * kChunkBytes + 1);
  const std::string damaged = read_file(blob_);
  long points = 0;
  for (long at = 1;; ++at) {
    SCOPED_TRACE(at);
    fs::remove_all(home() / "partial");
    fs::create_directory(home() / "partial");
    if (read_file(blob_) != damaged) {
      write_file(blob_, damaged);
    }
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      start_faults({.kind = FaultPlan::Kind::kill, .at = at});
      auto store = Store::open(home(), Store::Mode::read_write);
      const bool done = store && repair(*store);
      ::_exit(fault_plan().calls < at ? 3 : done ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    Store store = open_store(home());
    EXPECT_EQ(names_of(store), std::vector<std::string>{"m:1"});
    const std::string now = read_file(blob_);
    EXPECT_TRUE(now == damaged || now == content_);
    ASSERT_OK(repair(store));
    ASSERT_TRUE(read_file(blob_) == content_);
    fs::permissions(blob_, fs::perms(0644));
    if (WEXITSTATUS(status) == 3) {
      break;
    }
    ++points;
  }
  std::printf("repair: %ld points\n", points);
  EXPECT_GT(points, 20);
}

}  // namespace LM_FILE
}  // namespace lm::store
