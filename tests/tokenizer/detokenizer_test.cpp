#include "runtime/tokenizer/detokenizer.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

constexpr Token kFirstByte = 3;

/// Bytes as tokens 3 …, and words.
class DetokenizerTest : public testing::Test {
 protected:
  DetokenizerTest() {
    VocabBuilder v("llama");
    v.add("<unk>", TokenKind::unknown);
    v.add("<s>", TokenKind::control);
    v.add("</s>", TokenKind::control);
    v.add_byte_tokens();
    hello = v.add("▁Hello");
    stop_inside = v.add("abSTOPcd");
    heart = v.add("▁♥");
    tokenizer = v.tokenizer();
  }

  /// Bytes one by one; the outputs with | between, `finish` behind ||.
  std::string stream(Detokenizer& d, std::string_view bytes) const {
    std::string out;
    for (const char byte : bytes) {
      out += d.push(kFirstByte + static_cast<unsigned char>(byte)) + "|";
    }
    return out + "|" + d.finish();
  }
  std::string stream(std::string_view bytes, std::vector<std::string> stops = {}) const {
    Detokenizer d(*tokenizer, std::move(stops));
    return stream(d, bytes);
  }

  std::unique_ptr<Tokenizer> tokenizer;
  Token hello = kNoId, stop_inside = kNoId, heart = kNoId;
};

TEST_F(DetokenizerTest, GivesTextTokenByToken) {
  Detokenizer d(*tokenizer, {});
  EXPECT_EQ(d.push(hello), " Hello");
  EXPECT_EQ(d.push(heart), " ♥");
  EXPECT_EQ(d.push(1), "");
  EXPECT_EQ(d.push(-5), "");
  EXPECT_EQ(d.push(1 << 20), "");
  EXPECT_EQ(d.finish(), "");
  EXPECT_FALSE(d.stopped());
  EXPECT_EQ(d.stop_string(), "");
}

TEST_F(DetokenizerTest, DropsTheLeadingSpaceOfATextThatBegins) {
  Detokenizer d(*tokenizer, {}, false);
  EXPECT_EQ(d.push(1), "");  // BOS shows nothing and does not begin the text
  EXPECT_EQ(d.push(hello), "Hello");
  EXPECT_EQ(d.push(hello), " Hello");
}

TEST_F(DetokenizerTest, HoldsBackUnfinishedCharacters) {
  EXPECT_EQ(stream("é€😀"), "|é|||€||||😀||");
}

TEST_F(DetokenizerTest, WritesReplacementCharactersForBytesThatAreNoText) {
  EXPECT_EQ(stream("a\xFFz"), "a|\uFFFD|z||");
  EXPECT_EQ(stream("\x80"), "\uFFFD||");
  EXPECT_EQ(stream("\xC3z"), "|\uFFFDz||");       // unfinished, then something else
  EXPECT_EQ(stream("\xE2\x82z"), "||\uFFFDz||");  // one for the whole beginning
  EXPECT_EQ(stream("\xE2\x82\xE2\x82\xAC"), "||\uFFFD||€||");
  EXPECT_EQ(stream("\xED\xA0\x80"), "|\uFFFD\uFFFD|\uFFFD||");  // a surrogate
  EXPECT_EQ(stream("\xC0\xAF"), "\uFFFD|\uFFFD||");             // overlong
  EXPECT_EQ(stream("\xF4\x90\x80\x80"), "|\uFFFD\uFFFD|\uFFFD|\uFFFD||");
}

TEST_F(DetokenizerTest, WritesAReplacementCharacterForWhatNeverFinishes) {
  EXPECT_EQ(stream("a\xF0\x9F\x98"), "a|||||\uFFFD");
}

TEST_F(DetokenizerTest, StopsAtAStopStringSplitOverTokens) {
  Detokenizer d(*tokenizer, {"STOP"});
  EXPECT_EQ(stream(d, "abSTOPcd"),
            "a|b|||||||"
            "|");
  EXPECT_TRUE(d.stopped());
  EXPECT_EQ(d.stop_string(), "STOP");
}

