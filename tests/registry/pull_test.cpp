// The whole way: name, hub, CDN, store.
#include <algorithm>

#include "store/journal.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

constexpr std::size_t kMiB = 1 << 20;

TEST_F(PullTest, FetchesAModelFromHubToStore) {
  start();
  const std::string bytes = noise(40 * kMiB + 123);
  hub_->add_file("alice/tiny-GGUF", "tiny-Q4_K_M.gguf", bytes);
  hub_->add_file("alice/tiny-GGUF", "tiny-Q8_0.gguf", noise(1000));
  hub_->add_file("alice/tiny-GGUF", "LICENSE", "do as you like\n");
  hub_->set_license("alice/tiny-GGUF", "mit");

  const auto result = pull_name("hf.co/alice/tiny-GGUF");
  ASSERT_TRUE(result) << result.error().subject << ": " << result.error().problem;
  EXPECT_EQ(result->name, "hf.co/alice/tiny-GGUF:Q4_K_M");
  EXPECT_EQ(result->label, "Q4_K_M");
  EXPECT_EQ(result->commit, hub_->commit("alice/tiny-GGUF"));
  EXPECT_EQ(result->fetched_bytes, bytes.size());
  EXPECT_EQ(hub_->weight_bytes(), bytes.size());
  EXPECT_TRUE(stored_bytes(result->name) == bytes);

  const auto manifest = open_store().find(result->name);
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->source_repo, "alice/tiny-GGUF");
  EXPECT_EQ(manifest->source_path, "tiny-Q4_K_M.gguf");
  EXPECT_EQ(manifest->licenses, std::vector<std::string>{"do as you like\n"});
  EXPECT_EQ(files_in("partial"), std::vector<std::string>{});
}

TEST_F(PullTest, TellsWhatItDoesInOrder) {
  start();
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(20 * kMiB));
  ASSERT_TRUE(pull_name("u/r"));
  std::vector<std::string> words;
  std::uint64_t last = 0;
  for (const PullEvent& event : events_) {
    if (event.kind == PullEvent::Kind::progress) {
      EXPECT_GE(event.completed_bytes, last);
      EXPECT_EQ(event.total_bytes, 20 * kMiB);
      last = event.completed_bytes;
    } else {
      words.push_back(event.kind == PullEvent::Kind::file_started ? event.digest : event.text);
    }
  }
  EXPECT_EQ(last, 20 * kMiB);
  EXPECT_EQ(words, (std::vector<std::string>{
                       "pulling manifest", "sha256:" + hub_->digest_hex("u/r", "m-Q4_0.gguf"),
                       "verifying sha256 digest", "writing manifest", "success"}));
}

