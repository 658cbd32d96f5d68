#include "runtime/sample/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include <gtest/gtest.h>

namespace lm {
namespace LM_FILE {

SamplerParams plain(double temperature) {
  SamplerParams p;
  p.temperature = temperature;
  p.top_k = 0;
  p.top_p = 1.0;
  p.seed = 7;
  return p;
}

std::map<Token, int> draw(const SamplerParams& params, const std::vector<float>& logits, int n) {
  Sampler sampler(params);
  std::map<Token, int> seen;
  for (int i = 0; i < n; ++i) {
    ++seen[*sampler.pick(logits)];
  }
  return seen;
}

TEST(Sampler, GreedyTakesTheFirstOfTheBest) {
  Sampler sampler(plain(0.0));
  EXPECT_EQ(*sampler.pick(std::vector<float>{1.0f, 3.0f, 3.0f, 2.0f}), 1);
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  const auto seen = draw(plain(1.0), logits, 20000);
  EXPECT_NEAR(seen.at(0) / 20000.0, 0.5, 0.02);
  EXPECT_NEAR(seen.at(1) / 20000.0, 0.3, 0.02);
  EXPECT_NEAR(seen.at(2) / 20000.0, 0.2, 0.02);
}

TEST(Sampler, LowTemperatureSharpens) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  // At temperature 1/2 the probabilities are squared: 0.25, 0.09, 0.04 of 0.38.
  EXPECT_NEAR(draw(plain(0.5), logits, 20000).at(0) / 20000.0, 0.25 / 0.38, 0.02);
}

TEST(Sampler, SameSeedSameTokensOtherSeedOthers) {
  const std::vector<float> logits(50, 0.0f);
  auto run = [&](std::int64_t seed) {
    SamplerParams p = plain(1.0);
    p.seed = seed;
    Sampler sampler(p);
    std::vector<Token> tokens;
    for (int i = 0; i < 30; ++i) {
      tokens.push_back(*sampler.pick(logits));
    }
    return tokens;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(Sampler, TopKKeepsTheKBest) {
  SamplerParams p = plain(1.0);
  p.top_k = 2;
  const auto seen = draw(p, {0.0f, 1.0f, 2.0f, 1.5f}, 500);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_TRUE(seen.contains(2) && seen.contains(3));
}

TEST(Sampler, TopPKeepsTheShortestPrefixThatReachesIt) {
  SamplerParams p = plain(1.0);
  p.top_p = 0.75;
  const auto seen = draw(p, {std::log(0.5f), std::log(0.3f), std::log(0.2f)}, 500);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_FALSE(seen.contains(2));
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  SamplerParams p = plain(1.0);
  p.min_p = 0.5;
  const auto seen = draw(p, {std::log(0.5f), std::log(0.3f), std::log(0.2f)}, 500);
  EXPECT_EQ(seen.size(), 2u);
}

TEST(Sampler, TypicalDropsWhatIsTooLikelyForItsEntropy) {
  SamplerParams p = plain(1.0);
  p.typical_p = 0.3;
  // Many equally likely tokens and one favourite: the favourite is the least typical of all.
  std::vector<float> logits(41, std::log(0.02f));
  logits[0] = std::log(0.2f);
  const auto seen = draw(p, logits, 500);
  EXPECT_FALSE(seen.contains(0));
}

TEST(Sampler, RepeatPenaltyLooksBackOnlyAsFarAsAsked) {
  SamplerParams p = plain(0.0);
  p.repeat_penalty = 2.0;
  p.repeat_last_n = 2;
  Sampler sampler(p);
  sampler.accept(0);
  const std::vector<float> logits = {3.0f, 2.0f, 1.0f};
  EXPECT_EQ(*sampler.pick(logits), 1) << "3 / 2 is below 2";
  sampler.accept(1);
  sampler.accept(1);  // the 0 has left the window
  EXPECT_EQ(*sampler.pick(logits), 0);
}

TEST(Sampler, RepeatPenaltyMakesNegativeLogitsMoreNegative) {
  SamplerParams p = plain(0.0);
  p.repeat_penalty = 2.0;
  Sampler sampler(p);
  sampler.accept(0);
  EXPECT_EQ(*sampler.pick(std::vector<float>{-1.0f, -1.5f}), 1);
}

TEST(Sampler, PresenceAndFrequencyPenaltiesCount) {
  SamplerParams p = plain(0.0);
  p.presence_penalty = 0.5;
  p.frequency_penalty = 0.4;
  Sampler sampler(p);
  const std::vector<float> logits = {2.0f, 1.0f};
  sampler.accept(0);
  EXPECT_EQ(*sampler.pick(logits), 0) << "2 - 0.5 - 0.4 is above 1";
  sampler.accept(0);
  EXPECT_EQ(*sampler.pick(logits), 1) << "2 - 0.5 - 0.8 is below 1";
}

TEST(Sampler, MaskForbids) {
  Sampler sampler(plain(0.0));
  EXPECT_EQ(*sampler.pick(std::vector<float>{5.0f, 1.0f, 2.0f}, std::vector<std::uint8_t>{0, 1, 1}),
            2);
  const auto none =
      sampler.pick(std::vector<float>{5.0f, 1.0f, 2.0f}, std::vector<std::uint8_t>{0, 0, 0});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::bad_value);
}

TEST(Sampler, ShortlistWorksLikeLogits) {
  Sampler sampler(plain(0.0));
  EXPECT_EQ(*sampler.pick(std::vector<Candidate>{{42, 1.0f}, {7, 2.0f}}), 7);
}

TEST(Sampler, NonFiniteLogitsAreAnErrorAndMinusInfinityIsForbidden) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    for (const std::vector<float>& bad :
         {std::vector<float>{kNan, 1.0f}, std::vector<float>{1.0f, kNan},
          std::vector<float>{1.0f, kInf}, std::vector<float>{kInf, 1.0f}}) {
      Sampler sampler(plain(temperature));
      const auto picked = sampler.pick(bad);
      ASSERT_FALSE(picked);
      EXPECT_EQ(picked.error().code, ErrorCode::non_finite);
    }
    Sampler sampler(plain(temperature));
    EXPECT_EQ(*sampler.pick(std::vector<float>{-kInf, 1.0f}), 1);
    EXPECT_EQ(*sampler.pick(std::vector<float>{1.0f, -kInf}), 0);
  }
}

