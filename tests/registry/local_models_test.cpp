// Folders of other programs and plain ones, as somebody who means harm would lay them out.
#include "registry/local_models.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "registry/model_ref.h"
#include "store/names.h"
#include "store/sha256.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

/// Fails with both texts when `part` is not in `text`.
::testing::AssertionResult holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos
             ? ::testing::AssertionSuccess()
             : ::testing::AssertionFailure() << "'" << part << "' is not in '" << text << "'";
}

class LocalModels : public ::testing::Test {
 protected:
  fs::path root() const { return folder_.path() / "root"; }
  fs::path outside() const { return folder_.path() / "outside"; }
  static void write(const fs::path& path, const std::string& text = "GGUF") {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    ASSERT_TRUE(fs::exists(path)) << path;
  }
  void link(const fs::path& to, const fs::path& name) const {
    fs::create_directories((root() / name).parent_path());
    fs::create_symlink(to, root() / name);
  }
  static LocalScan must(Result<LocalScan> scan) {
    EXPECT_TRUE(scan) << scan.error().problem;
    return scan ? std::move(*scan) : LocalScan{};
  }
  LocalScan plain() const { return must(scan_local_path(root())); }
  LocalScan tool(LocalTool which) const { return must(scan_local_tool(which, root())); }

  static std::vector<std::string> names(const LocalScan& scan) {
    std::vector<std::string> all;
    for (const LocalModel& model : scan.models) {
      all.push_back(model.name);
    }
    std::ranges::sort(all);
    return all;
  }
  /// File name -> why it was refused.
  static std::map<std::string, std::string> refusals(const LocalScan& scan) {
    std::map<std::string, std::string> all;
    for (const LocalRefusal& refusal : scan.refused) {
      all[refusal.path.filename().string()] = refusal.reason;
    }
    return all;
  }
  /// Whatever the layout: nothing outside is taken, and every name can be stored.
  void expect_contained(const LocalScan& scan) const {
    const std::string inside = fs::canonical(root()).string() + "/";
    for (const LocalModel& model : scan.models) {
      const auto ref = ModelRef::parse(model.name);
      EXPECT_TRUE(ref) << model.name;
      EXPECT_TRUE(store::check_model_name(model.name)) << model.name;
      EXPECT_FALSE(model.files.empty()) << model.name;
      for (const LocalFile& file : model.files) {
        EXPECT_TRUE(file.path.string().starts_with(inside)) << file.path;
        EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(file.path))) << file.path;
      }
    }
    for (const LocalRefusal& refusal : scan.refused) {
      EXPECT_FALSE(refusal.reason.empty()) << refusal.path;
    }
  }

  TempFolder folder_;
};

TEST_F(LocalModels, LoopsOfLinksEnd) {
  write(root() / "a" / "real-Q4_0.gguf");
  link("two.gguf", "one.gguf");
  link("one.gguf", "two.gguf");
  link("self.gguf", "self.gguf");
  link(".", "here.gguf");
  link("..", "a/up");
  link("../a", "a/again");
  link("nowhere", "dangling.gguf");
  const LocalScan scan = plain();
  expect_contained(scan);
  EXPECT_EQ(names(scan), (Names{"real:Q4_0"}));
  const auto why = refusals(scan);
  EXPECT_EQ(why.size(), 5u);
  EXPECT_TRUE(holds(why.at("self.gguf"), "symbolic links"));
  EXPECT_TRUE(holds(why.at("one.gguf"), "symbolic links"));
  EXPECT_TRUE(holds(why.at("here.gguf"), "no regular file"));
  EXPECT_TRUE(holds(why.at("dangling.gguf"), "No such file"));
}