TEST_F(PullTest, NamesWhatItStored) {
  start();
  hub_->add_file("Alice/Tiny-GGUF", "tiny-Q4_K_M.gguf", noise(5000, 1));
  hub_->add_file("Alice/Tiny-GGUF", "tiny-UD-Q4_K_XL.gguf", noise(5000, 2));
  hub_->add_file("Alice/Tiny-GGUF", "tiny-Q8_0.gguf", noise(5000, 3));
  hub_->add_file("Alice/Plain", "model.gguf", noise(5000, 4));
  struct Case {
    const char* typed;
    PullOptions options;
    const char* stored;
    const char* file;
  };
  const Case cases[] = {
      {"hf.co/Alice/Tiny-GGUF", {}, "hf.co/Alice/Tiny-GGUF:Q4_K_M", "tiny-Q4_K_M.gguf"},
      {"alice/tiny-gguf:latest", {}, "hf.co/Alice/Tiny-GGUF:Q4_K_M", "tiny-Q4_K_M.gguf"},
      {"hf://Alice/Tiny-GGUF:q8_0", {}, "hf.co/Alice/Tiny-GGUF:Q8_0", "tiny-Q8_0.gguf"},
      {"Alice/Tiny-GGUF:q8", {}, "hf.co/Alice/Tiny-GGUF:q8", "tiny-Q8_0.gguf"},
      {"Alice/Tiny-GGUF:Q4_K_XL", {}, "hf.co/Alice/Tiny-GGUF:Q4_K_XL", "tiny-UD-Q4_K_XL.gguf"},
      {"Alice/Tiny-GGUF:tiny-Q8_0.gguf",
       {},
       "hf.co/Alice/Tiny-GGUF:tiny-Q8_0.gguf",
       "tiny-Q8_0.gguf"},
      {"Alice/Tiny-GGUF", {.quant = "q8_0"}, "hf.co/Alice/Tiny-GGUF:Q8_0", "tiny-Q8_0.gguf"},
      {"Alice/Tiny-GGUF",
       {.file = "tiny-UD-Q4_K_XL.gguf"},
       "hf.co/Alice/Tiny-GGUF:UD-Q4_K_XL",
       "tiny-UD-Q4_K_XL.gguf"},
      {"Alice/Plain", {}, "hf.co/Alice/Plain:latest", "model.gguf"},
  };
  auto store = open_store();
  for (const Case& c : cases) {
    const auto result = pull_name(store, c.typed, c.options);
    ASSERT_TRUE(result) << c.typed << ": " << result.error().problem;
    EXPECT_EQ(result->name, c.stored) << c.typed;
    EXPECT_EQ(result->files, std::vector<std::string>{c.file}) << c.typed;
    EXPECT_TRUE(store.find(c.stored)) << c.typed;
    if (c.options.quant.empty() && c.options.file.empty()) {
      const auto known = stored_name(store, *ModelRef::parse(c.typed));
      EXPECT_TRUE(known) << c.typed;
    }
  }
  EXPECT_EQ(stored_name(store, *ModelRef::parse("Alice/Tiny-GGUF")),
            "hf.co/Alice/Tiny-GGUF:Q4_K_M");
  EXPECT_FALSE(stored_name(store, *ModelRef::parse("Alice/Other")));
  EXPECT_FALSE(stored_name(store, *ModelRef::parse("Alice/Tiny-GGUF:Q2_K")));
}

TEST_F(PullTest, ResolvesShortNamesAndKeepsThem) {
  start();
  hub_->add_file("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
                 "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", noise(5000, 1));
  hub_->add_file("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
                 "Meta-Llama-3.1-8B-Instruct-Q8_0.gguf", noise(5000, 2));
  auto store = open_store();
  EXPECT_EQ(pull_name(store, "llama3.1:8b")->name, "llama3.1:8b");
  EXPECT_EQ(pull_name(store, "llama3.1")->name, "llama3.1:latest");
  EXPECT_EQ(pull_name(store, "llama3.1:8b-instruct-q8_0")->name, "llama3.1:8b-instruct-q8_0");
  const auto other = pull_name(store, "llama3.1:8b", {.quant = "Q8_0"});
  ASSERT_TRUE(other);
  EXPECT_EQ(other->name, "llama3.1:8b-q8_0");
  EXPECT_EQ(other->label, "Q8_0");
  EXPECT_EQ(other->fetched_bytes, 0u);  // names share blobs
  EXPECT_EQ(store.list()->size(), 4u);
}

TEST_F(PullTest, TakesTheFallbackRepository) {
  start();
  hub_->add_file("unsloth/Qwen3-8B-GGUF", "Qwen3-8B-Q4_K_M.gguf", noise(5000));
  const auto result = pull_name("qwen3:8b");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_EQ(result->repo, "unsloth/Qwen3-8B-GGUF");
  EXPECT_TRUE(said(PullEvent::Kind::warning, "trying unsloth/Qwen3-8B-GGUF"));
}

TEST_F(PullTest, NamesNearOnesForAnUnknownShortName) {
  start();
  const auto result = pull_name("lama3.1:8b");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
  EXPECT_NE(result.error().hint.find("llama3.1:8b"), std::string::npos);
  EXPECT_NE(result.error().hint.find("hf.co/<user>/<repo>"), std::string::npos);
  EXPECT_TRUE(hub_->log().empty());
}

