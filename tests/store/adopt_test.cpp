// Foreign files become blobs: every way, every refusal, and the owner's file stays as it was.
#include <sys/stat.h>
#include <unistd.h>

#include "store/file_ops.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

class AdoptTest : public testing::Test {
 protected:
  void SetUp() override {
    write_file(file(), content_);
    fs::permissions(file(), fs::perms(0640));
  }
  void TearDown() override { set_file_op_hook(nullptr); }

  struct stat state_of(const fs::path& path) const {
    struct stat st{};
    EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
    return st;
  }
  // No file system under the tests need be able to share bytes.
  static void without(FileOp op, int error) {
    static FileOp refused;
    static int answer;
    refused = op;
    answer = error;
    set_file_op_hook([](FileOp now, const char*) { return now == refused ? answer : 0; });
  }
  void expect_sound(Store& store, const Layer& layer) {
    EXPECT_EQ(layer.digest, sha256(content_));
    EXPECT_EQ(layer.size_bytes, content_.size());
    EXPECT_EQ(store.verify_blob(layer.digest, layer.size_bytes).value().state,
              BlobCheck::State::good);
    ASSERT_OK(store.put(manifest_of("m:1", {layer})));
    EXPECT_EQ(picture(store).size(), 1u);
    EXPECT_EQ(state_of(file()).st_mode & 0777u, 0640u) << "the owner's mode";
    EXPECT_EQ(read_file(file()), content_);
    EXPECT_TRUE(files_in(home() / "tmp").empty());
  }

  fs::path home() const { return folder_.path() / "home"; }
  fs::path file() const { return folder_.path() / "model.gguf"; }
  TempFolder folder_;
  // More than a chunk, and not a multiple of anything.
  const std::string content_ = std::string(17'000'003, 'w');
};

TEST_F(AdoptTest, LinksWithoutTouchingTheOwnersFile) {
  Store store = open_store(home());
  const Adopted adopted = store.adopt_file(file(), {.mode = AdoptMode::link}).value();
  EXPECT_EQ(adopted.how, AdoptMode::link);
  EXPECT_FALSE(adopted.was_there);
  EXPECT_EQ(state_of(store.blob_path(adopted.layer.digest)).st_ino, state_of(file()).st_ino);
  expect_sound(store, adopted.layer);
  ASSERT_OK(store.remove("m:1"));
  EXPECT_TRUE(fs::exists(file()));
}

TEST_F(AdoptTest, CopiesIntoAFileOfItsOwn) {
  Store store = open_store(home());
  const Adopted adopted = store.adopt_file(file(), {.mode = AdoptMode::copy}).value();
  EXPECT_EQ(adopted.how, AdoptMode::copy);
  const struct stat blob = state_of(store.blob_path(adopted.layer.digest));
  EXPECT_NE(blob.st_ino, state_of(file()).st_ino);
  EXPECT_EQ(blob.st_mode & 0777u, 0444u);
  expect_sound(store, adopted.layer);
}

TEST_F(AdoptTest, RefersToTheFileItselfNotToALinkThatLedThere) {
  fs::create_symlink(file(), folder_.path() / "link.gguf");
  Store store = open_store(home());
  const Adopted adopted =
      store.adopt_file(folder_.path() / "link.gguf", {.mode = AdoptMode::reference}).value();
  EXPECT_EQ(adopted.how, AdoptMode::reference);
  EXPECT_FALSE(fs::exists(store.blob_path(adopted.layer.digest)));
  EXPECT_EQ(store.readable_path(adopted.layer.digest).value(), fs::canonical(file()));
  fs::remove(folder_.path() / "link.gguf");
  expect_sound(store, adopted.layer);
}

TEST_F(AdoptTest, TakesTheNextWayWhenOneIsNotPossible) {
  without(FileOp::clone, EOPNOTSUPP);
  {
    Store store = open_store(folder_.path() / "home1");
    EXPECT_EQ(store.adopt_file(file()).value().how, AdoptMode::link);
  }
  // protected_hardlinks: a file of somebody else.
  set_file_op_hook([](FileOp now, const char*) {
    return now == FileOp::clone ? EOPNOTSUPP : now == FileOp::link ? EPERM : 0;
  });
  {
    Store store = open_store(folder_.path() / "home2");
    EXPECT_EQ(store.adopt_file(file()).value().how, AdoptMode::reference);
  }
  {
    Store store = open_store(folder_.path() / "home3");
    EXPECT_EQ(store.adopt_file(file(), {.may_refer = false}).value().how, AdoptMode::copy);
  }
  // A path that JSON can't hold.
  const fs::path odd = folder_.path() / "mod\xff.gguf";
  fs::copy_file(file(), odd);
  Store store = open_store(folder_.path() / "home4");
  EXPECT_EQ(store.adopt_file(odd).value().how, AdoptMode::copy);
  EXPECT_ERROR(store.adopt_file(file(), {.mode = AdoptMode::clone}), ErrorCode::unsupported);
  EXPECT_TRUE(files_in(folder_.path() / "home4/tmp").empty());
}

TEST_F(AdoptTest, AFullDiskIsNoReasonToTryAnotherWay) {
  Store store = open_store(home());
  without(FileOp::link, ENOSPC);
  EXPECT_ERROR(store.adopt_file(file(), {.mode = AdoptMode::link}), ErrorCode::no_space);
}