TEST_F(DetokenizerTest, StopsInsideOneToken) {
  Detokenizer d(*tokenizer, {"STOP"});
  EXPECT_EQ(d.push(hello), " Hello");
  EXPECT_EQ(d.push(stop_inside), "ab");
  EXPECT_TRUE(d.stopped());
  EXPECT_EQ(d.push(hello), "");
  EXPECT_EQ(d.finish(), "");
}

TEST_F(DetokenizerTest, GivesOutABeginningThatCameToNothing) {
  EXPECT_EQ(stream("STxSTO", {"STOP"}), "||STx|||||STO");
  EXPECT_EQ(stream("SSTOP", {"STOP"}), "|S|||||");
  EXPECT_EQ(stream("aab", {"aaab"}), "||aab||");
}

TEST_F(DetokenizerTest, FindsAStopStringThatOverlapsItself) {
  EXPECT_EQ(stream("aaab", {"aab"}), "||a|||");
  EXPECT_EQ(stream("ababac", {"abac"}), "|||ab||||");
  EXPECT_EQ(stream("\n\n\nx", {"\n\nx"}), "||\n|||");
}

TEST_F(DetokenizerTest, TakesTheStopStringThatIsCompleteFirst) {
  Detokenizer d(*tokenizer, {"abcd", "bc"});
  EXPECT_EQ(stream(d, "xabcd"), "x|||a|||");
  EXPECT_EQ(d.stop_string(), "bc");
}

TEST_F(DetokenizerTest, TakesTheLongerOfTwoThatEndTogether) {
  for (const auto& stops :
       {std::vector<std::string>{"bc", "abc"}, std::vector<std::string>{"abc", "bc"}}) {
    Detokenizer d(*tokenizer, stops);
    EXPECT_EQ(stream(d, "xabc"), "x|||||");
    EXPECT_EQ(d.stop_string(), "abc");
  }
}

TEST_F(DetokenizerTest, GivesTheSameTextHoweverTokensCutIt) {
  Detokenizer d(*tokenizer, {"bST"});
  EXPECT_EQ(d.push(stop_inside), "a");
  EXPECT_EQ(d.stop_string(), "bST");
  EXPECT_EQ(stream("abSTOPcd", {"bST"}),
            "a|||||||"
            "||");
}

TEST_F(DetokenizerTest, StopsAtStopStringsOfSeveralBytesACharacter) {
  EXPECT_EQ(stream("xé♥y", {"é♥"}), "x||||||||");
  EXPECT_EQ(stream("é€", {"€"}), "|é|||||");
  EXPECT_EQ(stream("♥♦", {"♥♥"}), "|||||♥♦||");
  EXPECT_EQ(stream("\xFF!", {"\uFFFD!"}), "|||");
}

TEST_F(DetokenizerTest, StopsWhenTheEndCompletesAStopString) {
  Detokenizer d(*tokenizer, {"a\uFFFD"});
  EXPECT_EQ(stream(d, "xa\xE2\x82"), "x|||||");
  EXPECT_TRUE(d.stopped());
}

TEST_F(DetokenizerTest, IgnoresStopStringsThatAreNoText) {
  EXPECT_EQ(stream("ab", {"", "\x80", "\xC3"}), "a|b||");
}

TEST_F(DetokenizerTest, HoldsBackNoMoreThanItMust) {
  Detokenizer d(*tokenizer, {std::string(100'000, 'a') + "b"});
  std::string shown;
  for (int i = 0; i < 300'000; ++i) {
    shown += d.push(kFirstByte + 'a');
  }
  EXPECT_EQ(shown.size(), 200'000u);
  EXPECT_EQ(d.finish().size(), 100'000u);
}

}  // namespace LM_FILE
}  // namespace lm::test