TEST_F(PullTest, FetchesNothingWhenCurrent) {
  start();
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(5000));
  const auto first = pull_name("u/r");
  ASSERT_TRUE(first);
  hub_->clear_log();
  const auto again = pull_name("u/r");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->already_current);
  EXPECT_EQ(again->id, first->id);
  EXPECT_EQ(again->fetched_bytes, 0u);
  EXPECT_EQ(hub_->weight_bytes(), 0u);
  EXPECT_TRUE(said(PullEvent::Kind::status, "up to date"));

  hub_->add_file("u/r", "README.md", "another commit, the same weights");
  EXPECT_TRUE(pull_name("u/r")->already_current);
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(5000, 2));
  const auto updated = pull_name("u/r");
  ASSERT_TRUE(updated);
  EXPECT_FALSE(updated->already_current);
  EXPECT_TRUE(stored_bytes("hf.co/u/r:Q4_0") == noise(5000, 2));
}

TEST_F(PullTest, FetchesAgainWhatIsMissingOrTruncated) {
  start();
  const std::string bytes = noise(5000);
  hub_->add_file("u/r", "m-Q4_0.gguf", bytes);
  ASSERT_TRUE(pull_name("u/r"));
  const auto digest = *store::Digest::parse_hex(hub_->digest_hex("u/r", "m-Q4_0.gguf"));
  std::filesystem::path path;
  {
    path = open_store().blob_path(digest);
  }
  std::filesystem::permissions(path, std::filesystem::perms::owner_write,
                               std::filesystem::perm_options::add);
  std::filesystem::resize_file(path, 100);
  const auto mended = pull_name("u/r");
  ASSERT_TRUE(mended) << mended.error().problem;
  EXPECT_EQ(mended->fetched_bytes, bytes.size());
  EXPECT_TRUE(stored_bytes("hf.co/u/r:Q4_0") == bytes);
  std::filesystem::remove(path);
  ASSERT_TRUE(pull_name("u/r"));
  EXPECT_TRUE(stored_bytes("hf.co/u/r:Q4_0") == bytes);
}

TEST_F(PullTest, TakesSplitModelsAndProjectorsAsOne) {
  start();
  for (int i = 1; i <= 3; ++i) {
    hub_->add_file("u/r", "Q8_0/m-Q8_0-0000" + std::to_string(i) + "-of-00003.gguf",
                   noise(static_cast<std::size_t>(3000 + i), static_cast<std::uint64_t>(i)));
  }
  hub_->add_file("u/r", "mmproj-F16.gguf", noise(700, 9));
  const auto result = pull_name("u/r:Q8_0");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_EQ(result->files.size(), 4u);
  const auto manifest = open_store().find(result->name);
  ASSERT_TRUE(manifest);
  ASSERT_EQ(manifest->layers.size(), 4u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(manifest->layers[i].kind, store::LayerKind::model);
    EXPECT_TRUE(stored_bytes(result->name, i) == noise(3001 + i, i + 1));
  }
  EXPECT_EQ(manifest->layers[3].kind, store::LayerKind::projector);
  EXPECT_EQ(open_store().list()->size(), 1u);
}

TEST_F(PullTest, TakesEmptyAndTinyFiles) {
  start();
  hub_->add_file("u/empty", "m-Q4_0.gguf", "");
  hub_->add_file("u/one", "m-Q4_0.gguf", "x");
  hub_->add_file("u/chunk", "m-Q4_0.gguf", noise(16 * kMiB));
  for (const char* name : {"u/empty", "u/one", "u/chunk"}) {
    const auto result = pull_name(name);
    ASSERT_TRUE(result) << name << ": " << result.error().problem;
    EXPECT_EQ(stored_bytes(result->name).size(), result->total_bytes);
  }
}

TEST_F(PullTest, ReportsWithoutFetchingInADryRun) {
  start();
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(5000));
  const auto result = pull_name("u/r", {.dry_run = true});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->total_bytes, 5000u);
  EXPECT_EQ(result->name, "hf.co/u/r:Q4_0");
  EXPECT_EQ(hub_->weight_bytes(), 0u);
  EXPECT_TRUE(open_store().list()->empty());
}

