#include "registry/catalog.h"

#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "registry/ascii.h"
#include "registry/quant_label.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

class CatalogTest : public ::testing::Test {
 protected:
  Result<Catalog> load(const std::string& aliases = {}) {
    if (!aliases.empty()) {
      std::ofstream(folder_.path() / "aliases.json") << aliases;
    }
    return Catalog::load(folder_.path());
  }
  std::optional<CatalogEntry> find(const Catalog& catalog, const std::string& name) {
    return catalog.find(*ModelRef::parse(name));
  }
  TempFolder folder_;
};

TEST_F(CatalogTest, HasOnlyEntriesThatCanBePulled) {
  const auto catalog = load();
  ASSERT_TRUE(catalog) << catalog.error().problem;
  EXPECT_GE(catalog->entries().size(), 60u);
  std::set<std::string> names;
  for (const CatalogEntry& entry : catalog->entries()) {
    EXPECT_TRUE(names.insert(to_lower(entry.name)).second) << entry.name;
    for (const std::string& other : entry.also) {
      EXPECT_TRUE(names.insert(to_lower(other)).second) << other;
    }
    EXPECT_GT(entry.size_gb, 0) << entry.name;
    EXPECT_FALSE(entry.repos.empty()) << entry.name;
    EXPECT_FALSE(entry.quant.empty() && entry.file.empty()) << entry.name;
    if (!entry.quant.empty()) {
      EXPECT_EQ(label_of_text(entry.quant), entry.quant) << entry.name;
    }
    if (!entry.file.empty() && !entry.quant.empty()) {
      EXPECT_EQ(label_of_file(entry.file), entry.quant) << entry.file;
    }
    const auto found = find(*catalog, entry.name);
    ASSERT_TRUE(found) << entry.name;
    EXPECT_EQ(found->name, entry.name);
  }
}

