// Masks over a vocabulary against the automaton itself, token by token.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/grammar/token_mask.h"

namespace lm {
namespace LM_FILE {

using grammar::ConfigId;
using grammar::Grammar;
using grammar::GrammarConstraint;
using grammar::TokenMasks;
using grammar::TokenTrie;

/// Every byte, and pieces as real vocabularies have them: over the borders of names, strings and
/// numbers, and through the middle of characters.
struct Vocabulary {
  std::vector<std::string> texts;
  std::shared_ptr<const TokenTrie> trie;
  Token end = 0;

  Vocabulary() {
    for (int byte = 0; byte < 256; ++byte) {
      texts.emplace_back(1, static_cast<char>(byte));
    }
    const std::vector<std::string> parts = {
        "{",   "}",    "[",    "]",        "\"",       ":", ",",     " ",    "\n",     "name",
        "a",   "b",    "1",    "20",       "0.5",      "e", "-",     "true", "null",   "\\u00e9",
        "\\n", "\xC3", "\xA9", "\xF0\x9F", "\x98\x80", "é", "hello", "  ",   "\n    ", "@"};
    for (const std::string& a : parts) {
      texts.push_back(a);
      for (const std::string& b : parts) {
        texts.push_back(a + b);
        texts.push_back("\"" + a + b + "\":");
        texts.push_back(a + "\",\"" + b);
      }
    }
    texts.emplace_back("");  // a control token
    end = static_cast<Token>(texts.size());
    texts.emplace_back("");
    std::vector<std::string_view> views(texts.begin(), texts.end());
    trie = std::make_shared<const TokenTrie>(views, std::vector<Token>{end});
  }
};

const Vocabulary& vocabulary() {
  static const Vocabulary made;
  return made;
}

/// Compares the mask with stepping each token, then takes an allowed one, up to `steps` times.
void walk(const std::shared_ptr<Grammar>& g, std::uint32_t seed, int steps, int& compared) {
  const Vocabulary& v = vocabulary();
  auto masks = std::make_shared<TokenMasks>(g, v.trie);
  GrammarConstraint constraint(masks);
  std::mt19937 random(seed);
  std::string text;
  ConfigId at = g->start();
  for (int step = 0; step < steps; ++step) {
    std::vector<std::uint8_t> allowed(v.texts.size(), 1);
    const auto masked = constraint.mask(allowed);
    ASSERT_TRUE(masked) << text << ": " << masked.error().problem;
    std::vector<Token> choices;
    for (std::size_t id = 0; id < v.texts.size(); ++id) {
      const bool is_end = static_cast<Token>(id) == v.end;
      const bool fits =
          is_end ? g->machine().complete(at)
                 : !v.texts[id].empty() && g->machine().step(at, v.texts[id]) != grammar::kStuck;
      ASSERT_EQ(allowed[id] != 0, fits) << "after " << text << " token " << v.texts[id];
      ++compared;
      if (fits && !is_end) {
        choices.push_back(static_cast<Token>(id));
      }
    }
    if (choices.empty()) {
      ASSERT_TRUE(constraint.is_complete()) << "dead end after " << text;
      return;
    }
    const Token chosen = choices[random() % choices.size()];
    text += v.texts[static_cast<std::size_t>(chosen)];
    const GrammarConstraint before = constraint;
    ASSERT_TRUE(constraint.accept(chosen));
    at = g->machine().step(at, v.texts[static_cast<std::size_t>(chosen)]);
    EXPECT_EQ(constraint.is_complete(), g->machine().complete(at));
    // A copy is where it was.
    GrammarConstraint again = before;
    ASSERT_TRUE(again.accept(chosen));
    EXPECT_EQ(again.is_complete(), constraint.is_complete());
  }
}

TEST(TokenMask, AgreesWithTheAutomatonTokenByToken) {
  const std::vector<const char*> schemas = {
      R"({"type":"object"})",
      R"({"type":"object","properties":{"name":{"type":"string","maxLength":4},
          "a":{"type":"integer","minimum":-20,"maximum":120},"b":{"enum":["hello","é",null,0.5]}},
          "required":["name"],"additionalProperties":false})",
      R"({"type":"array","items":{"anyOf":[{"type":"number"},{"pattern":"^h.*o$"},
          {"type":"object","patternProperties":{"^a":{"type":"boolean"}}}]},"minItems":2})",
      R"({"minProperties":3,"type":"object","additionalProperties":{"type":"integer"}})",
      R"({"oneOf":[{"format":"email","type":"string"},{"type":"array","contains":{"const":1}}]})",
      R"({"type":"string","minLength":700,"maxLength":900})",
  };
  int compared = 0;
  for (std::size_t i = 0; i < schemas.size(); ++i) {
    const auto g = Grammar::from_schema(schemas[i]);
    ASSERT_TRUE(g) << schemas[i] << g.error().problem;
    for (std::uint32_t seed = 0; seed < 6; ++seed) {
      walk(*g, seed, 40, compared);
    }
  }
  const auto g = Grammar::from_gbnf(
      "root ::= expr\nexpr ::= term ([-,] ws term)*\nterm ::= \"1\" | \"hello\" | \"[\" expr "
      "\"]\"\n"
      "ws ::= [ \\n]{0,3}");
  ASSERT_TRUE(g) << g.error().problem;
  for (std::uint32_t seed = 0; seed < 10; ++seed) {
    walk(*g, seed, 40, compared);
  }
  fmt::print("{} tokens compared\n", compared);
}

