// Commands whose every step the sweeps interrupt.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/partials.h"
#include "tests/store/store_fixture.h"

namespace lm::store {

/// Runs on a store in which `prepare_store` has put "base:1" {shared, one} and "other:1" {shared,
/// two}.
struct SweepCommand {
  std::string name;
  std::function<Result<void>(Store&, const fs::path& home)> run;
  /// Done before, without faults; may be empty.
  std::function<void(const fs::path& home)> before = {};
};

inline void prepare_store(const fs::path& home) {
  Store store = open_store(home);
  EXPECT_OK(put_texts(store, "base:1", {"shared", "one"}));
  EXPECT_OK(put_texts(store, "other:1", {"shared", "two"}));
  write_file(home.parent_path() / "model.gguf", std::string(2'100'000, 'g'));
}

inline Result<void> forget(Result<std::string> result) {
  LM_CHECK(result);
  return {};
}

// As registry/ does it, with the content at hand.
inline Result<void> download(Store& store, const std::string& name, const std::string& content) {
  const Digest digest = sha256(content);
  LM_TRY(Lease lease, store.take_lease(digest, name));
  if (!store.has_blob(digest)) {
    LM_TRY(const std::optional<Fd> fd, lock_partial(store.partial_path(digest), true));
    const auto bytes = std::as_bytes(std::span(content));
    const std::string subject = store.partial_path(digest).native();
    Journal journal{.repo = "u/r", .model = name, .size_bytes = content.size(), .sha256 = digest};
    LM_CHECK(set_length(fd->get(), content.size(), true, subject));
    for (const std::size_t half : {std::size_t{0}, content.size() / 2}) {
      const std::size_t end = half == 0 ? content.size() / 2 : content.size();
      LM_CHECK(write_at(fd->get(), bytes.subspan(half, end - half), half, subject));
      LM_CHECK(sync_data(fd->get(), subject));
      add_range(journal.done, {half, end});
      LM_CHECK(write_journal(store.journal_path(digest), journal));
    }
    const std::vector<std::uint64_t> sums = {chunk_hash(bytes)};
    LM_CHECK(store.commit_partial(digest, content.size(), {.chunk_sums = sums}));
  }
  const Layer layer{.digest = digest, .size_bytes = content.size(), .lease = std::move(lease)};
  return forget(store.put(manifest_of(name, {layer})));
}

inline std::vector<SweepCommand> sweep_commands() {
  const auto ignore_missing = [](Result<RemoveReport> report) -> Result<void> {
    if (!report && report.error().code != ErrorCode::not_found) {
      return std::unexpected(report.error());
    }
    return {};
  };
  return {
      {"put",
       [](Store& store, const fs::path&) {
         return forget(put_texts(store, "new:1", {"shared", "three"}));
       }},
      {"replace",
       [](Store& store, const fs::path&) {
         return forget(put_texts(store, "base:1", {"shared", "four"}));
       }},
      {"add_file",
       [](Store& store, const fs::path& home) -> Result<void> {
         LM_TRY(const Layer layer, store.add_file(home.parent_path() / "model.gguf"));
         return forget(store.put(manifest_of("file:1", {layer})));
       }},
      {"adopt_link",
       [](Store& store, const fs::path& home) -> Result<void> {
         LM_TRY(const Adopted adopted,
                store.adopt_file(home.parent_path() / "model.gguf", {.mode = AdoptMode::link}));
         return forget(store.put(manifest_of("link:1", {adopted.layer})));
       }},
      {"adopt_copy",
       [](Store& store, const fs::path& home) -> Result<void> {
         LM_TRY(const Adopted adopted,
                store.adopt_file(home.parent_path() / "model.gguf", {.mode = AdoptMode::copy}));
         return forget(store.put(manifest_of("copy:1", {adopted.layer})));
       }},
      {"add_reference",
       [](Store& store, const fs::path& home) -> Result<void> {
         LM_TRY(const Layer layer, store.add_reference(home.parent_path() / "model.gguf"));
         return forget(store.put(manifest_of("ref:1", {layer})));
       }},
      {"download",
       [](Store& store, const fs::path&) { return download(store, "hub:q4", "downloaded"); }},
      {"copy", [](Store& store, const fs::path&) { return store.copy("base:1", "copied"); }},
      {"copy_over", [](Store& store, const fs::path&) { return store.copy("base:1", "other:1"); }},
      {"remove",
       [=](Store& store, const fs::path&) { return ignore_missing(store.remove("base:1")); }},
      {"remove_download",
       [=](Store& store, const fs::path&) { return ignore_missing(store.remove("half:1")); },
       [](const fs::path& home) {
         Store store = open_store(home);
         const Digest digest = sha256("half");
         write_file(store.partial_path(digest), "half");
         EXPECT_OK(write_journal(store.journal_path(digest), {.model = "half:1", .size_bytes = 9}));
       }},
      {"gc",
       [](Store& store, const fs::path&) -> Result<void> {
         LM_CHECK(store.collect_garbage(std::chrono::seconds(0)));
         LM_CHECK(store.prune_partials(std::chrono::seconds(0)));
         return {};
       },
       [](const fs::path& home) {
         Store store = open_store(home);
         EXPECT_OK(store.add_bytes("lost 1"));
         EXPECT_OK(store.add_bytes("lost 2"));
         write_file(home / "tmp/left", "x");
         write_file(home / "partial/url-1.part", "x");
         write_file(home / "partial/url-2.journal", "x");
       }},
      {"prune",
       [](Store& store, const fs::path&) -> Result<void> {
         LM_CHECK(store.prune({.blob_age = std::chrono::seconds(0),
                               .partial_age = std::chrono::seconds(0),
                               .old_indexes = true}));
         return {};
       },
       [](const fs::path& home) {
         Store store = open_store(home);
         EXPECT_OK(store.add_bytes("lost"));
         EXPECT_OK(store.add_reference(home.parent_path() / "model.gguf"));
         write_file(home / "tmp/left", "x");
         write_file(home / "partial/url-1.part", "x");
         write_file(home / "partial/url-1.journal", "x");
         write_file(home / "index.db.corrupt-1700000000", "x");
       }},
      {"heal",
       [](Store& store, const fs::path&) -> Result<void> {
         return forget(Result<std::string>(store.home()));
       },
       [](const fs::path& home) {
         // The index knows a model that is gone and doesn't know one that is there.
         Store store = open_store(home);
         const std::string text = read_file(home / "manifests/base%3a1.json");
         EXPECT_OK(store.copy("base:1", "third:1"));
         fs::rename(home / "manifests/third%3a1.json", home / "third");
         EXPECT_OK(store.list());
         fs::rename(home / "third", home / "manifests/third%3a1.json");
       }},
      {"rebuild",
       [](Store& store, const fs::path&) -> Result<void> {
         return forget(Result<std::string>(store.home()));
       },
       [](const fs::path& home) { write_file(home / "index.db", std::string(20'000, 'n')); }},
  };
}

/// After recovery and a full clean-up nothing may be left that no model needs.
inline void expect_nothing_leaked(const fs::path& home) {
  Store store = open_store(home);
  ASSERT_OK(store.collect_garbage(std::chrono::seconds(0)));
  ASSERT_OK(store.prune_partials(std::chrono::seconds(0)));
  std::set<std::string> needed;
  std::set<std::string> manifests;
  for (const std::string& name : names_of(store)) {
    const Manifest manifest = store.find(name).value();
    manifests.insert(manifest_key(name) + ".json");
    for (const Layer& layer : manifest.layers) {
      needed.insert(layer.digest.blob_name());
    }
  }
  std::set<std::string> found;
  for (const std::string& name : files_in(home / "blobs")) {
    const std::string stem = name.substr(0, 7 + 64);
    EXPECT_TRUE(needed.contains(stem)) << name;
    if (!name.ends_with(".chunks")) {
      found.insert(stem);
    }
  }
  EXPECT_EQ(found, needed);
  EXPECT_EQ(files_in(home / "manifests"), manifests);
  EXPECT_TRUE(files_in(home / "tmp").empty());
  EXPECT_TRUE(files_in(home / "partial").empty());
}

}  // namespace lm::store