TEST_F(LocalModels, NothingLeadsOut) {
  write(outside() / "secret.gguf");
  write(outside() / "deep" / "more.gguf");
  write(root() / "b.gguf");
  link(outside() / "secret.gguf", "absolute.gguf");
  link("../outside/secret.gguf", "relative.gguf");
  link("../outside", "folder");
  link("folder/deep/more.gguf", "through.gguf");
  link("/dev/zero", "zero.gguf");
  link("b.gguf", "inside.gguf");
  // A folder whose name begins as the root's does lies outside all the same.
  write(folder_.path() / "root-evil" / "x.gguf");
  link("../root-evil/x.gguf", "neighbour.gguf");
  ASSERT_EQ(::mkfifo((root() / "pipe.gguf").c_str(), 0600), 0);
  const LocalScan scan = plain();
  expect_contained(scan);
  EXPECT_EQ(names(scan), (Names{"b:latest", "inside:latest"}));
  const auto why = refusals(scan);
  EXPECT_EQ(why.size(), 6u);
  for (const char* name :
       {"absolute.gguf", "relative.gguf", "through.gguf", "zero.gguf", "neighbour.gguf"}) {
    EXPECT_TRUE(holds(why.at(name), "leads out of")) << name;
  }
  EXPECT_TRUE(holds(why.at("pipe.gguf"), "no regular file"));
}

TEST_F(LocalModels, FollowsALinkThatTheUserNamed) {
  write(outside() / "mine.gguf");
  link(outside() / "mine.gguf", "name.gguf");
  const LocalScan one = must(scan_local_path(root() / "name.gguf"));
  ASSERT_EQ(names(one), (Names{"name:latest"}));
  EXPECT_EQ(one.models[0].files[0].path, fs::canonical(outside() / "mine.gguf"));
  fs::create_symlink(outside(), folder_.path() / "elsewhere");
  EXPECT_EQ(names(must(scan_local_path(folder_.path() / "elsewhere"))), (Names{"mine:latest"}));
}

TEST_F(LocalModels, ErrorsNameThePath) {
  fs::create_directories(root());
  link("loop", "loop");
  ASSERT_EQ(::mkfifo((root() / "pipe").c_str(), 0600), 0);
  for (const auto& [name, code] :
       std::vector<std::pair<std::string, ErrorCode>>{{"none", ErrorCode::not_found},
                                                      {"loop", ErrorCode::not_found},
                                                      {"pipe", ErrorCode::invalid_argument}}) {
    const auto scan = scan_local_path(root() / name);
    ASSERT_FALSE(scan) << name;
    EXPECT_EQ(scan.error().code, code) << name;
    EXPECT_TRUE(holds(scan.error().subject, name));
    EXPECT_FALSE(scan_local_tool(LocalTool::lmstudio, root() / name)) << name;
  }
  write(root() / "file");
  const auto file = scan_local_tool(LocalTool::ollama, root() / "file");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::invalid_argument);
}

TEST_F(LocalModels, TakesNoMoreThanSixFoldersDeepAndNothingHidden) {
  fs::path deep = root();
  for (int i = 0; i < 6; ++i) {
    deep /= "d";
  }
  write(deep / "reached.gguf");
  write(deep / "d" / "too-deep.gguf");
  write(root() / ".hidden.gguf");
  write(root() / ".cache" / "x.gguf");
  EXPECT_EQ(names(plain()), (Names{"reached:latest"}));
}

TEST_F(LocalModels, RefusesAFolderWithoutAnEnd) {
  fs::create_directories(root());
  // Hidden ones count as well, and nobody has to look where they lead.
  for (int i = 0; i <= 100'000; ++i) {
    const int fd = ::creat((root() / fmt::format(".{}", i)).c_str(), 0600);
    ASSERT_GE(fd, 0);
    ::close(fd);
  }
  const auto scan = scan_local_path(root());
  ASSERT_FALSE(scan);
  EXPECT_EQ(scan.error().code, ErrorCode::limit_exceeded);
  // One file of it that the user names is one file.
  write(root() / "one.gguf");
  EXPECT_EQ(names(must(scan_local_path(root() / "one.gguf"))), (Names{"one:latest"}));
}

