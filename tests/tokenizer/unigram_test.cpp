// Unigram: a small model trained and applied by SentencePiece, and cases by hand.
#include <cstdint>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/tokenizer/charsmap.h"
#include "runtime/tokenizer/token_trie.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

using Json = nlohmann::json;

VocabBuilder small_unigram() {
  VocabBuilder v("t5");
  v.add("<pad>", TokenKind::control);
  v.add("</s>", TokenKind::control);
  v.add("<unk>", TokenKind::unknown);
  v.add("▁", -2.0f);
  v.add("a", -2.0f);
  v.add("b", -2.5f);
  v.add("ab", -4.0f);
  v.add("▁ab", -4.5f);
  v.add("bab", -5.0f);
  v.extra.add_bool("tokenizer.ggml.add_space_prefix", true);
  return v;
}

TEST(Unigram, GivesTheIdsOfSentencePiece) {
  std::ifstream file(std::string(LM_SOURCE_DIR) + "/tests/tokenizer/unigram_cases.json");
  const Json all = Json::parse(file);
  VocabBuilder v("t5");
  for (std::size_t i = 0; i < all["tokens"].size(); ++i) {
    v.add(all["tokens"][i], all["scores"][i].get<float>(),
          static_cast<TokenKind>(all["types"][i].get<int>()));
  }
  v.extra.add_u32("tokenizer.ggml.unknown_token_id", 0);
  v.extra.add_u32("tokenizer.ggml.eos_token_id", 2);
  v.extra.add_bool("tokenizer.ggml.add_space_prefix", true);
  v.extra.add_bool("tokenizer.ggml.remove_extra_whitespaces", true);
  v.extra.add_array("tokenizer.ggml.precompiled_charsmap",
                    all["charsmap"].get<std::vector<std::uint8_t>>());
  const auto t = v.tokenizer();
  EXPECT_EQ(v.warnings, std::vector<std::string>{});
  std::size_t n_same = 0;
  for (const Json& c : all["cases"]) {
    const auto got = encode(*t, c["text"].get<std::string>());
    EXPECT_EQ(got, c["ids"].get<std::vector<Token>>()) << c["text"];
    n_same += got == c["ids"].get<std::vector<Token>>() ? 1 : 0;
  }
  fmt::print("unigram: {} of {} cases\n", n_same, all["cases"].size());
  EXPECT_EQ(n_same, 53u);
}

TEST(Unigram, TakesTheMostProbableCut) {
  auto v = small_unigram();
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "ab"), "▁ab");
  EXPECT_EQ(spelt(*t, "abab"), "▁ab|ab");
  EXPECT_EQ(spelt(*t, "babab"), "▁|bab|ab");  // not greedy: 2 + 5 + 4 beats all others
  EXPECT_EQ(spelt(*t, "a b"), "▁|a|▁|b");
  EXPECT_EQ(spelt(*t, ""), "");
}

TEST(Unigram, MakesOneUnknownOfARunOfThem) {
  auto v = small_unigram();
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "axyzb"), "▁|a|<unk>|b");
  EXPECT_EQ(spelt(*t, "漢字"), "▁|<unk>");
  EXPECT_EQ(spelt(*t, "x y"), "▁|<unk>|▁|<unk>");
}

TEST(Unigram, FallsBackToBytesWhereAllAreThere) {
  auto v = small_unigram();
  v.add_byte_tokens();
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "aé"), "▁|a|<0xC3>|<0xA9>");
  std::mt19937 random(7);
  int n_cases = 0;
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (std::size_t n = random() % 60; n > 0; --n) {
      text.push_back(static_cast<char>(random()));
    }
    if (text.find("\xE2\x96\x81") != std::string::npos) {
      continue;  // stands for a space
    }
    EXPECT_EQ(t->decode(encode(*t, text)), text);
    ++n_cases;
  }
  fmt::print("unigram round trips: {}\n", n_cases);
}

TEST(Unigram, MergesSpacesWhereTheFileSaysSo) {
  auto v = small_unigram();
  v.extra.add_bool("tokenizer.ggml.remove_extra_whitespaces", true);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "  a   b  "), "▁|a|▁|b");
  EXPECT_EQ(spelt(*t, "   "), "");
  EXPECT_EQ(spelt(*small_unigram().tokenizer(), "a  b"), "▁|a|▁|▁|b");
}

TEST(Unigram, PutsEosBehindAText) {
  auto v = small_unigram();
  const auto t = v.tokenizer();
  std::vector<Token> ids;
  encode_whole(*t, "ab", SpecialTokens::as_text, ids);
  EXPECT_EQ(ids, (std::vector<Token>{7, 1}));
  EXPECT_EQ(t->decode(ids), "ab");
}

TEST(Unigram, PrefersUserDefinedTokens) {
  auto v = small_unigram();
  v.add("<x>", TokenKind::user_defined);
  const auto t = v.tokenizer();
  EXPECT_EQ(spelt(*t, "a<x>b"), "▁|a|<x>|▁|b");
}

