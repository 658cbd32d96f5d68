// The store as its callers see it: names, blobs, listing, finding, removing, partials.
#include "store/store.h"

#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "store/partials.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace {

class StoreTest : public testing::Test {
 protected:
  fs::path home() const { return folder_.path() / "home"; }
  Store open(Store::Mode mode = Store::Mode::read_write) const { return open_store(home(), mode); }
  TempFolder folder_;
};

TEST_F(StoreTest, MakesItsFoldersWhenOpenedForWriting) {
  const Store store = open();
  for (const char* name : {"blobs", "manifests", "partial", "tmp"}) {
    EXPECT_TRUE(fs::is_directory(home() / name)) << name;
  }
  EXPECT_TRUE(fs::exists(home() / "index.db"));
  EXPECT_TRUE(store.is_writable());
  EXPECT_TRUE(store.warnings().empty());
}

TEST_F(StoreTest, IsEmptyAndUntouchedWhenMissingAndOpenedReadOnly) {
  Store store = open(Store::Mode::read_only);
  EXPECT_TRUE(names_of(store).empty());
  EXPECT_TRUE(store.partials().value().empty());
  EXPECT_ERROR(store.find("a"), ErrorCode::not_found);
  EXPECT_ERROR(store.open_model("a"), ErrorCode::not_found);
  EXPECT_ERROR(store.add_bytes("x"), ErrorCode::read_only);
  EXPECT_ERROR(store.remove("a"), ErrorCode::read_only);
  EXPECT_FALSE(store.has_blob(sha256("x")));
  EXPECT_FALSE(fs::exists(home()));
}

TEST_F(StoreTest, GivesBackWhatWasPutIn) {
  Store store = open();
  const Layer weights = store.add_bytes("weights").value();
  Manifest manifest = manifest_of("Llama3.1:8B", {weights});
  manifest.system = "Be kind.";
  manifest.parameters = {{"stop", {"<a>", "<b>"}}, {"temperature", {"0.5"}}};
  manifest.source_repo = "user/Repo";
  const std::string id = store.put(manifest).value();
  EXPECT_EQ(id, sha256(read_file(home() / "manifests/llama3.1%3a8b.json")).hex());
  EXPECT_EQ(store.find("llama3.1:8b").value(), manifest);
  EXPECT_EQ(store.find(id).value(), manifest);
  EXPECT_EQ(store.find(id.substr(0, 4)).value(), manifest);

  const ModelEntry entry = store.list().value().at(0);
  EXPECT_EQ(entry.name, "Llama3.1:8B");
  EXPECT_EQ(entry.id, id);
  EXPECT_EQ(entry.size_bytes, 7u);
  EXPECT_EQ(entry.modified_unix, 1'700'000'000);
  EXPECT_EQ(entry.used_unix, 0);
  EXPECT_EQ(entry.architecture, "llama");
  EXPECT_EQ(entry.quantization, "Q4_K_M");
  EXPECT_EQ(entry.parameter_count, 1'000'000u);

  const OpenModel model = store.open_model("LLAMA3.1:8b").value();
  EXPECT_EQ(model.id, id);
  ASSERT_EQ(model.model_fds.size(), 1u);
  EXPECT_EQ(model.model_paths[0], store.blob_path(weights.digest));
  char bytes[7];
  EXPECT_EQ(::pread(model.model_fds[0].get(), bytes, 7, 0), 7);
  EXPECT_EQ(std::string_view(bytes, 7), "weights");
  EXPECT_GT(store.list().value().at(0).used_unix, 0);
}

TEST_F(StoreTest, ListsNewestFirstAndByPrefixInAnyCase) {
  Store store = open();
  const Layer layer = store.add_bytes("x").value();
  for (const auto& [name, time] :
       std::map<std::string, int>{{"b:1", 30}, {"a:1", 10}, {"Aa:1", 20}, {"c:1", 20}}) {
    Manifest manifest = manifest_of(name, {layer});
    manifest.modified_unix = time;
    ASSERT_OK(store.put(manifest));
  }
  std::vector<std::string> order;
  const auto entries = store.list().value();
  for (const ModelEntry& entry : entries) {
    order.push_back(entry.name);
  }
  EXPECT_EQ(order, (std::vector<std::string>{"b:1", "Aa:1", "c:1", "a:1"}));
  EXPECT_EQ(names_of(store, "A"), (std::vector<std::string>{"Aa:1", "a:1"}));
  EXPECT_EQ(names_of(store, "aa:"), (std::vector<std::string>{"Aa:1"}));
  EXPECT_TRUE(names_of(store, "a%").empty());
}

TEST_F(StoreTest, AddsTheLatestTagAndKeepsTheFirstSpelling) {
  Store store = open();
  ASSERT_OK(put_texts(store, "MyModel", {"x"}));
  ASSERT_OK(put_texts(store, "mymodel:LATEST", {"y"}));
  EXPECT_EQ(names_of(store), std::vector<std::string>{"MyModel:latest"});
  EXPECT_EQ(store.find("mymodel").value().layers[0].digest, sha256("y"));
  EXPECT_FALSE(store.has_blob(sha256("x"))) << "only the replaced model used it";
}

TEST_F(StoreTest, HintsAtNearMatches) {
  Store store = open();
  ASSERT_OK(put_texts(store, "llama3.1:8b", {"x"}));
  ASSERT_OK(put_texts(store, "qwen3:4b", {"x"}));
  const auto missing = store.find("lama3.1:8b");
  EXPECT_ERROR(missing, ErrorCode::not_found);
  EXPECT_NE(missing.error().hint.find("llama3.1:8b"), std::string::npos) << missing.error().hint;
  EXPECT_EQ(missing.error().hint.find("qwen"), std::string::npos);
  EXPECT_NE(store.find("llama3.1").error().hint.find("llama3.1:8b"), std::string::npos);
}

TEST_F(StoreTest, RefusesAnIdPrefixThatFitsTwo) {
  Store store = open();
  // 400 manifests make two ids with the same four digits all but certain; the test looks for such a
  // pair.
  const Layer layer = store.add_bytes("x").value();
  std::map<std::string, std::string> seen;
  for (int i = 0; i < 4000; ++i) {
    Manifest manifest = manifest_of("m" + std::to_string(i) + ":1", {layer});
    const std::string id = sha256(manifest.to_json()).hex();
    const auto [other, is_new] = seen.emplace(id.substr(0, 4), manifest.name);
    if (is_new) {
      continue;
    }
    ASSERT_OK(store.put(manifest));
    manifest.name = other->second;
    ASSERT_OK(store.put(manifest));
    EXPECT_ERROR(store.find(id.substr(0, 4)), ErrorCode::ambiguous);
    EXPECT_OK(store.find(id.substr(0, 12)));
    EXPECT_ERROR(store.find(id.substr(0, 3)), ErrorCode::not_found);
    return;
  }
  FAIL() << "no pair of ids found";
}

TEST_F(StoreTest, RefusesNamesThatAreNotModelNames) {
  Store store = open();
  const Layer layer = store.add_bytes("x").value();
  for (const std::string name : {"", "../x", "a/../b", "/a", "a//b", "a:", ":a", "a:b:c", "-a",
                                 ".a", "a b", "a\\b", "a\nb", "a%2f", "a@b", "\x1b[31m", "ä"}) {
    EXPECT_ERROR(store.put(manifest_of(name, {layer})), ErrorCode::invalid_name);
    EXPECT_ERROR(store.find(name), ErrorCode::invalid_name);
    EXPECT_ERROR(store.remove(name), ErrorCode::invalid_name);
  }
  EXPECT_ERROR(store.put(manifest_of(std::string(600, 'a'), {layer})), ErrorCode::invalid_name);
  EXPECT_ERROR(store.put(manifest_of(std::string("a\0b", 3), {layer})), ErrorCode::invalid_name);
  EXPECT_TRUE(names_of(store).empty());
}

TEST_F(StoreTest, KeepsLongNamesApart) {
  Store store = open();
  const std::string stem = "hf.co/" + std::string(96, 'u') + "/" + std::string(96, 'r') + ":";
  ASSERT_OK(put_texts(store, stem + "Q4_K_M", {"x"}));
  ASSERT_OK(put_texts(store, stem + "Q8_0", {"y"}));
  EXPECT_EQ(names_of(store).size(), 2u);
  EXPECT_EQ(store.find(stem + "q8_0").value().layers[0].digest, sha256("y"));
}

TEST_F(StoreTest, RefusesAModelWhoseBlobIsNotIn) {
  Store store = open();
  Layer layer = store.add_bytes("x").value();
  layer.digest = sha256("something else");
  const auto missing = store.put(manifest_of("a:1", {layer}));
  EXPECT_ERROR(missing, ErrorCode::not_found);
  EXPECT_NE(missing.error().subject.find(layer.digest.blob_name()), std::string::npos);
  Layer longer = store.add_bytes("x").value();
  longer.size_bytes = 2;
  EXPECT_ERROR(store.put(manifest_of("a:1", {longer})), ErrorCode::size_mismatch);
  EXPECT_ERROR(store.put(manifest_of("a:1", {})), ErrorCode::corrupt);
  EXPECT_TRUE(names_of(store).empty());
  EXPECT_TRUE(files_in(home() / "tmp").empty());
}

TEST_F(StoreTest, CopiesNamesAndSharesBlobs) {
  Store store = open();
  ASSERT_OK(put_texts(store, "a:1", {"shared", "own of a"}));
  ASSERT_OK(store.copy("a:1", "b"));
  EXPECT_EQ(names_of(store), (std::vector<std::string>{"a:1", "b:latest"}));
  EXPECT_EQ(files_in(home() / "blobs").size(), 2u);
  ASSERT_OK(put_texts(store, "c:1", {"shared"}));

  RemoveReport report = store.remove("a:1").value();
  EXPECT_EQ(report.name, "a:1");
  EXPECT_TRUE(report.removed.empty()) << "b still uses both";
  EXPECT_EQ(report.freed_bytes, 0u);
  report = store.remove("b").value();
  EXPECT_EQ(report.removed, std::vector<Digest>{sha256("own of a")});
  EXPECT_EQ(report.freed_bytes, 8u);
  EXPECT_EQ(files_in(home() / "blobs"), std::set<std::string>{sha256("shared").blob_name()});
  ASSERT_OK(store.remove("c:1"));
  EXPECT_TRUE(files_in(home() / "blobs").empty());
  EXPECT_TRUE(files_in(home() / "manifests").empty());
}

TEST_F(StoreTest, CopyRefusesWhatIsMissingAndMisspelt) {
  Store store = open();
  ASSERT_OK(put_texts(store, "a:1", {"x"}));
  EXPECT_ERROR(store.copy("none", "b"), ErrorCode::not_found);
  EXPECT_ERROR(store.copy("a:1", "b:c:d"), ErrorCode::invalid_name);
  EXPECT_OK(store.copy("a:1", "A:1"));
  EXPECT_EQ(names_of(store), std::vector<std::string>{"a:1"});
}

TEST_F(StoreTest, RemoveOnlyReportsWhenAskedTo) {
  Store store = open();
  ASSERT_OK(put_texts(store, "a:1", {"12345"}));
  const RemoveReport report = store.remove("a:1", true).value();
  EXPECT_EQ(report.freed_bytes, 5u);
  EXPECT_EQ(report.removed.size(), 1u);
  EXPECT_EQ(names_of(store).size(), 1u);
  EXPECT_TRUE(store.has_blob(sha256("12345")));
  EXPECT_EQ(store.remove("a:1").value().freed_bytes, 5u);
  EXPECT_ERROR(store.remove("a:1"), ErrorCode::not_found);
}

TEST_F(StoreTest, AnOpenModelOutlivesItsRemoval) {
  Store store = open();
  ASSERT_OK(put_texts(store, "a:1", {"weights"}));
  const OpenModel model = store.open_model("a:1").value();
  ASSERT_OK(store.remove("a:1"));
  char bytes[7];
  EXPECT_EQ(::pread(model.model_fds[0].get(), bytes, 7, 0), 7);
  EXPECT_EQ(std::string_view(bytes, 7), "weights");
}

TEST_F(StoreTest, NamesTheBlobThatIsMissingOrCut) {
  Store store = open();
  ASSERT_OK(put_texts(store, "a:1", {"weights"}));
  const fs::path blob = store.blob_path(sha256("weights"));
  fs::permissions(blob, fs::perms::owner_all);
  write_file(blob, "wei");
  auto opened = store.open_model("a:1");
  EXPECT_ERROR(opened, ErrorCode::corrupt);
  EXPECT_EQ(opened.error().subject, blob.native());
  fs::remove(blob);
  opened = store.open_model("a:1");
  EXPECT_ERROR(opened, ErrorCode::corrupt);
  EXPECT_EQ(opened.error().subject, blob.native());
  EXPECT_EQ(names_of(store).size(), 1u);
  // Adding the bytes again repairs it.
  ASSERT_OK(store.add_bytes("weights"));
  EXPECT_OK(store.open_model("a:1"));
}

TEST_F(StoreTest, BlobsAreReadOnlyFiles) {
  Store store = open();
  ASSERT_OK(store.add_bytes("x"));
  struct stat st{};
  ASSERT_EQ(::stat(store.blob_path(sha256("x")).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777u, 0444u);
}

TEST_F(StoreTest, AdoptsAFileWithoutTouchingIt) {
  Store store = open();
  const fs::path file = folder_.path() / "model.gguf";
  write_file(file, std::string(3'000'000, 'g'));
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
  std::vector<std::uint64_t> steps;
  const Layer layer = store
                          .add_file(file,
                                    [&](std::uint64_t done, std::uint64_t total) {
                                      EXPECT_EQ(total, 3'000'000u);
                                      steps.push_back(done);
                                      return true;
                                    })
                          .value();
  EXPECT_EQ(layer.digest, sha256(std::string(3'000'000, 'g')));
  EXPECT_EQ(layer.size_bytes, 3'000'000u);
  EXPECT_EQ(layer.file_name, "model.gguf");
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
  EXPECT_EQ(steps.back(), 3'000'000u);
  struct stat own{};
  struct stat blob{};
  ASSERT_EQ(::stat(file.c_str(), &own), 0);
  ASSERT_EQ(::stat(store.blob_path(layer.digest).c_str(), &blob), 0);
  EXPECT_EQ(own.st_mode & 0777u, 0600u) << "the owner's mode is not ours to change";
  if (own.st_nlink == 1) {
    EXPECT_EQ(blob.st_mode & 0777u, 0444u) << "a reflink or a copy is our own file";
  } else {
    EXPECT_EQ(own.st_ino, blob.st_ino);
  }
  ASSERT_OK(store.put(manifest_of("a:1", {layer})));
  ASSERT_OK(store.remove("a:1"));
  EXPECT_EQ(fs::file_size(file), 3'000'000u);
  EXPECT_TRUE(files_in(home() / "tmp").empty());
}

TEST_F(StoreTest, CopiesAFileFromAnotherFileSystem) {
  const fs::path elsewhere = fs::temp_directory_path();
  struct stat here{};
  struct stat there{};
  if (::stat(folder_.path().c_str(), &here) != 0 || ::stat(elsewhere.c_str(), &there) != 0 ||
      here.st_dev == there.st_dev) {
    GTEST_SKIP() << "no second file system here";
  }
  const fs::path file = elsewhere / ("lm-store-test-" + std::to_string(::getpid()));
  write_file(file, std::string(2'500'000, 'z'));
  Store store = open();
  const auto layer = store.add_file(file);
  fs::remove(file);
  ASSERT_OK(layer);
  EXPECT_EQ(store.verify_blob(layer->digest, 2'500'000).value().state, BlobCheck::State::good);
}

TEST_F(StoreTest, RefusesWhatIsNoFile) {
  Store store = open();
  EXPECT_ERROR(store.add_file(folder_.path() / "none"), ErrorCode::not_found);
  EXPECT_ERROR(store.add_file(folder_.path()), ErrorCode::invalid_argument);
  EXPECT_ERROR(store.add_file("/dev/zero"), ErrorCode::invalid_argument);
  const fs::path fifo = folder_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_ERROR(store.add_file(fifo), ErrorCode::invalid_argument);
  EXPECT_ERROR(store.add_reference("/dev/zero"), ErrorCode::invalid_argument);
  EXPECT_TRUE(files_in(home() / "tmp").empty());
}

TEST_F(StoreTest, StopsHashingWhenAskedTo) {
  Store store = open();
  const fs::path file = folder_.path() / "model.gguf";
  write_file(file, std::string(3'000'000, 'g'));
  EXPECT_ERROR(store.add_file(file, [](std::uint64_t, std::uint64_t) { return false; }),
               ErrorCode::interrupted);
  EXPECT_TRUE(files_in(home() / "tmp").empty());
  EXPECT_TRUE(files_in(home() / "blobs").empty());
}

TEST_F(StoreTest, RefersToAFileUntilItChanges) {
  Store store = open();
  const fs::path file = folder_.path() / "model.gguf";
  write_file(file, "weights");
  const Layer layer = store.add_reference(file).value();
  ASSERT_OK(store.put(manifest_of("a:1", {layer})));
  const OpenModel model = store.open_model("a:1").value();
  EXPECT_EQ(model.model_paths[0], file);
  EXPECT_EQ(files_in(home() / "blobs"),
            (std::set<std::string>{layer.digest.blob_name() + ".ref",
                                   layer.digest.blob_name() + ".chunks"}));
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 0u);
  EXPECT_OK(store.open_model("a:1"));

  write_file(file, "weighty");
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(5));
  const auto changed = store.open_model("a:1");
  EXPECT_ERROR(changed, ErrorCode::corrupt);
  EXPECT_EQ(changed.error().subject, file.native());
  ASSERT_OK(store.remove("a:1"));
  EXPECT_TRUE(files_in(home() / "blobs").empty());
  EXPECT_EQ(read_file(file), "weighty");
}

TEST_F(StoreTest, KeepsSmallValues) {
  {
    Store store = open();
    EXPECT_EQ(store.value("device.cpu").value(), std::nullopt);
    ASSERT_OK(store.set_value("device.cpu", "{\"gb_s\": 40}"));
    ASSERT_OK(store.set_value("device.cpu", "{\"gb_s\": 41}"));
  }
  EXPECT_EQ(open().value("device.cpu").value(), "{\"gb_s\": 41}");
}

TEST_F(StoreTest, ServesSeveralThreadsAtOnce) {
  Store store = open();
  // Often no model is there, so that only leases keep "shared" between a thread's add and its put.
  constexpr int kRounds = 40;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, t] {
      const std::string name = "m" + std::to_string(t) + ":1";
      for (int i = 0; i < kRounds; ++i) {
        EXPECT_OK(
            put_texts(store, name, {"shared", "own " + std::to_string(t) + std::to_string(i)}));
        EXPECT_OK(store.open_model(name));
        EXPECT_OK(store.list());
        if (i < kRounds - 1) {
          EXPECT_OK(store.remove(name));
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(picture(store).size(), 4u);
  EXPECT_EQ(files_in(home() / "blobs").size(), 5u);
}

// --- downloads

TEST_F(StoreTest, TurnsAPartialIntoABlob) {
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

TEST_F(StoreTest, TakesAPartialWithoutAKnownDigest) {
  Store store = open();
  write_file(home() / "partial/url-00ff.part", "downloaded");
  ASSERT_OK(write_journal(home() / "partial/url-00ff.journal", {.model = "a:1", .size_bytes = 10}));
  ASSERT_OK(store.commit_partial(sha256("downloaded"), 10, {.stem = "url-00ff"}));
  EXPECT_TRUE(store.has_blob(sha256("downloaded")));
  EXPECT_TRUE(files_in(home() / "partial").empty());
}

TEST_F(StoreTest, AnExistingBlobWinsUnlessItIsDamaged) {
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

TEST_F(StoreTest, ListsAndRemovesUnfinishedDownloads) {
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

TEST_F(StoreTest, LeavesADownloadThatSomebodyIsWorkingOn) {
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

TEST_F(StoreTest, ALockThatWasWaitedForIsOnTheFileThatHasTheName) {
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

TEST_F(StoreTest, UnlocksAPartialThatACrashLeftReadOnly) {
  Store store = open();
  const fs::path part = store.partial_path(sha256("x"));
  write_file(part, "x");
  fs::permissions(part, fs::perms::owner_read);
  EXPECT_TRUE(lock_partial(part, false).value().has_value());
}

// --- leases and gc

TEST_F(StoreTest, GarbageIsWhatNobodyNames) {
  Store store = open();
  ASSERT_OK(put_texts(store, "a:1", {"used"}));
  ASSERT_OK(store.add_bytes("lost"));
  Layer leased = store.add_bytes("leased").value();
  write_file(home() / "blobs/notes.txt", "the user's");
  write_file(home() / "blobs" / (sha256("gone").blob_name() + ".chunks"), "orphan");
  write_file(home() / "tmp/leftover", "123");
  EXPECT_EQ(store.collect_garbage(std::chrono::hours(24)).value(), 0u) << "all too young";
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 4u + 6u + 3u);
  EXPECT_EQ(files_in(home() / "blobs"),
            (std::set<std::string>{sha256("used").blob_name(), sha256("leased").blob_name(),
                                   "notes.txt"}));
  EXPECT_TRUE(files_in(home() / "tmp").empty());
  leased = {};
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 6u);
}

TEST_F(StoreTest, PutEndsTheLeasesItsLayersCarryAndNoOthers) {
  Store store = open();
  for (const char* other_model : {"", "a", "other"}) {
    SCOPED_TRACE(other_model);
    Lease other = store.take_lease(sha256("x"), other_model).value();
    const Layer layer = store.add_bytes("x").value();
    ASSERT_OK(store.put(manifest_of("A:latest", {layer})));
    EXPECT_TRUE(store.remove("a").value().removed.empty()) << "somebody else's lease still stands";
    EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 0u);
    other.release();
    EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 1u)
        << "the layer is still here, but its lease went into the model";
  }
}

TEST_F(StoreTest, EveryHolderOfALeaseCounts) {
  Store store = open();
  std::optional<Layer> first = store.add_bytes("x").value();
  std::optional<Layer> copy_of_first = first;
  std::optional<Layer> second = store.add_bytes("x").value();
  for (std::optional<Layer>* holder : {&first, &second}) {
    holder->reset();
    EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 0u);
  }
  copy_of_first.reset();
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 1u);
}

TEST_F(StoreTest, LeasesOfOneStoreHoldInAnotherOfTheSameProcess) {
  fs::create_directory(home());
  fs::create_symlink(home(), folder_.path() / "link");
  std::optional<Layer> outlives;
  Store other = open_store(folder_.path() / "link");
  {
    Store store = open();
    outlives = store.add_bytes("x").value();
    ASSERT_OK(put_texts(other, "a:1", {"x"}));
    EXPECT_TRUE(other.remove("a:1").value().removed.empty());
    // Also when the row is lost with the index.
    write_file(home() / "index.db", std::string(20'000, 'n'));
  }
  EXPECT_EQ(other.collect_garbage(std::chrono::seconds(0)).value(), 0u);
  EXPECT_TRUE(other.has_blob(sha256("x")));
  outlives.reset();
  EXPECT_EQ(other.collect_garbage(std::chrono::seconds(0)).value(), 1u);
}

TEST_F(StoreTest, GarbageCollectionStopsAtAManifestItCannotRead) {
  Store store = open();
  ASSERT_OK(put_texts(store, "a:1", {"x"}));
  ASSERT_OK(put_texts(store, "b:1", {"y"}));
  ASSERT_OK(store.add_bytes("lost"));
  const fs::path manifest = home() / "manifests/b%3a1.json";
  const std::string good = read_file(manifest);
  for (const std::string& bad :
       {std::string(), good.substr(0, good.size() / 2), std::string("{}")}) {
    write_file(manifest, bad);
    const auto collected = store.collect_garbage(std::chrono::seconds(0));
    ASSERT_FALSE(collected.has_value());
    EXPECT_EQ(collected.error().subject, manifest.native());
    EXPECT_EQ(files_in(home() / "blobs").size(), 3u);
    EXPECT_TRUE(store.remove("a:1", true).value().removed.empty());
  }
  Store again = open();
  EXPECT_EQ(names_of(again), std::vector<std::string>{"a:1"});
  EXPECT_EQ(again.warnings().size(), 1u);
  EXPECT_ERROR(again.find("b:1"), ErrorCode::corrupt);
  EXPECT_TRUE(again.remove("a:1").value().removed.empty()) << "perhaps the damaged one uses it too";
  write_file(manifest, good);
  EXPECT_EQ(names_of(again), std::vector<std::string>{"b:1"});
  EXPECT_EQ(again.collect_garbage(std::chrono::seconds(0)).value(), 5u);
  EXPECT_EQ(picture(again).size(), 1u);

  write_file(manifest, "{}");
  EXPECT_ERROR(again.find("b:1"), ErrorCode::corrupt);
  EXPECT_EQ(again.remove("b:1", true).value().freed_bytes, 0u);
  EXPECT_OK(again.remove("b:1"));
  EXPECT_FALSE(fs::exists(manifest));
  EXPECT_ERROR(again.find("b:1"), ErrorCode::not_found);
  EXPECT_EQ(again.collect_garbage(std::chrono::seconds(0)).value(), 1u);
}

TEST_F(StoreTest, FindsTheDamagedChunks) {
  Store store = open();
  std::string bytes(static_cast<std::size_t>(kChunkBytes * 2 + 1000), 'a');
  const Digest digest = sha256(bytes);
  std::vector<std::uint64_t> sums;
  for (std::size_t at = 0; at < bytes.size(); at += kChunkBytes) {
    sums.push_back(
        chunk_hash(std::as_bytes(std::span(std::string_view(bytes).substr(at, kChunkBytes)))));
  }
  write_file(store.partial_path(digest), bytes);
  ASSERT_OK(store.commit_partial(digest, bytes.size(), {.chunk_sums = sums}));
  EXPECT_EQ(store.verify_blob(digest, bytes.size()).value().state, BlobCheck::State::good);

  fs::permissions(store.blob_path(digest), fs::perms::owner_all);
  bytes[kChunkBytes + 5] ^= 1;
  bytes[2 * kChunkBytes + 999] ^= 1;
  write_file(store.blob_path(digest), bytes);
  BlobCheck check = store.verify_blob(digest, bytes.size()).value();
  EXPECT_EQ(check.state, BlobCheck::State::wrong_bytes);
  EXPECT_EQ(check.bad_chunks, (std::vector<std::uint64_t>{1, 2}));
  fs::resize_file(store.blob_path(digest), 1000);
  check = store.verify_blob(digest, bytes.size()).value();
  EXPECT_EQ(check.state, BlobCheck::State::wrong_size);
  EXPECT_EQ(check.found_bytes, 1000u);
  fs::remove(store.blob_path(digest));
  EXPECT_EQ(store.verify_blob(digest, bytes.size()).value().state, BlobCheck::State::missing);
}

}  // namespace
}  // namespace lm::store