TEST_F(PullTest, AsksNobodyWhenOffline) {
  start();
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(5000));
  settings_.offline = true;
  for (const char* name : {"u/r", "llama3.1:8b", "https://example.org/x.gguf"}) {
    const auto result = pull_name(name);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::offline);
  }
  EXPECT_TRUE(hub_->log().empty());
}

TEST_F(PullTest, LetsTheInspectorRefuseAModel) {
  start();
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(5000));
  auto store = open_store();
  const auto refused = pull(
      store, settings_, *ModelRef::parse("u/r"), {},
      [](const std::vector<std::filesystem::path>& paths) -> Result<GgufSummary> {
        EXPECT_EQ(paths.size(), 1u);
        return std::unexpected(
            Error{.code = ErrorCode::corrupt, .subject = "m", .problem = "no GGUF"});
      },
      {}, stop_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().problem, "no GGUF");
  EXPECT_TRUE(store.list()->empty());
  const auto taken = pull(
      store, settings_, *ModelRef::parse("u/r"), {},
      [](const std::vector<std::filesystem::path>&) -> Result<GgufSummary> {
        return GgufSummary{.architecture = "llama", .quantization = "Q4_0", .parameter_count = 7};
      },
      {}, stop_);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->fetched_bytes, 0u);
  EXPECT_EQ(store.list()->front().architecture, "llama");
}

TEST_F(PullTest, PagesThroughALongTree) {
  start({.page_entries = 3, .name_the_real_hub = true});
  for (int i = 0; i < 20; ++i) {
    hub_->add_file("u/r", "docs/" + std::to_string(i) + ".txt", "x");
  }
  hub_->add_file("u/r", "z-Q4_0.gguf", noise(5000));
  const auto result = pull_name("u/r");
  ASSERT_TRUE(result) << result.error().problem;
  const auto log = hub_->log();
  const auto pages = std::count_if(log.begin(), log.end(), [](const auto& record) {
    return record.target.find("/tree/") != std::string::npos;
  });
  EXPECT_EQ(pages, 7);
}

TEST_F(PullTest, FollowsRenamesOnTheHub) {
  for (const bool real_hub : {false, true}) {
    start({.name_the_real_hub = real_hub});
    hub_->add_file("old/r", "m-Q4_0.gguf", noise(5000));
    hub_->rename("old/r", "new/R");
    const auto result = pull_name("old/r");
    ASSERT_TRUE(result) << result.error().problem;
    EXPECT_EQ(result->name, "hf.co/new/R:Q4_0");
  }
}

TEST_F(PullTest, UsesOneSnapshotThroughout) {
  start();
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(5000, 1));
  const std::string commit = hub_->commit("u/r");
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(5000, 2));
  const auto old = pull_name("u/r", {.revision = commit});
  ASSERT_TRUE(old) << old.error().problem;
  EXPECT_EQ(old->commit, commit);
  EXPECT_TRUE(stored_bytes(old->name) == noise(5000, 1));
  const auto log = hub_->log();
  for (const auto& record : log) {
    if (record.target.find("/resolve/") != std::string::npos) {
      EXPECT_NE(record.target.find(commit), std::string::npos) << record.target;
    }
  }
}

TEST_F(PullTest, FetchesPlainAddresses) {
  start({.without_cdn = true});
  const std::string bytes = noise(20 * kMiB);
  hub_->add_file("u/r", "dir/My-Model.Q4_0.gguf", bytes);
  const std::string address = hub_->endpoint() + "/u/r/resolve/main/dir/My-Model.Q4_0.gguf";
  const auto result = pull_name(address);
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_EQ(result->name, "My-Model.Q4_0:latest");
  EXPECT_TRUE(stored_bytes("My-Model.Q4_0") == bytes);
  EXPECT_TRUE(pull_name(address)->already_current);
  hub_->add_file("u/other", "My-Model.Q4_0.gguf", noise(300));
  const auto clash = pull_name(hub_->endpoint() + "/u/other/resolve/main/My-Model.Q4_0.gguf");
  ASSERT_FALSE(clash);
  EXPECT_EQ(clash.error().code, ErrorCode::already_exists);
  const auto missing = pull_name(hub_->endpoint() + "/u/r/resolve/main/none.gguf");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
}

