// The store as its callers see it: names, listing, finding, copying, removing, values, threads.
#include "store/store.h"

#include <thread>

#include <unistd.h>

#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

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

}  // namespace LM_FILE
}  // namespace lm::store