TEST_F(LocalModels, GivesEveryFileANameThatCanBeStored) {
  const std::vector<std::string> files{
      "-.gguf",
      "---Q4_0.gguf",
      "Q4_0.gguf",
      "-Q4_0.gguf",
      "a b:c@d.gguf",
      "%2e%2e%2fx.gguf",
      "CON.gguf",
      "back\\slash.gguf",
      "new\nline.gguf",
      "\x1b[31mred.gguf",
      "\xff\xfe.gguf",
      "caf\xc3\xa9-Q8_0.gguf",
      std::string(200, 'x') + "-Q4_K_M.gguf",
      std::string(250, 'y') + ".gguf",
      "x-00001-of-00001.gguf",
      "-00001-of-00001.gguf",
  };
  for (const std::string& file : files) {
    write(root() / file);
  }
  const LocalScan scan = plain();
  expect_contained(scan);
  EXPECT_EQ(scan.models.size(), files.size());
  EXPECT_TRUE(scan.refused.empty());
  EXPECT_EQ(name_of_local_file("Tiny-Chat-Q4_K_M.gguf"), "Tiny-Chat:Q4_K_M");
  EXPECT_EQ(name_of_local_file("tiny.q4_k_m.gguf"), "tiny:Q4_K_M");
  EXPECT_EQ(name_of_local_file("m-Q8_0-00002-of-00003.gguf"), "m:Q8_0");
  std::printf("%zu hostile file names\n", files.size());
}

TEST_F(LocalModels, TakesSplitModelsWholeOrNotAtAll) {
  for (const char* name :
       {"whole-00001-of-00002.gguf", "whole-00002-of-00002.gguf", "late-00002-of-00002.gguf",
        "gap-00001-of-00003.gguf", "gap-00003-of-00003.gguf", "zero-00000-of-00002.gguf"}) {
    write(root() / "parts" / name);
  }
  write(root() / "parts" / "mmproj-F16.gguf");
  // Its other half lies elsewhere: folders are not mixed.
  write(root() / "one" / "torn-00001-of-00002.gguf");
  write(root() / "two" / "torn-00002-of-00002.gguf");
  const LocalScan scan = plain();
  expect_contained(scan);
  ASSERT_EQ(names(scan), (Names{"whole:latest"}));
  std::vector<std::string> files;
  for (const LocalFile& file : scan.models[0].files) {
    files.push_back(file.file_name);
  }
  EXPECT_EQ(files,
            (Names{"whole-00001-of-00002.gguf", "whole-00002-of-00002.gguf", "mmproj-F16.gguf"}));
  EXPECT_EQ(scan.models[0].files.back().kind, store::LayerKind::projector);
  for (const LocalRefusal& refusal : scan.refused) {
    EXPECT_TRUE(holds(refusal.reason, "missing")) << refusal.path;
    EXPECT_TRUE(refusal.is_fault);
  }
  EXPECT_GE(scan.refused.size(), 4u);
  // A half that the user names is refused as well, not taken as a model of its own.
  const LocalScan half = must(scan_local_path(root() / "one" / "torn-00001-of-00002.gguf"));
  EXPECT_TRUE(half.models.empty());
  EXPECT_EQ(half.refused.size(), 1u);
}

// The Hugging Face cache

class LocalHfCache : public LocalModels {
 protected:
  const std::string kCommit = std::string(40, 'a');
  fs::path repo(const std::string& name) const { return root() / name; }
  /// A blob and its link in a snapshot.
  store::Digest add(const std::string& name, const std::string& path, const std::string& text,
                    const std::string& commit) const {
    const store::Digest digest = store::sha256(text);
    write(repo(name) / "blobs" / digest.hex(), text);
    const fs::path link = repo(name) / "snapshots" / commit / path;
    fs::create_directories(link.parent_path());
    fs::create_symlink(fs::relative(repo(name) / "blobs" / digest.hex(), link.parent_path()), link);
    return digest;
  }
};

