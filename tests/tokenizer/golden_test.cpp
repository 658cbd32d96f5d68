// Real vocabularies against ids of the models' own tokenizers.
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/gguf/gguf_file.h"
#include "runtime/tokenizer/pattern.h"
#include "runtime/tokenizer/pretokenize.h"
#include "runtime/tokenizer/spaces.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

using Json = nlohmann::json;

std::filesystem::path folder() {
  return shared_data() / "tokenizers";
}

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return Json::parse(file);
}

class GoldenVocabulary : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto path = folder() / (std::string(GetParam()) + ".gguf");
    if (!std::filesystem::exists(path)) {
      GTEST_SKIP() << "no test data: " << path;
    }
    auto file = GgufFile::open(path);
    ASSERT_TRUE(file) << file.error().problem;
    std::vector<std::string> warnings;
    auto made = Tokenizer::create(file->metadata(), &warnings);
    ASSERT_TRUE(made) << made.error().problem;
    EXPECT_EQ(warnings, std::vector<std::string>{});
    tokenizer_ = std::move(*made);
  }

  void expect(const std::string& text, const Json& ids, SpecialTokens special) {
    const auto got = encode(*tokenizer_, text, special);
    EXPECT_EQ(got, ids.get<std::vector<Token>>()) << Json(text).dump();
    // SPM writes U+2581 for a space, so that one character of its own comes back as a space.
    const bool is_spm = tokenizer_->vocab().model == "llama";
    EXPECT_EQ(tokenizer_->decode(got, special == SpecialTokens::parsed),
              is_spm ? tokenizer::unescaped(text) : text);
    ++n_cases_;
  }

  void TearDown() override {
    if (n_cases_ > 0) {
      fmt::print("{}: {} cases\n", GetParam(), n_cases_);
    }
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  int n_cases_ = 0;
};

TEST_P(GoldenVocabulary, GivesTheIdsOfTheModelsTokenizer) {
  for (const Json& c : read_json(folder() / (std::string(GetParam()) + ".json"))) {
    expect(c["text"], c["tokens"], SpecialTokens::as_text);
  }
  EXPECT_GE(n_cases_, 47);
}

TEST_P(GoldenVocabulary, GivesTheIdsOfLongerTexts) {
  const Json all = read_json(folder() / "extended.json");
  const Json& expected = all["expected"][GetParam()];
  ASSERT_EQ(expected.size(), all["texts"].size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expect(all["texts"][i], expected[i], SpecialTokens::as_text);
  }
  EXPECT_GE(n_cases_, 37);
}

class GoldenSpecialTokens : public GoldenVocabulary {};

TEST_P(GoldenSpecialTokens, AreParsedOnlyWhenAsked) {
  const Json all = read_json(folder() / "special.json");
  ASSERT_TRUE(all.contains(GetParam()));
  for (const Json& c : all[GetParam()]) {
    expect(c["text"], c["plain"], SpecialTokens::as_text);
    expect(c["text"], c["special"], SpecialTokens::parsed);
  }
}

TEST_P(GoldenVocabulary, GivesTheSameIdsForPartsAsForTheWhole) {
  const Json extended = read_json(folder() / "extended.json");
  for (const Json& json : extended["texts"]) {
    const std::string text = json;
    const auto whole = encode(*tokenizer_, text);
    for (std::size_t cut = 0; cut <= text.size(); cut += 1 + text.size() / 7) {
      const TextPart parts[] = {{std::string_view(text).substr(0, cut), SpecialTokens::parsed},
                                {std::string_view(text).substr(cut), SpecialTokens::as_text}};
      std::vector<Token> ids;
      tokenizer_->encode_parts(parts, true, ids);
      ASSERT_EQ(ids, whole) << Json(text).dump() << " cut at " << cut;
      ++n_cases_;
    }
  }
  EXPECT_GE(n_cases_, 37);
}

