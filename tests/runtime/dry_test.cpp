// DRY against repetitions worked out by hand, and against a search that tries every length.
#include "runtime/sample/dry.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "runtime/sample/sampler.h"
#include "tests/golden/golden.h"

namespace lm {
namespace LM_FILE {

SamplerParams dry_params() {
  SamplerParams p;
  p.temperature = 0.0;
  p.dry_multiplier = 1.0;
  p.dry_base = 2.0;
  p.dry_allowed_length = 2;
  return p;
}

std::vector<float> penalties(const SamplerParams& params, const std::vector<Token>& text,
                             std::size_t n_vocab) {
  Dry dry(params, nullptr);
  for (const Token token : text) {
    dry.accept(token);
  }
  std::vector<float> logits(n_vocab, 0.0f);
  LogitView view(logits);
  dry.apply(view);
  return logits;
}

TEST(Dry, PenaltyGrowsWithTheRepetition) {
  // "1 2 3" was followed by 4; two tokens are free of the exponent, the third doubles.
  EXPECT_EQ(penalties(dry_params(), {9, 1, 2, 3, 4, 8, 1, 2, 3}, 10)[4], -2.0f);
  EXPECT_EQ(penalties(dry_params(), {9, 2, 3, 4, 8, 2, 3}, 10)[4], -1.0f);
  EXPECT_EQ(penalties(dry_params(), {9, 3, 4, 8, 3}, 10)[4], 0.0f) << "one token is allowed";
}

TEST(Dry, TheLongestRepetitionCounts) {
  const auto logits = penalties(dry_params(), {2, 3, 7, 1, 2, 3, 7, 0, 1, 2, 3}, 10);
  EXPECT_EQ(logits[7], -2.0f);
}

TEST(Dry, LooksBackOnlyAsFarAsAsked) {
  SamplerParams p = dry_params();
  p.dry_penalty_last_n = 5;
  EXPECT_EQ(penalties(p, {1, 2, 4, 8, 8, 8, 1, 2}, 10)[4], 0.0f);
  p.dry_penalty_last_n = 8;
  EXPECT_EQ(penalties(p, {1, 2, 4, 8, 8, 8, 1, 2}, 10)[4], -1.0f);
}

TEST(Dry, AgreesWithASearchOverAllLengths) {
  std::mt19937 random(3);
  int penalised = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<Token> text(60);
    for (Token& token : text) {
      token = static_cast<Token>(random() % 3);
    }
    std::vector<float> expected(3, 0.0f);
    for (Token next = 0; next < 3; ++next) {
      std::size_t longest = 0;
      for (std::size_t at = 1; at < text.size(); ++at) {
        if (text[at] != next) {
          continue;
        }
        std::size_t m = 0;
        while (m < at && text[at - 1 - m] == text[text.size() - 1 - m]) {
          ++m;
        }
        longest = std::max(longest, m);
      }
      if (longest >= 2) {
        expected[static_cast<std::size_t>(next)] =
            -static_cast<float>(std::pow(2.0, static_cast<double>(longest - 2)));
        ++penalised;
      }
    }
    EXPECT_EQ(penalties(dry_params(), text, 3), expected) << round;
  }
  EXPECT_GT(penalised, 300);
}

TEST(Dry, HugeRepetitionsStayFinite) {
  const auto logits = penalties(dry_params(), std::vector<Token>(5000, 1), 3);
  EXPECT_TRUE(std::isfinite(logits[1]));
  EXPECT_LT(logits[1], -1e6f);
}

TEST(Dry, SequenceBreakersEndARepetition) {
  auto file = GgufFile::open(golden::data_dir() / "arch" / "llama-gqa.gguf");
  ASSERT_TRUE(file);
  auto tokenizer = Tokenizer::create(file->metadata());
  ASSERT_TRUE(tokenizer);
  const auto ids = [&](std::string_view text) {
    std::vector<Token> tokens;
    (*tokenizer)->encode(text, SpecialTokens::as_text, false, tokens);
    return tokens;
  };
  const auto lowered = [&](const std::vector<std::string>& breakers, const std::string& text) {
    SamplerParams p = dry_params();
    p.dry_sequence_breakers = breakers;
    Dry dry(p, tokenizer->get());
    for (const Token token : ids(text)) {
      dry.accept(token);
    }
    std::vector<float> logits((*tokenizer)->n_vocab(), 0.0f);
    LogitView view(logits);
    dry.apply(view);
    return std::ranges::count_if(logits, [](float v) { return v < 0.0f; });
  };
  const std::string text = "zq#jx! kw zq#jx! kw zq#jx";
  EXPECT_GT(lowered({}, text), 0);
  EXPECT_EQ(lowered({"x"}, text), 0) << "the text ends with a breaker";
  EXPECT_EQ(lowered({"jx"}, text), 0) << "a breaker may span tokens";
  EXPECT_GT(lowered({"y"}, text), 0);
}

TEST(Dry, IsAStageOfTheSampler) {
  Sampler sampler(dry_params());
  for (const Token token : {1, 2, 3, 4, 0, 1, 2, 3}) {
    sampler.accept(token);
  }
  EXPECT_EQ(*sampler.pick(std::vector<float>{0.0f, 0.1f, 0.2f, 0.3f, 2.0f}), 3) << "2 - 2 < 0.3";
}

}  // namespace LM_FILE
}  // namespace lm