TEST_F(LocalHfCache, TakesTheSnapshotThatMainNames) {
  const std::string newer(40, 'b');
  const store::Digest digest = add("models--u--r-GGUF", "sub/m-Q4_0.gguf", "one", kCommit);
  add("models--u--r-GGUF", "m-Q8_0.gguf", "two", newer);
  write(repo("models--u--r-GGUF") / "refs" / "main", kCommit + "\n");
  const LocalScan scan = tool(LocalTool::hf_cache);
  expect_contained(scan);
  ASSERT_EQ(names(scan), (Names{"hf.co/u/r-GGUF:Q4_0"}));
  EXPECT_EQ(scan.models[0].files[0].digest, digest);
  EXPECT_EQ(scan.models[0].additions.source_repo, "u/r-GGUF");
  EXPECT_EQ(scan.models[0].additions.source_commit, kCommit);
  EXPECT_EQ(scan.models[0].additions.source_path, "sub/m-Q4_0.gguf");
}

TEST_F(LocalHfCache, AReferenceThatLiesLeadsNowhere) {
  const std::vector<std::string> lies{
      "../../../outside",    "..", "/", "", std::string(5000, 'x'), std::string(40, 'c'),
      std::string("a\0b", 3)};
  write(outside() / "evil.gguf");
  int number = 0;
  for (const std::string& lie : lies) {
    const std::string name = fmt::format("models--u--r{}", number++);
    add(name, "m-Q4_0.gguf", name, kCommit);
    write(repo(name) / "refs" / "main", lie);
  }
  const LocalScan scan = tool(LocalTool::hf_cache);
  expect_contained(scan);
  EXPECT_EQ(scan.models.size(), lies.size()) << "the one snapshot there is";
  for (const LocalModel& model : scan.models) {
    EXPECT_EQ(model.additions.source_commit, kCommit);
  }
  std::printf("%zu lying references\n", lies.size());
}

TEST_F(LocalHfCache, RefusesFoldersThatAreNoRepository) {
  write(outside() / "snapshots" / kCommit / "evil-Q4_0.gguf");
  for (const char* name : {"models--..--x", "models--u--..", "models--", "models--u--a b",
                           "models--u--r\n", "models--u--x--y--", "datasets--u--d", "other"}) {
    write(root() / name / "snapshots" / kCommit / "m.gguf");
  }
  link(outside(), "models--u--linked");
  fs::create_directories(repo("models--u--elsewhere"));
  link(outside() / "snapshots", "models--u--elsewhere/snapshots");
  write(repo("models--u--empty") / "refs" / "main", kCommit);
  fs::create_directories(repo("models--u--none") / "snapshots");
  write(repo("models--u--text") / "snapshots" / kCommit / "config.json", "{}");
  write(repo("models--u--gone") / "blobs" / "x");
  link("../../blobs/absent", fmt::format("models--u--gone/snapshots/{}/m-Q4_0.gguf", kCommit));
  const LocalScan scan = tool(LocalTool::hf_cache);
  expect_contained(scan);
  const auto why = refusals(scan);
  for (const char* name :
       {"models--..--x", "models--u--..", "models--", "models--u--a b", "models--u--r\n"}) {
    EXPECT_TRUE(holds(why.at(name), "no repository's")) << name;
  }
  EXPECT_TRUE(holds(why.at("evil-Q4_0.gguf"), "leads out of"));
  EXPECT_TRUE(holds(why.at("m-Q4_0.gguf"), "No such file"));
  EXPECT_TRUE(holds(why.at("models--u--empty"), "nothing of it was downloaded"));
  EXPECT_TRUE(holds(why.at("models--u--none"), "nothing of it was downloaded"));
  EXPECT_TRUE(holds(why.at("models--u--text"), "no GGUF"));
  EXPECT_FALSE(why.contains("datasets--u--d"));
  EXPECT_FALSE(why.contains("models--u--linked")) << "links to folders are not entered";
}

// Ollama's folder

class LocalOllama : public LocalModels {
 protected:
  using Json = nlohmann::json;

  fs::path blob_path(const store::Digest& digest) const {
    return root() / "blobs" / ("sha256-" + digest.hex());
  }
  Json layer(const std::string& kind, const std::string& text) const {
    const store::Digest digest = store::sha256(text);
    write(blob_path(digest), text);
    return {{"mediaType", "application/vnd.ollama.image." + kind},
            {"digest", "sha256:" + digest.hex()},
            {"size", text.size()}};
  }
  static std::string manifest(const std::vector<Json>& layers) {
    return Json{{"schemaVersion", 2},
                {"mediaType", "application/vnd.docker.distribution.manifest.v2+json"},
                {"layers", layers}}
        .dump();
  }
  void put(const std::string& place, const std::string& text) const {
    write(root() / "manifests" / place, text);
  }
};