TEST_P(GoldenVocabulary, KeepsBytesThatAreNoText) {
  // Some vocabularies have no token, or an added one spelt alike, for bytes that hardly occur.
  const std::string_view name = GetParam();
  const bool lacks_bytes = name == "deepseek-coder" || name == "starcoder" || name == "mpt";
  for (int byte = 0x80; byte < 0x100; ++byte) {
    if (lacks_bytes && (byte == 0xC0 || byte == 0xC1 || byte > 0xF0)) {
      continue;
    }
    const std::string text = {'a', static_cast<char>(byte), 'b', ' ', static_cast<char>(byte)};
    EXPECT_EQ(tokenizer_->decode(encode(*tokenizer_, text)), text) << byte;
    ++n_cases_;
  }
  const std::string torn = "x\xE2\x96 y\xF0\x9F\x99 \xED\xA0\x80 \xE0\x80\xAF";
  EXPECT_EQ(tokenizer_->decode(encode(*tokenizer_, torn)), torn);
}

// What bytes are left is not what was read: BERT's normaliser changes the text.
TEST(GoldenWordPiece, GivesTheIdsOfTheModelsTokenizer) {
  const auto path = folder() / "bert-bge.gguf";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no test data: " << path;
  }
  auto file = GgufFile::open(path);
  ASSERT_TRUE(file) << file.error().problem;
  std::vector<std::string> warnings;
  auto made = Tokenizer::create(file->metadata(), &warnings);
  ASSERT_TRUE(made) << made.error().problem;
  EXPECT_EQ(warnings, std::vector<std::string>{});
  const Json cases = read_json(folder() / "bert-bge.json");
  std::size_t n_same = 0;
  for (const Json& c : cases) {
    const auto got = encode(**made, c["text"].get<std::string>());
    const bool same = got == c["tokens"].get<std::vector<Token>>();
    EXPECT_TRUE(same) << c["text"].dump();
    n_same += same ? 1 : 0;
  }
  fmt::print("bert-bge: {} of {} cases\n", n_same, cases.size());
  EXPECT_GE(n_same, 47u);
  std::vector<Token> whole;
  encode_whole(**made, "hello world", SpecialTokens::as_text, whole);
  EXPECT_EQ(whole, (std::vector<Token>{101, 7592, 2088, 102}));
}

TEST_P(GoldenVocabulary, LosesNoByteOfRandomText) {
  const std::string_view name = GetParam();
  if (name == "deepseek-coder" || name == "starcoder" || name == "mpt") {
    return;  // not byte-complete, see KeepsBytesThatAreNoText
  }
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    std::string text;
    // A third of the texts are any bytes, the others mostly of few characters, in runs.
    for (std::size_t n = random() % 200; n > 0; --n) {
      const auto byte = static_cast<char>(random());
      text.append(round % 3 == 0 ? 1 : 1 + random() % 4,
                  round % 3 == 0 ? byte : " \n\taZ9'.\xC3\xA9\xE6"[random() % 11]);
    }
    if (text.find(tokenizer::kSpaceMark) != std::string::npos) {
      continue;
    }
    ASSERT_EQ(tokenizer_->decode(encode(*tokenizer_, text)), text);
    ++n_cases_;
  }
  EXPECT_GE(n_cases_, 390);
}

INSTANTIATE_TEST_SUITE_P(Spm, GoldenVocabulary, testing::Values("llama-spm"));
INSTANTIATE_TEST_SUITE_P(Bpe, GoldenVocabulary,
                         testing::Values("gpt-2", "llama-bpe", "qwen2", "deepseek-coder",
                                         "starcoder", "mpt"));
INSTANTIATE_TEST_SUITE_P(Bpe, GoldenSpecialTokens,
                         testing::Values("gpt-2", "llama-bpe", "qwen2", "deepseek-coder",
                                         "starcoder"));

