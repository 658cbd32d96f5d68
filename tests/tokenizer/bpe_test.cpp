#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/tokenizer/tokenizer.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

VocabBuilder small_bpe(const std::string& pre = "gpt-2") {
  VocabBuilder v("gpt2");
  v.with_scores = false;
  v.pre = pre;
  v.add_byte_characters();
  return v;
}

TEST(Bpe, AppliesMergesInTheOrderOfTheirRank) {
  auto v = small_bpe();
  v.merge("b", "c");
  v.merge("a", "b");
  v.merge("a", "bc");
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "abc"), "abc");
  EXPECT_EQ(spelt(*t, "abd"), "ab|d");
  auto other = small_bpe();
  other.merge("a", "b");
  other.merge("b", "c");
  EXPECT_EQ(spelt(*other.tokenizer(), "abc"), "ab|c");
}

TEST(Bpe, TakesTheLeftmostOfEqualPairs) {
  auto v = small_bpe();
  v.merge("a", "a");
  v.merge("aa", "aa");
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "aaa"), "aa|a");
  EXPECT_EQ(spelt(*t, "aaaaa"), "aaaa|a");
  EXPECT_EQ(spelt(*t, "aaaaaaa"), "aaaa|aa|a");
}

TEST(Bpe, MergesInsideTheWordsOfThePretokenizerOnly) {
  auto v = small_bpe();
  v.merge("a", "Ġ");
  v.merge("Ġ", "b");
  EXPECT_EQ(spelt(*v.tokenizer(), "a b"), "a|Ġb");
}

TEST(Bpe, WritesBytesInGpt2sAlphabet) {
  const auto t = small_bpe().tokenizer();
  EXPECT_EQ(spelt(*t, "a \n\x7F"), "a|Ġ|Ċ|ġ");
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    all.push_back(static_cast<char>(byte));
  }
  const auto ids = encode(*t, all);
  EXPECT_EQ(ids.size(), 256u);
  EXPECT_EQ(t->decode(ids), all);
  EXPECT_FALSE(t->drops_leading_space());
}

TEST(Bpe, TakesAWholeWordOnlyWhereMergesAreIgnored) {
  for (const bool ignore : {false, true}) {
    auto v = small_bpe(ignore ? "llama-bpe" : "qwen2");
    v.merge("a", "b");
    v.add("abc");  // no merge leads here
    EXPECT_EQ(spelt(*v.tokenizer(), "abc"), ignore ? "abc" : "ab|c");
  }
}

TEST(Bpe, TakesCharactersThatTheFileTypesAsBytes) {
  auto v = small_bpe();
  for (std::int32_t& kind : v.kinds()) {
    kind = static_cast<std::int32_t>(TokenKind::byte);
  }
  v.merge("a", "b");
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "abc d"), "ab|c|Ġ|d");
  EXPECT_EQ(t->decode(encode(*t, "abc d")), "abc d");
}

TEST(Bpe, LeavesOutBytesThatTheVocabularyLacks) {
  VocabBuilder v("gpt2");
  v.pre = "gpt-2";
  v.add("a");
  EXPECT_EQ(spelt(*v.tokenizer(), "aba"), "a|a");
  v.add("[?]", TokenKind::unknown);
  v.extra.add_u32("tokenizer.ggml.unknown_token_id", 1);
  EXPECT_EQ(spelt(*v.tokenizer(), "aba"), "a|[?]|a");
  // StarCoder names a control token as the unknown one: text must not produce it.
  v.kinds().back() = static_cast<std::int32_t>(TokenKind::control);
  EXPECT_EQ(spelt(*v.tokenizer(), "aba"), "a|a");
}

TEST(Bpe, NeverMakesControlTokensOfPlainText) {
  for (const char* pre : {"qwen2", "llama-bpe"}) {  // the latter takes whole words
    auto v = small_bpe(pre);
    v.add("xyz", TokenKind::control);
    v.add("xy", TokenKind::unused);
    v.merge("y", "z");
    v.merge("x", "yz");  // leads to the control token
    v.merge("x", "y");
    const auto t = v.tokenizer();
    EXPECT_EQ(spelt(*t, "xyz"), "x|yz");
    EXPECT_EQ(spelt(*t, "xy"), "x|y");
    EXPECT_EQ(spelt(*t, "axyzb", SpecialTokens::parsed), "a|xyz|b");
  }
}

TEST(Bpe, CutsUserDefinedTokensOutFirstTheLongestFirst) {
  auto v = small_bpe();
  v.add("  ", TokenKind::user_defined);
  v.add("    ", TokenKind::user_defined);
  v.add("ab", TokenKind::user_defined);
  v.add("abc", TokenKind::user_defined);
  const auto t = v.tokenizer();
  EXPECT_EQ(encode(*t, "      x"), (std::vector<Token>{257, 256, 'x' - 0x21 + encode(*t, "!")[0]}));
  EXPECT_EQ(spelt(*t, "xabcab"), "x|abc|ab");
  EXPECT_EQ(t->decode(encode(*t, "xabcab      y")), "xabcab      y");
}