TEST_F(LocalOllama, TakesWhatIsSoundAndSaysWhyNotTheRest) {
  const Json model = layer("model", "weights");
  const auto with = [&](const std::string& key, const Json& value) {
    Json changed = model;
    changed[key] = value;
    return manifest({changed});
  };
  const Json missing{
      {"mediaType", model["mediaType"]}, {"digest", "sha256:" + std::string(64, '0')}, {"size", 7}};
  Json lying = layer("system", "be kind");
  write(blob_path(store::sha256("be kind")), "be evil");
  const store::Digest away = store::sha256("away");
  write(outside() / "away", "away");
  fs::create_symlink(outside() / "away", blob_path(away));
  const Json led_out{
      {"mediaType", model["mediaType"]}, {"digest", "sha256:" + away.hex()}, {"size", 4}};
  const store::Digest folder = store::sha256("folder");
  fs::create_directories(blob_path(folder));
  const Json no_file{
      {"mediaType", model["mediaType"]}, {"digest", "sha256:" + folder.hex()}, {"size", 4096}};
  struct Case {
    const char* tag;
    std::string text;
    const char* reason;
  };
  const std::vector<Case> cases{
      {"empty", "", "JSON"},
      {"no-json", "<html>", "JSON"},
      {"binary", std::string("\0\xff\x01", 3), "JSON"},
      {"nested", std::string(100'000, '['), ""},
      {"list", "[]", ""},
      {"no-layers", "{}", "layers"},
      {"layers-number", R"({"layers":1})", "layers"},
      {"layer-text", R"({"layers":["x"]})", ""},
      {"no-model", manifest({layer("system", "alone")}), "model"},
      {"long", manifest({model}) + std::string(std::size_t{4} << 20, ' '), ""},
      {"traversal", with("digest", "sha256:../../../outside/away"), "digest"},
      {"short-digest", with("digest", "sha256:abcd"), "digest"},
      {"other-hash", with("digest", "md5:" + std::string(64, 'a')), "digest"},
      {"digest-number", with("digest", 7), "digest"},
      {"size-negative", with("size", -1), "size"},
      {"size-text", with("size", "7"), "size"},
      {"size-huge", with("size", 1e300), "size"},
      {"size-lies", with("size", 8), "has 7 bytes, the manifest says 8"},
      {"missing", manifest({missing}), "is missing"},
      {"leads-out", manifest({led_out}), "leads out of"},
      {"folder", manifest({no_file}), "no regular file"},
      {"text-lies", manifest({model, lying}), "SHA-256"},
      {"params", manifest({model, layer("params", "{\"stop\":")}), ""},
      {"messages", manifest({model, layer("messages", R"({"role":1})")}), ""},
      {"long-text", manifest({model, layer("system", std::string((1 << 20) + 1, 's'))}), ""},
      {"adapter", manifest({model, layer("adapter", "lora")}), "adapter"},
      {"unknown-kind", manifest({model, layer("surprise", "x")}), ""},
      {"many", manifest(std::vector<Json>(300, model)), ""},
  };
  const std::string place = "registry.ollama.ai/library/bad/";
  for (const Case& c : cases) {
    put(place + c.tag, c.text);
  }
  put("registry.ollama.ai/library/good/1b",
      manifest({model, layer("system", "be brief"), layer("license", "free")}));
  const LocalScan scan = tool(LocalTool::ollama);
  expect_contained(scan);
  ASSERT_EQ(names(scan), (Names{"good:1b"}));
  EXPECT_EQ(scan.models[0].additions.system, "be brief");
  EXPECT_EQ(scan.models[0].files[0].digest, store::sha256("weights"));
  const auto why = refusals(scan);
  EXPECT_EQ(why.size(), cases.size());
  for (const Case& c : cases) {
    ASSERT_TRUE(why.contains(c.tag)) << c.tag;
    EXPECT_TRUE(holds(why.at(c.tag), c.reason)) << c.tag;
    EXPECT_LT(why.at(c.tag).size(), 1000u) << c.tag;
  }
  std::printf("%zu manifests that lie\n", cases.size());
}

TEST_F(LocalOllama, OnlyAPlaceThatIsANameIsAModel) {
  const std::string good = manifest({layer("model", "weights")});
  const std::vector<std::string> bad{
      "tag",
      "registry.ollama.ai/library/tag",
      "registry.ollama.ai/library/m/t/deeper",
      "registry.ollama.ai/library/a b/latest",
      "registry.ollama.ai/library/m/la\ntest",
      "registry.ollama.ai/library/m/\xff",
      "registry.ollama.ai/lib.rary/m/latest",
      "registry.ollama.ai/library/m/" + std::string(200, 't'),
      "-host/library/m/latest",
  };
  for (const std::string& place : bad) {
    put(place, good);
  }
  put("registry.ollama.ai/library/m/latest", good);
  put("registry.ollama.ai/alice/m/latest", good);
  put("hf.co/Bob.B/m-GGUF/Q4_0", good);
  put("registry.example:5000/team/m/v1", good);
  fs::create_symlink(outside() / "manifest",
                     root() / "manifests" / "registry.ollama.ai" / "library" / "m" / "linked");
  const LocalScan scan = tool(LocalTool::ollama);
  expect_contained(scan);
  EXPECT_EQ(names(scan), (Names{"hf.co/Bob.B/m-GGUF:Q4_0", "m:latest", "ollama.com/alice/m:latest",
                                "registry.example:5000/team/m:v1"}));
  EXPECT_EQ(scan.refused.size(), bad.size() + 1) << "the link that leads nowhere too";
  for (const LocalRefusal& refusal : scan.refused) {
    EXPECT_TRUE(refusal.is_fault) << refusal.path;
  }
}

TEST_F(LocalOllama, TakesBlobsOfOldVersionsAndAFolderWithoutModels) {
  const Json model = layer("model", "weights");
  const store::Digest digest = store::sha256("weights");
  fs::rename(blob_path(digest), root() / "blobs" / ("sha256:" + digest.hex()));
  put("registry.ollama.ai/library/old/latest", manifest({model}));
  EXPECT_EQ(names(tool(LocalTool::ollama)), (Names{"old:latest"}));
  fs::remove_all(root() / "manifests");
  const LocalScan none = tool(LocalTool::ollama);
  EXPECT_TRUE(none.models.empty());
  EXPECT_EQ(none.refused.size(), 1u);
}

// LM Studio's folder

TEST_F(LocalModels, TakesLmStudiosFolders) {
  write(root() / "maker" / "m-GGUF" / "m-Q4_0.gguf");
  write(root() / "maker" / "m-GGUF" / "m-Q8_0.gguf");
  write(root() / "maker" / "m-GGUF" / "mmproj-m-F16.gguf");
  write(root() / "maker" / "empty" / "notes.txt");
  write(root() / "strange maker" / "own files" / "Mine-Q4_0.gguf");
  write(outside() / "evil" / "e-Q4_0.gguf");
  link(outside(), "linked");
  link(outside() / "evil" / "e-Q4_0.gguf", "maker/m-GGUF/e-Q4_0.gguf");
  const LocalScan scan = tool(LocalTool::lmstudio);
  expect_contained(scan);
  EXPECT_EQ(names(scan),
            (Names{"Mine:Q4_0", "hf.co/maker/m-GGUF:Q4_0", "hf.co/maker/m-GGUF:Q8_0"}));
  const auto why = refusals(scan);
  EXPECT_TRUE(holds(why.at("e-Q4_0.gguf"), "leads out of"));
  EXPECT_TRUE(holds(why.at("empty"), "no GGUF"));
  EXPECT_EQ(why.size(), 2u);
}

}  // namespace LM_FILE
}  // namespace lm::registry