TEST(SamplerParams, EveryNameTakesItsRange) {
  SamplerParams p;
  EXPECT_TRUE(set_sampler_param(p, "temperature", "0"));
  EXPECT_EQ(p.temperature, 0.0);
  EXPECT_TRUE(set_sampler_param(p, "top_k", "5.0"));
  EXPECT_EQ(p.top_k, 5);
  EXPECT_TRUE(set_sampler_param(p, "seed", "-1"));
  for (const auto& [name, bad] :
       std::vector<std::pair<const char*, const char*>>{{"top_p", "-1"},
                                                        {"top_p", "nan"},
                                                        {"top_p", ""},
                                                        {"top_p", "0.5x"},
                                                        {"top_k", "1.5"},
                                                        {"top_k", "1e20"},
                                                        {"temperature", "-0.1"},
                                                        {"temperature", "inf"},
                                                        {"seed", "-2"},
                                                        {"repeat_penalty", "0"}}) {
    const auto result = set_sampler_param(p, name, bad);
    ASSERT_FALSE(result) << name << " " << bad;
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(result.error().subject, name);
  }
  EXPECT_FALSE(set_sampler_param(p, "no_such", "1"));
  std::set<std::string_view> names(sampler_param_names().begin(), sampler_param_names().end());
  EXPECT_EQ(names.size(), sampler_param_names().size()) << "no name twice";
}

}  // namespace LM_FILE
}  // namespace lm