TEST_F(PullTest, FetchesAPlainAddressWithoutAKnownDigest) {
  start();
  const std::string bytes = noise(20 * kMiB);
  hub_->add_file("u/r", "m.gguf", bytes);
  // The CDN's own address: an ETag that is no SHA-256, and no linked fields.
  std::string address;
  on_event_ = {};
  ASSERT_TRUE(pull_name("u/r"));
  for (const auto& record : hub_->log()) {
    if (record.cdn) {
      address = hub_->cdn_origin() + record.target;
    }
  }
  hub_->clear_log();
  {
    ASSERT_TRUE(open_store().remove("hf.co/u/r"));
  }
  int seen = 0;
  on_event_ = [&](const PullEvent& event) {
    if (event.kind == PullEvent::Kind::progress && event.completed_bytes > 0 && ++seen == 1) {
      stop_ = true;
    }
  };
  hub_->set_bytes_per_second(20 * kMiB);
  const auto stopped = pull_name(address);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::interrupted);
  on_event_ = {};
  stop_ = false;
  hub_->set_bytes_per_second(0);
  const auto result = pull_name(address);
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_LT(result->fetched_bytes, bytes.size());
  EXPECT_EQ(result->name, "m:latest");
  EXPECT_TRUE(stored_bytes("m") == bytes);
  EXPECT_EQ(files_in("partial"), std::vector<std::string>{});
  EXPECT_TRUE(pull_name(address)->already_current);
}

TEST_F(PullTest, FetchesWeightsThatLieInGitItself) {
  start({.without_lfs = true});
  const std::string bytes = noise(20 * kMiB);
  hub_->add_file("u/r", "m-Q4_0.gguf", bytes);
  const auto result = pull_name("u/r");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_TRUE(stored_bytes(result->name) == bytes);
  EXPECT_TRUE(files_in("partial").empty());
}

TEST_F(PullTest, RefusesAWebPageAsAModel) {
  start();
  hub_->add_fault({.kind = test::Fault::Kind::web_page, .times = 10, .cdn = false});
  const auto result = pull_name(hub_->endpoint() + "/blob/m.gguf");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::protocol);
  EXPECT_NE(result.error().problem.find("web page"), std::string::npos);
}

TEST_F(PullTest, RefusesWrongNamesAndNumbers) {
  start();
  EXPECT_EQ(pull_name("u/r--x").error().code, ErrorCode::invalid_name);
  EXPECT_EQ(pull_name("u/r", {.connections = 17}).error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(hub_->log().empty());
}

TEST_F(PullTest, WarnsBeforeTheTokenGoesToAnotherHub) {
  start();
  settings_.endpoint = "http://mirror.invalid";
  settings_.token = Secret("hf_secret");
  settings_.token_source = "HF_TOKEN";
  settings_.tuning.max_tries = 0;
  EXPECT_FALSE(pull_name("u/r"));
  EXPECT_TRUE(said(PullEvent::Kind::warning, "http://mirror.invalid"));
  for (const PullEvent& event : events_) {
    EXPECT_EQ(event.text.find("hf_secret"), std::string::npos);
  }
}

TEST_F(PullTest, LimitsTheRateWithoutLosingBytes) {
  start();
  const std::string bytes = noise(6 * kMiB);
  hub_->add_file("u/r", "m-Q4_0.gguf", bytes);
  const auto result = pull_name("u/r", {.limit_rate = 12 * kMiB});
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_EQ(hub_->weight_bytes(), bytes.size());
  EXPECT_TRUE(stored_bytes(result->name) == bytes);
}

TEST_F(PullTest, KeepsToTheNumberOfConnections) {
  start({.bytes_per_second = 64 * kMiB});
  hub_->add_file("u/r", "m-Q4_0.gguf", noise(96 * kMiB));
  ASSERT_TRUE(pull_name("u/r", {.connections = 2}));
  EXPECT_EQ(hub_->connections_most(), 2);
}

}  // namespace LM_FILE
}  // namespace lm::registry
