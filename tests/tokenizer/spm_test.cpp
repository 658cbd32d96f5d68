#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/tokenizer/symbol_merger.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

/// <unk> <s> </s>, the bytes, and a few pieces.
VocabBuilder small_spm() {
  VocabBuilder v("llama");
  v.add("<unk>", TokenKind::unknown);
  v.add("<s>", TokenKind::control);
  v.add("</s>", TokenKind::control);
  v.add_byte_tokens();
  for (const char* piece : {"▁", "a", "b", "c", "d", "x"}) {
    v.add(piece, -100.0f);
  }
  return v;
}

TEST(Spm, JoinsThePairWithTheHighestScoreFirst) {
  auto v = small_spm();
  v.add("ab", -3.0f);
  v.add("bc", -2.0f);
  v.add("abc", -10.0f);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "abc", SpecialTokens::as_text, false), "abc");  // bc, then a + bc
  EXPECT_EQ(spelt(*t, "abd", SpecialTokens::as_text, false), "ab|d");
  EXPECT_EQ(spelt(*t, "abcd", SpecialTokens::as_text, false), "abc|d");
  EXPECT_EQ(spelt(*t, "dabdbc", SpecialTokens::as_text, false), "d|ab|d|bc");
}

TEST(Spm, LetsTheScoreDecideWhereJoinsExcludeEachOther) {
  auto v = small_spm();
  v.add("ab", -3.0f);
  v.add("bc", -2.0f);
  EXPECT_EQ(spelt(*v.tokenizer(), "abc", SpecialTokens::as_text, false), "a|bc");
  auto other = small_spm();
  other.add("ab", -2.0f);
  other.add("bc", -3.0f);
  EXPECT_EQ(spelt(*other.tokenizer(), "abc", SpecialTokens::as_text, false), "ab|c");
}

TEST(Spm, TakesTheLeftmostOfEqualPairs) {
  auto v = small_spm();
  v.add("aa", -1.0f);
  v.add("ab", -1.0f);
  v.add("ba", -1.0f);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "aaa", SpecialTokens::as_text, false), "aa|a");
  EXPECT_EQ(spelt(*t, "aba", SpecialTokens::as_text, false), "ab|a");
  EXPECT_EQ(spelt(*t, "aaaab", SpecialTokens::as_text, false), "aa|aa|b");
}

TEST(Spm, TreatsMinusZeroAndZeroAsEqual) {
  auto v = small_spm();
  v.add("ab", -0.0f);
  v.add("bc", 0.0f);
  EXPECT_EQ(spelt(*v.tokenizer(), "abc", SpecialTokens::as_text, false), "ab|c");
}

TEST(Spm, FallsBackToBytes) {
  const auto t = small_spm().tokenizer();
  EXPECT_EQ(spelt(*t, "aé\n", SpecialTokens::as_text, false), "a|<0xC3>|<0xA9>|<0x0A>");
  EXPECT_EQ(t->decode(encode(*t, "aé\n€😀")), "aé\n€😀");
  EXPECT_EQ(spelt(*t, "\xFF\xE2\x82", SpecialTokens::as_text, false), "<0xFF>|<0xE2>|<0x82>");
}

TEST(Spm, FallsBackToUnknownWithoutByteTokens) {
  VocabBuilder v("llama");
  v.add("<unk>", TokenKind::unknown);
  v.add("<s>", TokenKind::control);
  v.add("</s>", TokenKind::control);
  v.add("a");
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "az", SpecialTokens::as_text, false), "a|<unk>");
  EXPECT_EQ(t->decode(encode(*t, "az")), "a");
}

TEST(Spm, KnowsByteTokensBySpellingWhenTypesAreMissing) {
  auto v = small_spm();
  v.with_kinds = false;
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a\n", SpecialTokens::as_text, false), "a|<0x0A>");
  EXPECT_EQ(t->decode(encode(*t, "a\n")), "a\n");
}

TEST(Spm, PutsASpaceInFrontOfATextThatBegins) {
  auto v = small_spm();
  v.add("▁a", -1.0f);
  v.add("▁▁", -1.5f);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a"), "▁a");
  EXPECT_EQ(spelt(*t, " a"), "▁|▁a");
  EXPECT_EQ(spelt(*t, "a", SpecialTokens::as_text, false), "a");
  EXPECT_EQ(spelt(*t, "a a  a"), "▁a|▁a|▁|▁a");
  EXPECT_EQ(spelt(*t, " "), "▁▁");
  EXPECT_EQ(spelt(*t, ""), "");
  EXPECT_TRUE(t->drops_leading_space());
  for (const std::string text : {"a", " a", "  a", "a a", "", " ", "   ", "a ", "é", " é"}) {
    EXPECT_EQ(t->decode(encode(*t, text)), text) << "'" << text << "'";
  }
}

TEST(Spm, PutsNoSpaceInFrontWhenTheFileSaysSo) {
  auto v = small_spm();
  v.add("▁a", -1.0f);
  v.extra.add_bool("tokenizer.ggml.add_space_prefix", false);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a a"), "a|▁a");
  EXPECT_FALSE(t->drops_leading_space());
  EXPECT_EQ(t->decode(encode(*t, " a")), " a");
}

TEST(Spm, KeepsSpacesWithoutATokenForThem) {
  VocabBuilder v("llama");
  v.add("<unk>", TokenKind::unknown);
  v.add_byte_tokens();
  v.add("a");
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a a"), "<0x20>|a|<0x20>|a");
  EXPECT_EQ(t->decode(encode(*t, "a a")), "a a");
}