TEST(Bpe, RefusesAPretokenizerByName) {
  auto v = small_bpe("nonesuch");
  const auto made = v.make();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::unsupported);
  EXPECT_NE(made.error().problem.find("'nonesuch'"), std::string::npos);
}

TEST(Bpe, GuessesTheDefaultPretokenizerAndSaysSo) {
  auto v = small_bpe("");
  const auto t = v.tokenizer();
  ASSERT_EQ(v.warnings.size(), 1u);
  EXPECT_NE(v.warnings[0].find("tokenizer.ggml.pre"), std::string::npos);
  EXPECT_EQ(t->vocab().pre, "default");
}

TEST(Bpe, TakesBosByThePretokenizerUnlessTheFileDecides) {
  EXPECT_TRUE(small_bpe("llama-bpe").tokenizer()->vocab().add_bos);
  EXPECT_TRUE(small_bpe("tekken").tokenizer()->vocab().add_bos);
  EXPECT_FALSE(small_bpe("qwen2").tokenizer()->vocab().add_bos);
  auto v = small_bpe("llama-bpe");
  v.extra.add_bool("tokenizer.ggml.add_bos_token", false);
  EXPECT_FALSE(v.tokenizer()->vocab().add_bos);
}

TEST(Bpe, IgnoresASpacePrefixThatTheFileAsksFor) {
  auto v = small_bpe();
  v.extra.add_bool("tokenizer.ggml.add_space_prefix", true);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a"), "a");
  EXPECT_EQ(t->decode(encode(*t, " a")), " a");
}

TEST(BpeMerges, MustBeTwoTexts) {
  for (const char* malformed : {"", "ab", "a ", " ", "  "}) {
    auto v = small_bpe();
    v.merge("a", "b");
    v.merges().push_back(malformed);
    const auto made = v.make();
    ASSERT_FALSE(made) << "'" << malformed << "'";
    EXPECT_EQ(made.error().code, ErrorCode::bad_vocab);
    EXPECT_NE(made.error().problem.find("entry 1"), std::string::npos) << made.error().problem;
  }
}

TEST(BpeMerges, MayBeginWithASpace) {
  VocabBuilder v("gemma4");
  v.add("a");
  v.add(" ");
  v.add(" a");
  v.merges().push_back("  a");  // " " and "a"
  EXPECT_TRUE(v.make());
  EXPECT_EQ(v.warnings, std::vector<std::string>{});
}

TEST(BpeMerges, ThatNameNoTokensAreLeftOut) {
  auto v = small_bpe();
  v.merges().push_back("a nonesuch");
  v.merges().push_back("q r");  // no token "qr"
  v.merge("a", "b");
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "abqr"), "ab|q|r");
  ASSERT_EQ(v.warnings.size(), 1u);
  EXPECT_NE(v.warnings[0].find("2 entries"), std::string::npos) << v.warnings[0];
}

TEST(BpeMerges, MustBeThere) {
  auto v = small_bpe();
  v.with_merges = false;
  const auto made = v.make();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::missing);
}

TEST(Bpe, EndsOnHostileTexts) {
  auto v = small_bpe("llama-bpe");
  std::string run = "a";
  std::string blanks = "Ġ";
  for (int i = 0; i < 12; ++i) {
    v.merge(run, run);
    v.merge(blanks, blanks);
    run += run;
    blanks += blanks;
  }
  const auto t = v.tokenizer();
  std::string mixed;
  for (unsigned i = 0, x = 1; i < 200'000; ++i) {
    x = x * 1664525u + 1013904223u;
    mixed.push_back(static_cast<char>(x >> 24));
  }
  // The first is longer than the longest word that is merged as one.
  for (const std::string& text :
       {std::string(1'100'000, 'a'), std::string(200'000, ' '), std::string(200'000, '7'), mixed}) {
    EXPECT_TRUE(t->decode(encode(*t, text)) == text);
  }
}

// Gemma 4: BPE over characters, spaces written as U+2581, unknown characters as bytes.
TEST(CharacterBpe, MergesCharactersAndFallsBackToBytes) {
  VocabBuilder v("gemma4");
  v.add("<pad>", TokenKind::control);
  v.add_byte_tokens();
  for (const char* piece : {"▁", "a", "b", "é", "\n"}) {
    v.add(piece);
  }
  v.merge("é", "▁");
  v.merge("a", "b");
  v.merge("ab", "\n");
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "abé a"), "ab|é▁|a");
  EXPECT_EQ(spelt(*t, "ab\n"), "ab|\n");  // words end at line breaks
  EXPECT_EQ(spelt(*t, "aü"), "a|<0xC3>|<0xBC>");
  for (const std::string text : {"abé a", " a", "\n\n ü", "\xFF", "  "}) {
    EXPECT_EQ(t->decode(encode(*t, text)), text);
  }
}

}  // namespace LM_FILE
}  // namespace lm::test