TEST_F(AdoptTest, ComparesWithTheWantedDigest) {
  for (const AdoptMode mode :
       {AdoptMode::automatic, AdoptMode::link, AdoptMode::reference, AdoptMode::copy}) {
    Store store = open_store(home());
    const Digest wanted = sha256("something else");
    const auto refused = store.adopt_file(file(), {.mode = mode, .digest = wanted});
    EXPECT_ERROR(refused, ErrorCode::digest_mismatch);
    EXPECT_EQ(refused.error().subject, file().native());
    EXPECT_TRUE(files_in(home() / "blobs").empty());
    EXPECT_TRUE(files_in(home() / "tmp").empty());
  }
  Store store = open_store(home());
  const Digest right = sha256(content_);
  EXPECT_FALSE(store.adopt_file(file(), {.digest = right}).value().was_there);
}

TEST_F(AdoptTest, DoesNotHashWhatIsInUnderItsDigest) {
  Store store = open_store(home());
  const Digest digest = sha256(content_);
  const Adopted first = store.adopt_file(file(), {.digest = digest}).value();
  int steps = 0;
  const auto count = [&](std::uint64_t, std::uint64_t) { return ++steps > 0; };
  const Adopted again = store.adopt_file(file(), {.digest = digest, .progress = count}).value();
  EXPECT_TRUE(again.was_there);
  EXPECT_EQ(steps, 0);
  EXPECT_TRUE(store.adopt_file(file(), {.progress = count}).value().was_there);
  EXPECT_GT(steps, 0) << "without a digest only hashing can tell";
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 0u) << "three leases hold it";
}

TEST_F(AdoptTest, ReplacesADamagedBlobOfTheSameName) {
  const Digest digest = sha256(content_);
  for (const AdoptMode mode : {AdoptMode::automatic, AdoptMode::reference, AdoptMode::copy}) {
    TempFolder other;
    Store store = open_store(other.path() / "home");
    write_file(store.blob_path(digest), "half of it");
    const Adopted adopted = store.adopt_file(file(), {.mode = mode, .digest = digest}).value();
    EXPECT_EQ(store.verify_blob(digest, content_.size()).value().state, BlobCheck::State::good);
    EXPECT_OK(store.put(manifest_of("m:1", {adopted.layer})));
    EXPECT_OK(store.open_model("m:1"));
  }
}

TEST_F(AdoptTest, KeepsChecksumsOfTheChunks) {
  Store store = open_store(home());
  const Adopted adopted = store.adopt_file(file(), {.mode = AdoptMode::copy}).value();
  std::string damaged = content_;
  damaged[16'777'216] ^= 1;
  fs::permissions(store.blob_path(adopted.layer.digest), fs::perms(0644));
  write_file(store.blob_path(adopted.layer.digest), damaged);
  const BlobCheck check = store.verify_blob(adopted.layer.digest, content_.size()).value();
  EXPECT_EQ(check.state, BlobCheck::State::wrong_bytes);
  EXPECT_TRUE(check.has_sums);
  EXPECT_EQ(check.bad_chunks, std::vector<std::uint64_t>{1});
  write_file(store.blob_path(adopted.layer.digest), content_.substr(0, 16'777'216));
  const BlobCheck cut = store.verify_blob(adopted.layer.digest, content_.size()).value();
  EXPECT_EQ(cut.state, BlobCheck::State::wrong_size);
  EXPECT_EQ(cut.bad_chunks, std::vector<std::uint64_t>{1});
}

TEST_F(AdoptTest, AChangedReferenceIsRefusedUntilItsBytesWereSeen) {
  Store store = open_store(home());
  const Adopted adopted = store.adopt_file(file(), {.mode = AdoptMode::reference}).value();
  ASSERT_OK(store.put(manifest_of("m:1", {adopted.layer})));
  const Digest digest = adopted.layer.digest;
  fs::last_write_time(file(), fs::last_write_time(file()) + std::chrono::seconds(5));
  EXPECT_ERROR(store.open_model("m:1"), ErrorCode::corrupt);
  EXPECT_EQ(store.verify_blob(digest, content_.size()).value().state, BlobCheck::State::good);
  EXPECT_OK(store.open_model("m:1"));

  std::string other = content_;
  other[3] ^= 1;
  write_file(file(), other);
  fs::last_write_time(file(), fs::last_write_time(file()) + std::chrono::seconds(9));
  const BlobCheck check = store.verify_blob(digest, content_.size()).value();
  EXPECT_EQ(check.state, BlobCheck::State::wrong_bytes);
  EXPECT_EQ(check.bad_chunks, std::vector<std::uint64_t>{0});
  EXPECT_EQ(check.path, fs::canonical(file()));
  EXPECT_ERROR(store.open_model("m:1"), ErrorCode::corrupt);
  fs::remove(file());
  EXPECT_EQ(store.verify_blob(digest, content_.size()).value().state, BlobCheck::State::missing);
  const auto gone = store.open_model("m:1");
  EXPECT_ERROR(gone, ErrorCode::corrupt);
  EXPECT_EQ(gone.error().subject, check.path.native()) << "says which file is missing";
}

TEST_F(AdoptTest, RefusesWhatIsNoFile) {
  Store store = open_store(home());
  const fs::path fifo = folder_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const AdoptMode mode : {AdoptMode::automatic, AdoptMode::link, AdoptMode::reference}) {
    EXPECT_ERROR(store.adopt_file(fifo, {.mode = mode}), ErrorCode::invalid_argument);
    EXPECT_ERROR(store.adopt_file("/dev/zero", {.mode = mode}), ErrorCode::invalid_argument);
    EXPECT_ERROR(store.adopt_file(folder_.path(), {.mode = mode}), ErrorCode::invalid_argument);
    EXPECT_ERROR(store.adopt_file(folder_.path() / "none", {.mode = mode}), ErrorCode::not_found);
  }
  EXPECT_TRUE(files_in(home() / "blobs").empty());
}

}  // namespace LM_FILE
}  // namespace lm::store