TEST(Spm, BeginsAnewAfterSpecialTokens) {
  auto v = small_spm();
  v.add("▁a", -1.0f);
  v.add("<user>", TokenKind::user_defined);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a</s>a", SpecialTokens::parsed), "▁a|</s>|▁a");
  EXPECT_EQ(spelt(*t, "<s>a", SpecialTokens::parsed), "<s>|▁a");
  EXPECT_EQ(spelt(*t, "a<user>a", SpecialTokens::as_text), "▁a|<user>|▁a");
  EXPECT_EQ(t->decode(encode(*t, "<s>a", SpecialTokens::parsed)), "a");
  EXPECT_EQ(t->decode(encode(*t, "<user>", SpecialTokens::parsed)), "<user>");
}

TEST(Spm, NeverMakesControlTokensOfPlainText) {
  auto v = small_spm();
  // Joins lead to the very text of </s>, and its score is the best.
  for (const char* piece : {"<", "/", "s", ">"}) {
    v.add(piece, -50.0f);
  }
  v.add("</", -1.0f);
  v.add("s>", -1.0f);
  const Token unused = v.add("ab", 5.0f, TokenKind::unused);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "</s>", SpecialTokens::as_text, false), "</|s>");
  EXPECT_EQ(spelt(*t, "</s>", SpecialTokens::parsed, false), "</s>");
  EXPECT_EQ(spelt(*t, "ab<unk>", SpecialTokens::as_text, false).find("<unk>"), std::string::npos);
  for (const Token id : encode(*t, "abab")) {
    EXPECT_NE(id, unused);
  }
}

TEST(Spm, GivesTheSameIdsWordByWordAsForTheWhole) {
  // "a▁b" spans a space, so the text can't be cut in front of every space.
  auto v = small_spm();
  v.add("a▁b", -1.0f);
  v.add("a▁", -2.0f);
  v.add("▁a", -3.0f);
  v.add("▁b", -4.0f);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a b"), "▁|a▁b");
  EXPECT_EQ(spelt(*t, "ba b c", SpecialTokens::as_text, false), "b|a▁b|▁|c");
  EXPECT_EQ(spelt(*t, "c b a", SpecialTokens::as_text, false), "c|▁b|▁a");
}

TEST(Spm, TakesSuchATokenAcrossThePartsOfAText) {
  auto v = small_spm();
  v.add("ab", -1.0f);
  const auto t = v.tokenizer();
  const TextPart parts[] = {{"ca", SpecialTokens::parsed},
                            {"b</s", SpecialTokens::as_text},
                            {">", SpecialTokens::parsed}};
  std::vector<Token> ids;
  t->encode_parts(parts, false, ids);
  EXPECT_EQ(t->decode(ids), "cab</s>");
  EXPECT_EQ(t->vocab().text(ids[1]), "ab");
  for (const Token id : ids) {
    EXPECT_FALSE(t->vocab().is_control(id)) << "a control token may not come from plain text";
  }
}

TEST(Spm, SpellsControlTokensOnlyWhenAsked) {
  const auto t = small_spm().tokenizer();
  EXPECT_EQ(t->piece(2), "");
  EXPECT_EQ(t->piece(2, true), "</s>");
  EXPECT_EQ(t->piece(3 + 0x0A), "\n");
  EXPECT_EQ(t->piece(-1), "");
  EXPECT_EQ(t->piece(1 << 30), "");
}

TEST(Spm, DecodesANulByte) {
  const auto t = small_spm().tokenizer();
  const std::string text = {'a', '\0', 'b'};
  EXPECT_EQ(t->decode(encode(*t, text)), text);
}

// The cost is counted, not timed: a clock would fail on a busy machine.
TEST(SymbolMerger, NeedsAtMostThreeCandidatesASymbol) {
  for (const std::uint32_t n : {1u, 2u, 1'000u, 300'000u}) {
    tokenizer::SymbolMerger merger;
    for (std::uint32_t i = 0; i < n; ++i) {
      merger.add(i, 1, 0);
    }
    // Everything joins with everything, and longer results are preferred: the worst case for stale
    // candidates.
    merger.merge([](const tokenizer::Symbol& left, const tokenizer::Symbol& right) {
      return tokenizer::Joining{
          std::numeric_limits<std::uint32_t>::max() - left.bytes - right.bytes, 0};
    });
    EXPECT_LE(merger.steps(), 3 * std::uint64_t{n});
    int n_left = 0;
    merger.for_each([&](const tokenizer::Symbol& symbol) {
      EXPECT_EQ(symbol.bytes, n);
      ++n_left;
    });
    EXPECT_EQ(n_left, 1);
  }
}

TEST(Spm, EndsOnHostileTexts) {
  auto v = small_spm();
  std::string longer = "aa";
  for (int i = 0; i < 18; ++i, longer += longer) {
    v.add(longer, static_cast<float>(i));
  }
  const auto t = v.tokenizer();
  for (const std::string& text :
       {std::string(1'000'000, 'a'), std::string(1'000'000, ' '), std::string(1'000'000, '\xFF')}) {
    EXPECT_EQ(t->decode(encode(*t, text)), text);
  }
}

}  // namespace LM_FILE
}  // namespace lm::test
