#include "runtime/tokenizer/pattern.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/tokenizer/code_set.h"
#include "runtime/tokenizer/pretokenize.h"
#include "runtime/tokenizer/utf8.h"
#include "tests/tokenizer/pretokenizer_cases.h"

namespace lm::test {
namespace LM_FILE {

using tokenizer::CodeSet;
using tokenizer::Pattern;
using tokenizer::Pretokenizer;

std::string joined(std::string_view text, const std::vector<std::size_t>& ends) {
  std::string out;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    EXPECT_GT(end, begin) << "empty piece";
    out += (begin == 0 ? "" : "¦") + std::string(text.substr(begin, end - begin));
    begin = end;
  }
  EXPECT_EQ(begin, text.size());
  return out;
}

std::string cut(std::string_view expression, std::string_view text) {
  const auto pattern = Pattern::compile(expression);
  if (!pattern) {
    return "error: " + pattern.error().problem;
  }
  std::vector<std::size_t> ends;
  Pattern::Scratch scratch;
  pattern->split(text, 0, ends, scratch);
  return joined(text, ends);
}

TEST(Pattern, PrefersTheFirstAlternativeThatMatches) {
  EXPECT_EQ(cut("a|ab", "abab"), "a¦b¦a¦b");
  EXPECT_EQ(cut("ab|a", "abab"), "ab¦ab");
  EXPECT_EQ(cut("(?:a|ab)(?:c|bcd)", "abcd"), "abcd");  // backs out of nothing: a, then bcd
  EXPECT_EQ(cut("(?:a|ab)(?:c|bcx)", "abcd"), "abc¦d");
}

TEST(Pattern, RepeatsAsMuchAsTheRestAllows) {
  EXPECT_EQ(cut("a*ab", "aaab"), "aaab");
  EXPECT_EQ(cut("a{2}", "aaaaa"), "aa¦aa¦a");
  EXPECT_EQ(cut("a{1,3}", "aaaaa"), "aaa¦aa");
  EXPECT_EQ(cut("a{0,2}b", "aaab"), "a¦aab");
  EXPECT_EQ(cut("a+?", "aaa"), "a¦a¦a");
  EXPECT_EQ(cut("a{1,3}?b", "aaab"), "aaab");
  EXPECT_EQ(cut("xa??", "xa"), "x¦a");
  EXPECT_EQ(cut("(?:ab)+", "ababa"), "abab¦a");
}

TEST(Pattern, LooksAheadWithoutTaking) {
  EXPECT_EQ(cut("\\s+(?!\\S)", "a   b  "), "a¦  ¦ b¦  ");
  EXPECT_EQ(cut("a(?=b)", "abac"), "a¦bac");
  EXPECT_EQ(cut("a(?!b)", "abac"), "ab¦a¦c");
  EXPECT_EQ(cut("(?=(\\d{3})+(?!\\d))", "1234567"), "1¦234¦567");  // matches of no length cut, too
  EXPECT_EQ(cut("(?=(\\d{3})+(?!\\d))", "123"), "123");
  EXPECT_EQ(cut("((?=[\\p{L}])([^a-z]))+", "ABcDÉ1"), "AB¦c¦DÉ¦1");
  EXPECT_EQ(cut("\\s+$", "a  b  "), "a  b¦  ");
  EXPECT_EQ(cut("(?!(?=a)ab)[a-z]+", "abab"), "a¦bab");  // one inside the other
}

TEST(Pattern, ReadsCharacterClasses) {
  EXPECT_EQ(cut("[a-c]+", "abcd"), "abc¦d");
  EXPECT_EQ(cut("[^a-c]+", "abcde"), "abc¦de");
  EXPECT_EQ(cut("[a\\-c]+", "a-b"), "a-¦b");
  EXPECT_EQ(cut("[a-]+", "a-b"), "a-¦b");
  EXPECT_EQ(cut("[\\]\\[]+", "a[]b"), "a¦[]¦b");
  EXPECT_EQ(cut("[(|.)]+", "a(|.)b"), "a¦(|.)¦b");
  EXPECT_EQ(cut("[\\x{4e00}-\\x{9fa5}]+", "a中文b"), "a¦中文¦b");
  EXPECT_EQ(cut("[一-龥]+", "a中文b"), "a¦中文¦b");
  EXPECT_EQ(cut("\\p{Lu}+", "aBCd"), "a¦BC¦d");
  EXPECT_EQ(cut("\\p{Han}+", "あ中〇々"), "あ¦中〇々");
  EXPECT_EQ(cut("\\p{M}+", "e\u0301x"), "e¦\u0301¦x");
}

TEST(Pattern, FoldsCaseInGroupsThatSaySo) {
  EXPECT_EQ(cut("(?i:'s)", "a's'S'ſs"), "a¦'s¦'S¦'ſ¦s");
  EXPECT_EQ(cut("(?i:k)", "kKK"), "k¦K¦K");
  EXPECT_EQ(cut("(?i:[a-c])+d", "aBcdD"), "aBcd¦D");
}

TEST(Pattern, TakesBytesThatAreNoTextOneByOne) {
  EXPECT_EQ(cut("\\p{L}+", "a\xFF\xC3z"), "a¦\xFF\xC3¦z");
  EXPECT_EQ(cut("[^a]", "\xE2\x82\xE2\x82\xAC\xF0"), "\xE2¦\x82¦\xE2\x82\xAC¦\xF0");
  EXPECT_EQ(cut("\\p{So}", "\x80\x80"), "\x80¦\x80");  // as U+FFFD
}

TEST(Pattern, RefusesWhatItDoesNotKnow) {
  for (const char* bad : {"(",
                          ")",
                          "a)",
                          "[",
                          "[a",
                          "[a-",
                          "[z-a]",
                          "[\\s-z]",
                          "*",
                          "+a",
                          "?",
                          "a{",
                          "a{x}",
                          "a{2,1}",
                          "a{1",
                          "a{99}",
                          "a{9999999999}",
                          "\\",
                          "[\\",
                          "\\q",
                          "\\1",
                          "\\p",
                          "\\p{",
                          "\\p{}",
                          "\\p{Xx}",
                          "\\p{Greek}",
                          "\\x{110000}",
                          "\\x{}",
                          "\\x{G}",
                          "\\x{ffffffffff}",
                          "(?<a>b)",
                          "(?P<a>b)",
                          "(?<=a)b",
                          "a++",
                          "a*+",
                          ".",
                          "^a",
                          "(a*)*",
                          "(a|b?)+",
                          "(?:)*",
                          "((?=a))*",
                          "(a{64}){64}"}) {
    EXPECT_FALSE(Pattern::compile(bad)) << bad;
  }
  std::string deep;
  for (int i = 0; i < 100'000; ++i) {
    deep += '(';
  }
  EXPECT_FALSE(Pattern::compile(deep));
}

TEST(Pattern, RefusesAnAutomatonThatWouldGrowTooLarge) {
  // At each place it has to know which of the next 20 characters are an a: a million states.
  const auto pattern = Pattern::compile("[ab]{20}a");
  ASSERT_FALSE(pattern);
  EXPECT_EQ(pattern.error().code, ErrorCode::limit_exceeded);
}

// Both passes look at a character a bounded number of times, whatever stands there: no clock is
// needed to see that.
TEST(Pattern, TakesAtMostSoManyStepsACharacter) {
  std::uint64_t n_checked = 0;
  for (const std::string_view name : tokenizer::pretokenizer_names()) {
    const auto pretokenizer = Pretokenizer::create(name);
    ASSERT_TRUE(pretokenizer) << name;
    const std::size_t n_expressions = tokenizer::find_pretokenizer(name)->expressions.size();
    for (const std::string_view unit :
         {"a", " ", "\n", "1", "'", "A", "aB", " \n", "'l", "中", "\xFF", " a", "é", "1a", "' "}) {
      for (const char* end : {"", "x", "!"}) {
        std::string text;
        while (text.size() < 4'000) {
          text += unit;
        }
        text += end;
        std::vector<std::size_t> ends;
        Pattern::Scratch scratch;
        pretokenizer->split(text, ends, scratch);
        EXPECT_LE(scratch.steps, text.size() * 24 * n_expressions)
            << name << " on '" << unit << "'";
        EXPECT_EQ(ends.back(), text.size());
        ++n_checked;
      }
    }
  }
  EXPECT_GT(n_checked, 2'000u);
}

TEST(Pattern, SurvivesAMillionCharacters) {
  for (const std::string_view name : {"llama-bpe", "gpt-4o", "superbpe", "default"}) {
    const auto pretokenizer = Pretokenizer::create(name);
    ASSERT_TRUE(pretokenizer) << name;
    for (const char c : {'a', ' ', '1', '\n', '\'', '\xE2'}) {
      const std::string text(1'000'000, c);
      std::vector<std::size_t> ends;
      Pattern::Scratch scratch;
      pretokenizer->split(text, ends, scratch);
      EXPECT_EQ(ends.back(), text.size());
    }
  }
}

TEST(Pretokenizer, CutsTrickyTextsAsAnIndependentEngineDoes) {
  std::size_t n_cases = 0;
  for (const PretokenizerCase& c : kPretokenizerCases) {
    std::string text(c.cut);
    for (std::size_t at = text.find("¦"); at != std::string::npos; at = text.find("¦")) {
      text.erase(at, std::string_view("¦").size());
    }
    const auto pretokenizer = Pretokenizer::create(c.pre);
    ASSERT_TRUE(pretokenizer) << c.pre;
    std::vector<std::size_t> ends;
    Pattern::Scratch scratch;
    pretokenizer->split(text, ends, scratch);
    EXPECT_EQ(joined(text, ends), c.cut) << c.pre;
    ++n_cases;
  }
  EXPECT_GE(n_cases, 160u);
}

TEST(Pretokenizer, CompilesEveryNameToASmallAutomaton) {
  for (const std::string_view name : tokenizer::pretokenizer_names()) {
    const auto spec = tokenizer::find_pretokenizer(name);
    for (const std::string_view expression : spec->expressions) {
      const auto pattern = Pattern::compile(expression);
      ASSERT_TRUE(pattern) << name << ": " << pattern.error().problem;
      EXPECT_LT(pattern->n_states(), 200u) << name;
    }
  }
}

TEST(Pretokenizer, GivesNothingForNothing) {
  const auto pretokenizer = Pretokenizer::create("gpt-2");
  ASSERT_TRUE(pretokenizer);
  std::vector<std::size_t> ends = {1, 2};
  Pattern::Scratch scratch;
  pretokenizer->split("", ends, scratch);
  EXPECT_TRUE(ends.empty());
}

TEST(CodeSet, KnowsUnicodesProperties) {
  const CodeSet letters = *CodeSet::property("L");
  for (const char32_t c : {U'a', U'Z', U'é', U'я', U'中', U'ʰ', char32_t{0x10400}}) {
    EXPECT_TRUE(letters.contains(c)) << static_cast<std::uint32_t>(c);
  }
  for (const char32_t c : {U'1', U' ', U'_', char32_t{0x301}, char32_t{0x10FFFF}, char32_t{0}}) {
    EXPECT_FALSE(letters.contains(c)) << static_cast<std::uint32_t>(c);
  }
  EXPECT_TRUE(CodeSet::property("Lt")->contains(0x1C5));
  EXPECT_TRUE(CodeSet::property("Nl")->contains(0x2167));
  EXPECT_TRUE(CodeSet::property("Cn")->contains(0x10FFFF));
  EXPECT_FALSE(CodeSet::property("X"));
  EXPECT_FALSE(CodeSet::property(""));
  EXPECT_FALSE(CodeSet::property("L&"));

  const CodeSet space = CodeSet::white_space();
  std::size_t n_spaces = 0;
  for (char32_t c = 0; c < unicode::kEnd; ++c) {
    n_spaces += space.contains(c) ? 1 : 0;
  }
  EXPECT_EQ(n_spaces, 25u);  // PropList.txt: White_Space
  EXPECT_FALSE(space.contains(0x200B));
  EXPECT_FALSE(space.contains(0x1C));
}

TEST(CodeSet, CoversEveryCodePointWithOneCategory) {
  std::vector<int> seen(unicode::kEnd, 0);
  for (const char* group : {"L", "M", "N", "P", "S", "Z", "C"}) {
    const CodeSet set = *CodeSet::property(group);
    for (const CodeSet::Range& range : set.ranges()) {
      for (char32_t c = range.first; c < range.end; ++c) {
        ++seen[c];
      }
    }
  }
  EXPECT_EQ(seen, std::vector<int>(unicode::kEnd, 1));
}

TEST(CodeSet, Inverts) {
  CodeSet set = CodeSet::range('b', 'd');
  set.add(CodeSet::single('e'));
  set.add(CodeSet::range('x', 'z'));
  EXPECT_EQ(set.ranges().size(), 2u);
  CodeSet outside = set;
  outside.invert();
  EXPECT_TRUE(outside.contains('a') && outside.contains('f') && outside.contains(0x10FFFF));
  EXPECT_FALSE(outside.contains('e') || outside.contains('x'));
  outside.invert();
  EXPECT_EQ(outside, set);
  CodeSet all;
  all.invert();
  EXPECT_EQ(all, CodeSet::range(0, 0x10FFFF));
  all.invert();
  EXPECT_TRUE(all.empty());
}

TEST(Utf8, FindsTheSameCharactersFromBothEnds) {
  const std::string parts[] = {
      "a", "é", "€", "😀", "\x80", "\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xED\xA0\x80", "\xF4\x90"};
  for (const auto& a : parts) {
    for (const auto& b : parts) {
      for (const auto& c : parts) {
        const std::string text = a + b + c;
        std::vector<std::size_t> forward;
        for (std::size_t at = 0; at < text.size(); at += utf8::decode(text, at).bytes) {
          forward.insert(forward.begin(), at);
        }
        std::vector<std::size_t> backward;
        for (std::size_t end = text.size(); end > 0;) {
          end -= utf8::decode_before(text, end).bytes;
          backward.push_back(end);
        }
        EXPECT_EQ(forward, backward);
      }
    }
  }
}

TEST(Utf8, ReadsWhatItWrites) {
  for (char32_t c = 1; c < unicode::kEnd; c += 7) {
    if (c >= 0xD800 && c < 0xE000) {
      continue;
    }
    std::string text;
    utf8::append(text, c);
    const utf8::Character back = utf8::decode(text, 0);
    ASSERT_EQ(back.code_point, c);
    ASSERT_EQ(back.bytes, text.size());
  }
}

}  // namespace LM_FILE
}  // namespace lm::test
