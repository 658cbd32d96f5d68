// WordPiece over small vocabularies: what BERT's normaliser and its greedy search are known to do.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/tokenizer/characters.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

VocabBuilder small_wordpiece() {
  VocabBuilder v("bert");
  v.with_scores = false;
  for (const char* text : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    v.add(text, TokenKind::control);
  }
  for (const char* text : {"▁un", "▁want", "aff", "able", "▁a", "a", "b",  "▁b", "▁.",   "▁=",
                           "▁,",  "▁東",   "▁京", "▁ᄒ",  "ᅡ",  "ᆫ", "▁ß", "▁#", "▁un,", "ed"}) {
    v.add(text);
  }
  v.extra.add_u32("tokenizer.ggml.unknown_token_id", 1);
  v.extra.add_u32("tokenizer.ggml.cls_token_id", 2);
  v.extra.add_u32("tokenizer.ggml.seperator_token_id", 3);
  return v;
}

TEST(WordPiece, TakesTheLongestPieceAtEachPlace) {
  auto v = small_wordpiece();
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "unaffable wanted"), "▁un|aff|able|▁want|ed");
  EXPECT_EQ(spelt(*t, "ab ba aab"), "▁a|b|▁b|a|▁a|a|b");
}

TEST(WordPiece, MakesOneUnknownOfAWordThatCannotBeCut) {
  auto v = small_wordpiece();
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "abx a"), "[UNK]|▁a");
  EXPECT_EQ(spelt(*t, std::string(100, 'a')).substr(0, 9), "▁a|a|a|");
  EXPECT_EQ(encode(*t, std::string(100, 'a')).size(), 100u);
  EXPECT_EQ(spelt(*t, std::string(101, 'a') + " b"), "[UNK]|▁b");
}

TEST(WordPiece, NormalisesAsBertDoes) {
  auto v = small_wordpiece();
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "ÄB"), "▁a|b");            // accents and case
  EXPECT_EQ(spelt(*t, "A\xCC\x88 b"), "▁a|▁b");  // an accent of its own
  EXPECT_EQ(spelt(*t,
                  "a\u00ADb a\u200Bb \x01"
                  "a"),
            "▁a|b|▁a|b|▁a");                                  // formats and controls
  EXPECT_EQ(spelt(*t, "a\u3000b\tb\u2028a"), "▁a|▁b|▁b|▁a");  // spaces of all kinds
  EXPECT_EQ(spelt(*t, "a\u2260b"), "▁a|▁=|▁b");               // ≠ is = with an accent
  EXPECT_EQ(spelt(*t, "東京a"), "▁東|▁京|▁a");                // ideographs one by one
  EXPECT_EQ(spelt(*t, "한"), "▁ᄒ|ᅡ|ᆫ");                      // Hangul in parts
  EXPECT_EQ(spelt(*t, "un, a.b #"), "▁un|▁,|▁a|▁.|▁b|▁#");    // punctuation alone
  EXPECT_EQ(spelt(*t,
                  "\xFF"
                  "a\xE2\x96"),
            "▁a");  // bytes that are no text
}

TEST(WordPiece, KeepsCaseAndAccentsWhereTheFileSaysSo) {
  auto v = small_wordpiece();
  v.add("▁Ä");
  v.extra.add_bool("tokenizer.ggml.normalizer.lowercase", false);
  EXPECT_EQ(spelt(*v.tokenizer(), "Ä a Un"), "▁Ä|▁a|[UNK]");
  auto stripped = v;
  stripped.extra.add_bool("tokenizer.ggml.normalizer.strip_accents", true);
  EXPECT_EQ(spelt(*stripped.tokenizer(), "ä"), "▁a");
}

TEST(WordPiece, PutsItsMarksAroundAText) {
  auto v = small_wordpiece();
  const auto t = v.tokenizer();
  std::vector<Token> ids;
  encode_whole(*t, "a b", SpecialTokens::as_text, ids);
  EXPECT_EQ(ids, (std::vector<Token>{2, 8, 11, 3}));
  ids.clear();
  encode_whole(*t, "[CLS]a[SEP]", SpecialTokens::parsed, ids);
  EXPECT_EQ(ids, (std::vector<Token>{2, 8, 3}));
  ids.clear();
  encode_whole(*t, "", SpecialTokens::as_text, ids);
  EXPECT_EQ(ids, (std::vector<Token>{2, 3}));

  auto bare = small_wordpiece();
  bare.extra.add_bool("tokenizer.ggml.add_sep_token", false);
  bare.extra.add_bool("tokenizer.ggml.add_bos_token", false);
  ids.clear();
  encode_whole(*bare.tokenizer(), "a", SpecialTokens::as_text, ids);
  EXPECT_EQ(ids, std::vector<Token>{8});
}

TEST(WordPiece, NeverMakesControlTokensOfPlainText) {
  auto v = small_wordpiece();
  const auto t = v.tokenizer();
  for (const Token id : encode(*t, "[CLS] [SEP] a [PAD]")) {
    EXPECT_TRUE(id == 1 || !t->vocab().is_control(id));
  }
  EXPECT_EQ(spelt(*t, "a[SEP]b", SpecialTokens::parsed), "▁a|[SEP]|▁b");
}

TEST(WordPiece, SpellsWordsWithSpacesBetween) {
  auto v = small_wordpiece();
  const auto t = v.tokenizer();
  EXPECT_EQ(t->decode(encode(*t, "Unaffable, wanted.")), "unaffable , wanted .");
}

TEST(WordPiece, EndsOnHostileTexts) {
  auto v = small_wordpiece();
  const auto t = v.tokenizer();
  EXPECT_EQ(encode(*t, std::string(1'000'000, 'a')), std::vector<Token>{1});
  EXPECT_TRUE(encode(*t, std::string(1'000'000, ' ')).empty());
  EXPECT_TRUE(encode(*t, std::string(1'000'000, '\xFF')).empty());
  EXPECT_EQ(encode(*t, std::string(1'000'000, '.')).size(), 1'000'000u);
}

TEST(WordPiece, RefusesKeysOfAWrongType) {
  auto v = small_wordpiece();
  v.extra.add_string("tokenizer.ggml.normalizer.lowercase", "yes");
  const auto made = v.make();
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().problem.find("normalizer.lowercase"), std::string::npos);
}

TEST(Characters, DecomposeAndLoseTheirAccents) {
  using Parts = std::array<std::uint32_t, 3>;
  EXPECT_EQ(unicode::without_accents(U'é'), (Parts{'e', 0, 0}));
  EXPECT_EQ(unicode::without_accents(0x1EA4), (Parts{'A', 0, 0}));       // two accents
  EXPECT_EQ(unicode::without_accents(0x301), (Parts{0, 0, 0}));          // an accent alone
  EXPECT_EQ(unicode::without_accents(0x9CB), (Parts{0x9C7, 0x9BE, 0}));  // spacing marks stay
  EXPECT_EQ(unicode::without_accents(0xAC01), (Parts{0x1100, 0x1161, 0x11A8}));
  EXPECT_EQ(unicode::without_accents(0xD7A3), (Parts{0x1112, 0x1175, 0x11C2}));
  EXPECT_EQ(unicode::without_accents(0xF900), (Parts{0x8C48, 0, 0}));
  EXPECT_EQ(unicode::without_accents(0x10FFFF), (Parts{0x10FFFF, 0, 0}));
}

}  // namespace LM_FILE
}  // namespace lm::test