/// Where items must differ, a token that begins the next item may be masked though it would fit;
/// what is allowed always fits, and no way ends in a dead end.
TEST(TokenMask, WhatIsAllowedFitsWhereItemsMustDiffer) {
  const Vocabulary& v = vocabulary();
  const std::vector<const char*> schemas = {
      R"({"type":"array","items":{"type":"string","maxLength":2},"uniqueItems":true,"minItems":3})",
      R"({"type":"array","items":{"enum":["a","ab","name",1,20]},"uniqueItems":true,"minItems":4})",
      R"({"type":"array","items":{"type":"integer","minimum":0,"maximum":2},"uniqueItems":true})",
      R"({"type":"array","items":{"type":"object","properties":{"a":{"enum":["a","b"]}},
          "required":["a"],"additionalProperties":false},"uniqueItems":true,"minItems":2})",
      R"({"type":"array","uniqueItems":true,"minItems":2})",
      R"({"type":"array","items":{"type":"array","items":{"enum":[1,2]},"uniqueItems":true},
          "uniqueItems":true})",
      R"({"type":"array","items":{"enum":[1,"a",null]},"not":{"uniqueItems":true}})",
  };
  int allowed_tokens = 0;
  for (const char* schema : schemas) {
    for (std::uint32_t seed = 0; seed < 8; ++seed) {
      // What is tried is remembered, so each walk has a grammar of its own.
      const auto g = Grammar::from_schema(schema);
      ASSERT_TRUE(g) << schema << g.error().problem;
      auto masks = std::make_shared<TokenMasks>(*g, v.trie);
      GrammarConstraint constraint(masks);
      std::mt19937 random(seed);
      std::string text;
      ConfigId at = (*g)->start();
      for (int step = 0; step < 40; ++step) {
        std::vector<std::uint8_t> allowed(v.texts.size(), 1);
        const auto masked = constraint.mask(allowed);
        ASSERT_TRUE(masked) << schema << " after " << text << ": " << masked.error().problem;
        std::vector<Token> choices;
        for (std::size_t id = 0; id < v.texts.size(); ++id) {
          if (allowed[id] == 0 || static_cast<Token>(id) == v.end) {
            continue;
          }
          choices.push_back(static_cast<Token>(id));
          if (random() % 8 == 0) {
            ++allowed_tokens;
            ASSERT_NE((*g)->machine().step(at, v.texts[id]), grammar::kStuck)
                << schema << " after " << text << " token " << v.texts[id];
          }
        }
        if (choices.empty()) {
          EXPECT_TRUE(constraint.is_complete()) << schema << " after " << text;
          break;
        }
        const Token chosen = choices[random() % choices.size()];
        text += v.texts[static_cast<std::size_t>(chosen)];
        ASSERT_TRUE(constraint.accept(chosen));
        at = (*g)->machine().step(at, v.texts[static_cast<std::size_t>(chosen)]);
      }
    }
  }
  fmt::print("{} allowed tokens fit\n", allowed_tokens);
}

TEST(TokenMask, NothingIsAllowedThatWasMaskedBefore) {
  const auto g = Grammar::from_schema(R"({"enum":["a"]})");
  ASSERT_TRUE(g);
  GrammarConstraint constraint(std::make_shared<TokenMasks>(*g, vocabulary().trie));
  std::vector<std::uint8_t> allowed(vocabulary().texts.size(), 0);
  allowed['"'] = 1;
  ASSERT_TRUE(constraint.mask(allowed));
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    EXPECT_EQ(allowed[i] != 0, i == '"') << i;
  }
}

TEST(TokenMask, ATokenThatDoesNotFitIsAnError) {
  const auto g = Grammar::from_schema(R"({"type":"integer"})");
  ASSERT_TRUE(g);
  GrammarConstraint constraint(std::make_shared<TokenMasks>(*g, vocabulary().trie));
  const auto refused = constraint.accept('{');
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::bad_value);
}

TEST(TokenMask, ATextThatIsCompleteMayEnd) {
  const auto g = Grammar::from_schema(R"({"type":"object","maxProperties":0})");
  ASSERT_TRUE(g);
  GrammarConstraint constraint(std::make_shared<TokenMasks>(*g, vocabulary().trie));
  ASSERT_TRUE(constraint.accept_text("{"));
  EXPECT_FALSE(constraint.is_complete());
  ASSERT_TRUE(constraint.accept_text("}"));
  EXPECT_TRUE(constraint.is_finished());
  const auto number = Grammar::from_schema(R"({"type":"integer"})");
  GrammarConstraint digits(std::make_shared<TokenMasks>(*number, vocabulary().trie));
  ASSERT_TRUE(digits.accept_text("12"));
  EXPECT_TRUE(digits.is_complete());
  EXPECT_FALSE(digits.is_finished());  // more digits could follow
}

}  // namespace LM_FILE
}  // namespace lm