TEST_F(CatalogTest, FindsNamesDefaultsAndLongTags) {
  const auto catalog = load();
  ASSERT_TRUE(catalog);
  struct Case {
    const char* name;
    const char* repo;
    const char* quant;
  };
  const Case cases[] = {
      {"llama3.1:8b", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M"},
      {"llama3.1", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M"},
      {"LLaMA3.1:8B", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M"},
      {"llama3.1:latest", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M"},
      {"llama3.1:8b-instruct-q4_K_M", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M"},
      {"llama3.1:8b-instruct-q8_0", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q8_0"},
      {"llama3.1:8b-instruct-fp16", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "F16"},
      {"llama3.1:8b-instruct", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M"},
      {"llama3.1:8b-q6_k", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q6_K"},
      {"llama3.1:q8_0", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q8_0"},
      {"gemma2:2b-it-q5_K_S", "bartowski/gemma-2-2b-it-GGUF", "Q5_K_S"},
      {"qwen3:30b-a3b", "bartowski/Qwen_Qwen3-30B-A3B-Instruct-2507-GGUF", "Q4_K_M"},
      {"deepseek-r1:7b-qwen-distill-q4_K_M", "bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF",
       "Q4_K_M"},
      {"mistral:7b-instruct-v0.3-q4_0", "bartowski/Mistral-7B-Instruct-v0.3-GGUF", "Q4_0"},
      {"phi4:14b", "bartowski/phi-4-GGUF", "Q4_K_M"},
      {"phi4", "bartowski/phi-4-GGUF", "Q4_K_M"},
      {"gpt-oss:20b", "ggml-org/gpt-oss-20b-GGUF", "MXFP4"},
      {"nomic-embed-text", "nomic-ai/nomic-embed-text-v1.5-GGUF", "F16"},
      {"all-minilm", "second-state/All-MiniLM-L6-v2-Embedding-GGUF", "Q8_0"},
  };
  for (const Case& c : cases) {
    const auto entry = find(*catalog, c.name);
    ASSERT_TRUE(entry) << c.name;
    EXPECT_EQ(entry->repos.front(), c.repo) << c.name;
    EXPECT_EQ(entry->quant, c.quant) << c.name;
  }
}

TEST_F(CatalogTest, LeavesTheExactFileOutWhenAnotherQuantIsAsked) {
  const auto catalog = load();
  EXPECT_FALSE(find(*catalog, "llama3.1:8b")->file.empty());
  EXPECT_TRUE(find(*catalog, "llama3.1:8b-instruct-q8_0")->file.empty());
}

TEST_F(CatalogTest, DoesNotGuess) {
  const auto catalog = load();
  for (const char* name :
       {"llama3.1:9b", "llama3.1:8b-text", "llama3.1:8b-base-q4_0", "lama3.1",
        "llama3.1:8b-instruct-q99", "gemma3:4b-it-qat", "u/llama3.1:8b", "hf.co/u/llama3.1"}) {
    EXPECT_FALSE(find(*catalog, name)) << name;
  }
}

TEST_F(CatalogTest, NamesNearOnesForMessages) {
  const auto catalog = load();
  EXPECT_EQ(catalog->nearest("lama3.1:8b").size(), 3u);
  EXPECT_EQ(catalog->nearest("lama3.1:8b").front(), "llama3.1:8b");
  const auto other_size = catalog->nearest("qwen3:9b", 8);
  EXPECT_EQ(other_size.front(), "qwen3:4b");
  EXPECT_EQ(catalog->nearest("gpt-os").front(), "gpt-oss:20b");
  EXPECT_EQ(catalog->nearest(std::string(100'000, 'x')).size(), 3u);
}

TEST_F(CatalogTest, UsersEntriesWin) {
  const auto catalog = load(R"({"llama3.1:8b": "me/mine-GGUF:Q8_0",
                                "pet": {"repo": "me/pet-GGUF", "file": "pet.gguf"}})");
  ASSERT_TRUE(catalog) << catalog.error().problem;
  const auto own = find(*catalog, "llama3.1:8b");
  ASSERT_TRUE(own);
  EXPECT_EQ(own->repos, std::vector<std::string>{"me/mine-GGUF"});
  EXPECT_EQ(own->quant, "Q8_0");
  EXPECT_EQ(find(*catalog, "pet")->file, "pet.gguf");
  EXPECT_EQ(find(*catalog, "llama3.1")->repos.front(), "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF");
}

TEST_F(CatalogTest, NamesFileAndPlaceOfABadAlias) {
  struct Case {
    const char* text;
    const char* part;
  };
  const Case cases[] = {
      {"{\n  \"a\": \"u/r\",\n  oops\n}", "line 3, column 3"},
      {"[]", "no JSON object"},
      {R"({"a": 3})", "'a' is neither"},
      {R"({"a/b": "u/r"})", "'a/b' is no short name"},
      {R"({"a": "host/u/r"})", "no repository of the hub"},
      {R"({"a": "onlyname"})", "no repository of the hub"},
      {R"({"a": {"file": "x.gguf"}})", "names no repository"},
      {R"({"a": {"repo": "u/../r"}})", "u/../r"},
      {R"({"a": {"repo": 7}})", "'repo' of 'a'"},
      {R"({"a": "u/r@main"})", "'@'"},
  };
  for (const Case& c : cases) {
    const auto catalog = load(c.text);
    ASSERT_FALSE(catalog) << c.text;
    EXPECT_EQ(catalog.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(catalog.error().subject.find("aliases.json"), std::string::npos);
    EXPECT_NE(catalog.error().problem.find(c.part), std::string::npos) << catalog.error().problem;
  }
  EXPECT_FALSE(load(std::string(200'000, '[')));
  EXPECT_FALSE(load(std::string((1 << 20) + 1, ' ')));
  std::filesystem::remove(folder_.path() / "aliases.json");
  std::filesystem::create_directory(folder_.path() / "aliases.json");
  EXPECT_FALSE(load());
}

}  // namespace LM_FILE
}  // namespace lm::registry
