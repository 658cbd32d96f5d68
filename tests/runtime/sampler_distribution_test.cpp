// Whether what is drawn follows the probabilities worked out by hand: chi-square with fixed seeds.
#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "runtime/sample/cuts.h"
#include "runtime/sample/sampler.h"

namespace lm {
namespace LM_FILE {

using Shares = std::map<Token, double>;

SamplerParams everything() {
  SamplerParams p;
  p.temperature = 1.0;
  p.top_k = 0;
  p.top_p = 1.0;
  p.seed = 20261121;
  return p;
}

std::vector<float> logits_of(const std::vector<double>& shares) {
  std::vector<float> logits;
  for (const double share : shares) {
    logits.push_back(static_cast<float>(std::log(share) + 3.0));
  }
  return logits;
}

/// Sum of (seen - expected)^2 / expected over `n` draws. Tokens without a share fail the test.
double chi_square(const std::vector<Token>& drawn, const Shares& shares) {
  std::map<Token, int> seen;
  for (const Token token : drawn) {
    ++seen[token];
    EXPECT_TRUE(shares.contains(token)) << "token " << token << " has no share";
  }
  double sum = 0.0;
  for (const auto& [token, share] : shares) {
    const double expected = share * static_cast<double>(drawn.size());
    const double difference = seen[token] - expected;
    sum += difference * difference / expected;
  }
  return sum;
}

/// The 99.9 % points of the chi-square distribution for 1 to 7 degrees of freedom.
double limit_for(const Shares& shares) {
  constexpr double kLimits[] = {0.0, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32};
  return kLimits[shares.size() - 1];
}

void expect_shares(const SamplerParams& params, const std::vector<double>& of, const Shares& shares,
                   const std::vector<Token>& text = {}) {
  const std::vector<float> logits = logits_of(of);
  Sampler sampler(params);
  for (const Token token : text) {
    sampler.accept(token);
  }
  std::vector<Token> drawn;
  for (int i = 0; i < 40000; ++i) {
    drawn.push_back(*sampler.pick(logits));
  }
  EXPECT_LT(chi_square(drawn, shares), limit_for(shares));
}

const std::vector<double> kShares = {0.05, 0.4, 0.1, 0.3, 0.15};

TEST(SamplerDistribution, PlainIsTheSoftmax) {
  expect_shares(everything(), kShares, {{0, 0.05}, {1, 0.4}, {2, 0.1}, {3, 0.3}, {4, 0.15}});
}

TEST(SamplerDistribution, TheTestItselfCanFail) {
  std::vector<Token> drawn(1000, 0);
  drawn.resize(2000, 1);
  EXPECT_GT(chi_square(drawn, {{0, 0.4}, {1, 0.6}}), limit_for({{0, 0.4}, {1, 0.6}}));
}

TEST(SamplerDistribution, Temperature) {
  SamplerParams p = everything();
  p.temperature = 0.5;  // shares are squared: .0025 .16 .01 .09 .0225 of .285
  expect_shares(p, kShares,
                {{0, 0.0025 / 0.285},
                 {1, 0.16 / 0.285},
                 {2, 0.01 / 0.285},
                 {3, 0.09 / 0.285},
                 {4, 0.0225 / 0.285}});
}

TEST(SamplerDistribution, TopK) {
  SamplerParams p = everything();
  p.top_k = 2;
  expect_shares(p, kShares, {{1, 4.0 / 7}, {3, 3.0 / 7}});
}

TEST(SamplerDistribution, TopP) {
  SamplerParams p = everything();
  p.top_p = 0.8;  // .4 + .3 + .15 reaches it
  expect_shares(p, kShares, {{1, 0.4 / 0.85}, {3, 0.3 / 0.85}, {4, 0.15 / 0.85}});
}

TEST(SamplerDistribution, MinP) {
  SamplerParams p = everything();
  p.min_p = 0.3;  // at least .12
  expect_shares(p, kShares, {{1, 0.4 / 0.85}, {3, 0.3 / 0.85}, {4, 0.15 / 0.85}});
}

TEST(SamplerDistribution, Typical) {
  SamplerParams p = everything();
  // The entropy is 1.39 nats; surprises are 3.00, 0.92, 2.30, 1.20, 1.90, so the order is 3 (0.19),
  // 1 (0.47), 4 (0.51): .3 + .4 reaches 0.5.
  p.typical_p = 0.5;
  expect_shares(p, kShares, {{1, 4.0 / 7}, {3, 3.0 / 7}});
}

TEST(SamplerDistribution, CutsComeBeforeTemperature) {
  SamplerParams p = everything();
  p.top_p = 0.65;
  p.temperature = 2.0;  // cut first, then square roots: .632 and .548
  const double a = std::sqrt(0.4);
  const double b = std::sqrt(0.3);
  expect_shares(p, kShares, {{1, a / (a + b)}, {3, b / (a + b)}});
}

TEST(SamplerDistribution, LogitBias) {
  SamplerParams p = everything();
  p.logit_bias = {{0, static_cast<float>(std::log(8.0))}, {1, -100.0f}};  // .4 .1 .3 .15 of .95
  expect_shares(p, kShares, {{0, 0.4 / 0.95}, {2, 0.1 / 0.95}, {3, 0.3 / 0.95}, {4, 0.15 / 0.95}});
}

TEST(SamplerDistribution, Penalties) {
  SamplerParams p = everything();
  p.presence_penalty = std::log(2.0);
  p.frequency_penalty = std::log(1.5);
  // Token 1 stood there twice: .4 / 2 / 1.5^2; token 3 once: .3 / 2 / 1.5.
  const double one = 0.4 / 4.5;
  const double three = 0.3 / 3.0;
  const double all = 0.05 + one + 0.1 + three + 0.15;
  expect_shares(
      p, kShares,
      {{0, 0.05 / all}, {1, one / all}, {2, 0.1 / all}, {3, three / all}, {4, 0.15 / all}},
      {1, 3, 1});
}

TEST(SamplerDistribution, XtcLeavesTheLeastOfTheLikelyOnes) {
  SamplerParams p = everything();
  p.xtc_threshold = 0.12;  // 1, 3 and 4 are likely: 1 and 3 go
  p.xtc_probability = 1.0;
  expect_shares(p, kShares, {{0, 0.05 / 0.3}, {2, 0.1 / 0.3}, {4, 0.15 / 0.3}});
  p.xtc_probability = 0.5;  // half of the draws
  expect_shares(p, kShares,
                {{0, 0.5 * 0.05 + 0.5 * 0.05 / 0.3},
                 {1, 0.5 * 0.4},
                 {2, 0.5 * 0.1 + 0.5 * 0.1 / 0.3},
                 {3, 0.5 * 0.3},
                 {4, 0.5 * 0.15 + 0.5 * 0.15 / 0.3}});
  p.xtc_threshold = 0.35;  // only one token is that likely: nothing to leave out
  p.xtc_probability = 1.0;
  expect_shares(p, kShares, {{0, 0.05}, {1, 0.4}, {2, 0.1}, {3, 0.3}, {4, 0.15}});
}

TEST(SamplerDistribution, MaskedTokensHaveNoShare) {
  const std::vector<float> logits = logits_of(kShares);
  const std::vector<std::uint8_t> allowed = {1, 0, 1, 0, 1};
  Sampler sampler(everything());
  std::vector<Token> drawn;
  for (int i = 0; i < 40000; ++i) {
    drawn.push_back(*sampler.pick(logits, allowed));
  }
  const Shares shares = {{0, 0.05 / 0.3}, {2, 0.1 / 0.3}, {4, 0.15 / 0.3}};
  EXPECT_LT(chi_square(drawn, shares), limit_for(shares));
}

TEST(SamplerDistribution, AShortlistHasTheSameShares) {
  const std::vector<float> logits = logits_of(kShares);
  SamplerParams p = everything();
  p.top_k = 3;
  p.presence_penalty = std::log(2.0);
  Sampler sampler(p);
  sampler.accept(1);
  std::vector<Token> drawn;
  for (int i = 0; i < 40000; ++i) {
    std::vector<Candidate> shortlist;
    for (const Token id : {4, 1, 3, 2}) {
      shortlist.push_back({id, logits[static_cast<std::size_t>(id)]});
    }
    drawn.push_back(*sampler.pick(std::move(shortlist)));
  }
  const Shares shares = {{1, 0.2 / 0.65}, {3, 0.3 / 0.65}, {4, 0.15 / 0.65}};
  EXPECT_LT(chi_square(drawn, shares), limit_for(shares));
}

TEST(SamplerDistribution, VerifiedDraftsAreDistributedAsPicks) {
  // A draft model that is wrong in every way: it likes what the model does not, knows a token that
  // the model cuts off, and misses one.
  const std::vector<Weighted> q = {{0, 0.5}, {1, 0.2}, {2, 0.2}, {4, 0.1}};
  const std::vector<float> logits = logits_of(kShares);
  SamplerParams p = everything();
  p.min_p = 0.2;  // token 0 goes: .4 .1 .3 .15 of .95
  Sampler sampler(p);
  SamplerParams other = everything();
  other.seed = 99;
  Sampler drafter(other);
  std::vector<Token> drawn;
  int accepted = 0;
  for (int i = 0; i < 40000; ++i) {
    const auto verdict = sampler.verify(logits, {}, drafter.draw(q), q);
    ASSERT_TRUE(verdict);
    drawn.push_back(verdict->token);
    accepted += verdict->accepted ? 1 : 0;
  }
  const Shares shares = {{1, 0.4 / 0.95}, {2, 0.1 / 0.95}, {3, 0.3 / 0.95}, {4, 0.15 / 0.95}};
  EXPECT_LT(chi_square(drawn, shares), limit_for(shares));
  // The rule accepts with probability sum of min(p, q): .2 + .1 / .95 + .1.
  EXPECT_NEAR(accepted / 40000.0, 0.2 + 0.1 / 0.95 + 0.1, 0.01);
}

TEST(SamplerDistribution, AGreedyPickVerifiesGreedily) {
  SamplerParams p = everything();
  p.temperature = 0.0;
  Sampler sampler(p);
  const std::vector<float> logits = logits_of(kShares);
  const std::vector<Weighted> right = {{1, 1.0}};
  const std::vector<Weighted> wrong = {{3, 1.0}};
  const auto good = sampler.verify(logits, {}, 1, right);
  EXPECT_TRUE(good->accepted);
  const auto bad = sampler.verify(logits, {}, 3, wrong);
  EXPECT_FALSE(bad->accepted);
  EXPECT_EQ(bad->token, 1);
}

TEST(SamplerDistribution, MirostatHoldsTheSurprise) {
  // A Zipf-like vocabulary; the mean surprise of what is picked comes near tau whatever tau is.
  std::vector<double> zipf;
  for (int i = 1; i <= 2000; ++i) {
    zipf.push_back(1.0 / i);
  }
  const std::vector<float> logits = logits_of(zipf);
  for (const double tau : {2.0, 4.0, 6.0}) {
    SamplerParams p = everything();
    p.mirostat = 2;
    p.mirostat_tau = tau;
    p.top_k = 1000;
    Sampler sampler(p);
    double bits = 0.0;
    constexpr int kDraws = 4000;
    for (int i = 0; i < kDraws; ++i) {
      const auto weights = sampler.distribution(logits);
      ASSERT_TRUE(weights);
      const std::vector<Weighted> left(weights->begin(), weights->end());
      const Token token = *sampler.pick(logits);
      const auto at = std::ranges::find(left, token, &Weighted::id);
      ASSERT_NE(at, left.end());
      bits -= std::log2(at->p);
    }
    EXPECT_NEAR(bits / kDraws, tau, 0.1) << tau;
  }
}

TEST(SamplerDistribution, TopPOfALargeVocabularyNeedsNoFullSort) {
  // 3000 tokens, flat enough that the prefix is longer than what is looked at first, and peaked.
  for (const double slope : {0.0005, 0.01}) {
    std::vector<float> logits;
    std::vector<Candidate> sorted;
    for (int i = 0; i < 3000; ++i) {
      logits.push_back(static_cast<float>(-slope * ((i * 7) % 3000)));
      sorted.push_back({i, logits.back()});
    }
    std::ranges::sort(sorted, better);
    cut_top_p(sorted, 0.8);
    SamplerParams p = everything();
    p.top_p = 0.8;
    Sampler sampler(p);
    const auto weights = sampler.distribution(logits);
    ASSERT_TRUE(weights);
    ASSERT_EQ(weights->size(), sorted.size()) << slope;
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      EXPECT_EQ((*weights)[i].id, sorted[i].id);
    }
  }
}

TEST(LogitScan, FindsTheBestAsSortingDoes) {
  std::mt19937_64 random(5);
  LogitScan scan;
  int cases = 0;
  for (const std::size_t n : {1u, 5u, 31u, 32u, 33u, 100u, 1000u, 5003u}) {
    for (int round = 0; round < 20; ++round) {
      std::vector<float> logits(n);
      for (float& value : logits) {
        // Few different values, so that there are many of the same.
        value = round % 2 == 0 ? static_cast<float>(random() % 13)
                               : static_cast<float>(random() >> 40) * 1e-6f;
        value = random() % 10 == 0 ? -HUGE_VALF : value;
      }
      std::vector<Candidate> sorted;
      for (std::size_t i = 0; i < n; ++i) {
        if (logits[i] != -HUGE_VALF) {
          sorted.push_back({static_cast<Token>(i), logits[i]});
        }
      }
      std::ranges::sort(sorted, better);
      scan.scan(logits);
      EXPECT_TRUE(scan.valid());
      if (sorted.empty()) {
        EXPECT_EQ(scan.best(), -HUGE_VALF);
        continue;
      }
      EXPECT_EQ(scan.argmax(), sorted.front().id);
      for (const std::size_t k : {0u, 1u, 3u, 40u, 5000u}) {
        std::vector<Candidate> top;
        scan.top(k, top);
        ASSERT_EQ(top.size(), k == 0 ? sorted.size() : std::min(k, sorted.size()));
        for (std::size_t i = 0; i < top.size(); ++i) {
          ASSERT_EQ(top[i].id, sorted[i].id) << "n " << n << " k " << k << " at " << i;
        }
      }
      ++cases;
    }
  }
  EXPECT_GT(cases, 150);
}

TEST(LogitScan, SeesWhatIsNoNumberAtEveryPlace) {
  for (const std::size_t n : {7u, 64u, 70u}) {
    for (std::size_t at = 0; at < n; ++at) {
      std::vector<float> logits(n, 1.0f);
      LogitScan scan;
      logits[at] = NAN;
      scan.scan(logits);
      EXPECT_FALSE(scan.valid()) << at << " of " << n;
      logits[at] = HUGE_VALF;
      scan.scan(logits);
      EXPECT_FALSE(scan.valid()) << at << " of " << n;
      logits[at] = -HUGE_VALF;
      scan.scan(logits);
      EXPECT_TRUE(scan.valid()) << at << " of " << n;
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm
