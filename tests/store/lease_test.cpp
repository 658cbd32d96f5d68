// Leases, and what is garbage.
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

class LeaseTest : public StoreTest {};

TEST_F(LeaseTest, GarbageIsWhatNobodyNames) {
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

TEST_F(LeaseTest, PutEndsTheLeasesItsLayersCarryAndNoOthers) {
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

TEST_F(LeaseTest, EveryHolderOfALeaseCounts) {
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

TEST_F(LeaseTest, LeasesOfOneStoreHoldInAnotherOfTheSameProcess) {
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

TEST_F(LeaseTest, GarbageCollectionStopsAtAManifestItCannotRead) {
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

}  // namespace LM_FILE
}  // namespace lm::store