TEST(GoldenPretokenizers, AgreeWithTheListedExpressions) {
  const auto path = folder() / "pretokenizers.json";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no test data: " << path;
  }
  const Json extended = read_json(folder() / "extended.json");
  const Json& texts = extended["texts"];
  int n_cases = 0;
  const Json rows = read_json(path);
  for (const auto& [name, row] : rows.items()) {
    const auto spec = tokenizer::find_pretokenizer(name);
    ASSERT_TRUE(spec) << name;
    EXPECT_EQ(spec->ignore_merges, row.value("ignore_merges", false)) << name;
    EXPECT_EQ(spec->add_bos, row.value("add_bos", false)) << name;
    EXPECT_EQ(spec->byte_level, row.value("byte_encode", true)) << name;
    if (name == "kimi-k2") {
      continue;  // listed with a placeholder; ours are the model's own
    }
    const auto ours = tokenizer::Pretokenizer::create(name);
    ASSERT_TRUE(ours) << name;
    std::vector<tokenizer::Pattern> patterns;
    for (const std::string expression : row["regexes"]) {
      auto pattern = tokenizer::Pattern::compile(expression);
      ASSERT_TRUE(pattern) << name << ": " << pattern.error().problem;
      patterns.push_back(std::move(*pattern));
    }
    for (const Json& json : texts) {
      const std::string text = json;
      std::vector<std::size_t> listed = {text.size()};
      tokenizer::Pattern::Scratch scratch;
      for (const auto& pattern : patterns) {
        std::vector<std::size_t> next;
        std::size_t begin = 0;
        for (const std::size_t end : listed) {
          pattern.split(std::string_view(text).substr(begin, end - begin), begin, next, scratch);
          begin = end;
        }
        listed = next;
      }
      std::vector<std::size_t> got;
      ours->split(text, got, scratch);
      EXPECT_EQ(got, listed) << name << ": " << Json(text).dump();
      ++n_cases;
    }
  }
  EXPECT_GT(n_cases, 1'000);
  fmt::print("pre-tokenizers: {} cases\n", n_cases);
}

// The real model in the data folder says what the ids of its prompts are.
TEST(GoldenVocabularyOfStories, GivesTheIdsOfItsPrompts) {
  const auto path = shared_data() / "models/stories260K-f32.gguf";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no test data: " << path;
  }
  auto file = GgufFile::open(path);
  ASSERT_TRUE(file) << file.error().problem;
  auto made = Tokenizer::create(file->metadata());
  ASSERT_TRUE(made) << made.error().problem;
  int n_cases = 0;
  for (const Json& c : read_json(shared_data() / "models/stories260K-f32.golden.json")) {
    std::vector<Token> ids = {(*made)->vocab().bos};
    (*made)->encode(c["prompt"].get<std::string>(), SpecialTokens::as_text, true, ids);
    EXPECT_EQ(ids, c["tokens"].get<std::vector<Token>>()) << c["prompt"];
    for (const Json& id : c["greedy_tokens"]) {
      ids.push_back(id);
    }
    EXPECT_EQ((*made)->decode(ids),
              c["prompt"].get<std::string>() + c["greedy_text"].get<std::string>());
    ++n_cases;
  }
  fmt::print("stories: {} cases\n", n_cases);
}

TEST(GoldenModels, HaveVocabulariesThatLoadAndLoseNothing) {
  int n_cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden_data() / "arch")) {
    if (entry.path().extension() != ".gguf") {
      continue;
    }
    auto file = GgufFile::open(entry.path());
    ASSERT_TRUE(file) << file.error().problem;
    auto made = Tokenizer::create(file->metadata());
    ASSERT_TRUE(made) << entry.path() << ": " << made.error().problem;
    EXPECT_EQ((*made)->n_vocab(), 320u);
    for (const std::string_view text : {"the rain in spain", " is  not", "", "é\n12 <s>", "x"}) {
      EXPECT_EQ((*made)->decode(encode(**made, text)), text) << entry.path();
      ++n_cases;
    }
    EXPECT_EQ(spelt(**made, "the string"), "▁the|▁s|t|r|ing");
  }
  EXPECT_GE(n_cases, 50);
}

}  // namespace LM_FILE
}  // namespace lm::test