TEST(Unigram, EndsWithScoresThatAreNoNumbers) {
  auto v = small_unigram();
  v.add("aa", std::numeric_limits<float>::infinity());
  v.add("bb", -std::numeric_limits<float>::infinity());
  v.add("aab", std::numeric_limits<float>::quiet_NaN());
  const auto t = v.tokenizer();
  EXPECT_EQ(t->decode(encode(*t, "aabbaab bb")), "aabbaab bb");
}

TEST(Unigram, EndsOnHostileTexts) {
  auto v = small_unigram();
  std::string longer = "aa";
  for (int i = 0; i < 18; ++i, longer += longer) {
    v.add(longer, -1.0f);
  }
  const auto t = v.tokenizer();
  ASSERT_EQ(v.warnings.size(), 1u);  // of tokens that are too long
  for (const std::string& text : {std::string(1'100'000, 'a'), std::string(300'000, ' ')}) {
    EXPECT_TRUE(t->decode(encode(*t, text)) == text);
  }
  EXPECT_EQ(spelt(*t, std::string(300'000, '\xFF')), "▁|<unk>");
}

// The work of the search is the bytes that the trie looks at.
TEST(TokenTrie, LooksAtSoManyBytesAPlaceAtMost) {
  auto v = small_unigram();
  std::string longer = "aa";
  for (int i = 0; i < 16; ++i, longer += longer) {
    v.add(longer, -1.0f);
  }
  const auto t = v.tokenizer();
  std::vector<Token> ids;
  for (std::size_t i = 0; i < t->n_vocab(); ++i) {
    ids.push_back(static_cast<Token>(i));
  }
  const tokenizer::TokenTrie trie(t->vocab(), ids);
  const std::string text(100'000, 'a');
  std::size_t n_looked_at = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    n_looked_at += trie.walk(std::string_view(text).substr(at), [](std::size_t, Token) {});
  }
  EXPECT_LE(n_looked_at, text.size() * (tokenizer::TokenTrie::kMaxBytes + 1));
}

TEST(TokenTrie, FindsEveryTokenThatBeginsAPlace) {
  auto v = small_unigram();
  const auto t = v.tokenizer();
  const tokenizer::TokenTrie trie(t->vocab(), {5, 8, 4, 6});
  std::vector<Token> found;
  trie.walk("babx", [&](std::size_t, Token id) { found.push_back(id); });
  EXPECT_EQ(found, (std::vector<Token>{5, 8}));
  found.clear();
  trie.walk("x", [&](std::size_t, Token id) { found.push_back(id); });
  EXPECT_TRUE(found.empty());
}

TEST(Charsmap, RefusesSizesThatDoNotFit) {
  for (const std::string& bytes :
       {std::string("\x04\0\0", 3), std::string("\x08\0\0\0abcd", 8),
        std::string("\x03\0\0\0abcd", 8), std::string("\xFF\xFF\xFF\xFF", 4)}) {
    EXPECT_FALSE(tokenizer::Charsmap::read(bytes));
  }
  EXPECT_TRUE(tokenizer::Charsmap::read(""));
  auto v = small_unigram();
  v.extra.add_array("tokenizer.ggml.precompiled_charsmap", std::vector<std::uint8_t>{9, 0, 0, 0});
  const auto made = v.make();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::bad_vocab);
}

TEST(Charsmap, SurvivesAnyBytes) {
  std::minstd_rand engine(3);
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  std::size_t n_matches = 0;
  for (int round = 0; round < 2'000; ++round) {
    const std::uint32_t n_units = 1 + random() % 1200;
    std::string bytes;
    for (int i = 0; i < 4; ++i) {
      bytes.push_back(static_cast<char>(n_units * 4 >> (8 * i)));
    }
    for (std::uint32_t i = 0; i < n_units; ++i) {
      // Units that lead somewhere: whole blocks as offsets, the label that fits the place, often a
      // leaf; and values.
      const std::uint32_t unit = random() % 4 == 0
                                     ? random() % 8
                                     : (random() % 5 * 256) << 10 | (random() & 0x100) | (i & 0xFF);
      for (int b = 0; b < 4; ++b) {
        bytes.push_back(static_cast<char>(unit >> (8 * b)));
      }
    }
    bytes.append("ab\0cd", random() % 6);
    const auto map = tokenizer::Charsmap::read(bytes);
    ASSERT_TRUE(map);
    std::string text;
    for (int i = 0; i < 50; ++i) {
      text.push_back(static_cast<char>(random()));
    }
    for (std::size_t at = 0; at < text.size(); ++at) {
      n_matches += map->longest(std::string_view(text).substr(at)).bytes > 0 ? 1 : 0;
    }
  }
  EXPECT_GT(n_matches, 0u);
}

}  // namespace LM_FILE
}  // namespace lm::test
