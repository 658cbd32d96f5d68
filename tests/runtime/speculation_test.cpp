// Drafts change how fast a text comes, never which text.
#include "runtime/engine/speculation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/engine/prompt_lookup.h"
#include "tests/runtime/engine_fixture.h"

namespace lm {
namespace LM_FILE {

using namespace engine_fixture;

TEST(PromptLookup, TakesWhatFollowedTheLatestOfTheLongestMatches) {
  const std::vector<Token> text = {1, 2, 3, 4, 5, 9, 1, 2, 3, 7, 8, 1, 2, 3};
  EXPECT_EQ(lookup_draft(text, 2), (std::vector<Token>{7, 8}));
  EXPECT_EQ(lookup_draft(text, 9), (std::vector<Token>{7, 8, 1, 2, 3})) << "up to the text's end";
  // Four tokens agree with the earlier place, three with the later one.
  const std::vector<Token> longer = {0, 1, 2, 3, 4, 9, 1, 2, 3, 7, 0, 1, 2, 3};
  EXPECT_EQ(lookup_draft(longer, 1), (std::vector<Token>{4}));
}

TEST(PromptLookup, NoMatchNoDraft) {
  EXPECT_TRUE(lookup_draft(std::vector<Token>{1, 2, 3, 4, 5}, 3).empty());
  EXPECT_TRUE(lookup_draft(std::vector<Token>{1, 2, 3, 9, 2, 3}, 3).empty()) << "two are too few";
  EXPECT_TRUE(lookup_draft(std::vector<Token>{1, 2}, 3).empty());
  EXPECT_TRUE(lookup_draft({}, 3).empty());
  EXPECT_TRUE(lookup_draft(std::vector<Token>{1, 1, 1, 1, 1}, 0).empty());
  EXPECT_EQ(lookup_draft(std::vector<Token>{1, 1, 1, 1, 1}, 3), (std::vector<Token>{1}))
      << "a text may repeat itself";
}

TEST(Speculation, RestsAfterWrongGuessesAndTriesAgain) {
  Speculation s(3);
  int steps = 0;
  while (s.wanted() > 0 && steps < 100) {
    s.note(3, 0);
    ++steps;
  }
  EXPECT_GT(steps, 1);
  EXPECT_LT(steps, 10);
  int rest = 0;
  while (s.wanted() == 0 && rest < 1000) {
    s.note(0, 0);
    ++rest;
  }
  EXPECT_EQ(rest, 32);
  for (int i = 0; i < 50; ++i) {
    s.note(3, 2);
    EXPECT_EQ(s.wanted(), 3u);
  }
  EXPECT_EQ(Speculation(0).wanted(), 0u);
}

/// A prompt whose end stood in it before, so that lookups begin at once.
std::vector<Token> repeating_prompt() {
  std::vector<Token> prompt = {1};
  for (int i = 0; i < 40; ++i) {
    prompt.push_back(270 + i % 10);
  }
  return prompt;
}

Answer answer(Engine& engine, Request request) {
  const RequestId id = request.id;
  EXPECT_TRUE(engine.submit(std::move(request)));
  return read_all(engine, id);
}

TEST(SpeculativeDecoding, LookupGivesTheSameGreedyText) {
  const auto model = load_model("llama-gqa", true);
  auto engine = make_engine(model, 512);
  std::size_t cases = 0;
  std::uint32_t accepted = 0;
  for (const std::int32_t n : {1, 3, 7, 15}) {
    Request plain = greedy(100, repeating_prompt(), 120);
    // A text of three words repeats itself before long, and not for ever in the same way.
    plain.sampler.logit_bias = {{270, 100.0f}, {271, 100.0f}, {272, 100.0f}};
    plain.draft_tokens = 0;
    const Answer expected = answer(*engine, plain);
    EXPECT_EQ(expected.last.stats.drafted_tokens, 0u);
    Request drafted = plain;
    drafted.id = 101;
    drafted.draft_tokens = n;
    const Answer got = answer(*engine, drafted);
    EXPECT_EQ(got.text, expected.text) << n;
    EXPECT_EQ(got.last.stats.generated_tokens, expected.last.stats.generated_tokens);
    EXPECT_GT(got.last.stats.drafted_tokens, 0u);
    accepted += got.last.stats.accepted_tokens;
    ++cases;
  }
  EXPECT_GT(accepted, 0u) << "three words repeat themselves";
  fmt::print("{} draft lengths, {} drafted tokens were right\n", cases, accepted);
}

TEST(SpeculativeDecoding, LookupWithASeedGivesTheSameSampledText) {
  const auto model = load_model("llama-gqa", true);
  auto engine = make_engine(model, 512);
  for (const std::int64_t seed : {1, 2, 3}) {
    Request plain = greedy(1, repeating_prompt(), 60);
    plain.sampler.temperature = 0.7;
    plain.sampler.seed = seed;
    plain.draft_tokens = 0;
    const Answer expected = answer(*engine, plain);
    plain.draft_tokens = 4;
    EXPECT_EQ(answer(*engine, plain).text, expected.text);
  }
}

TEST(SpeculativeDecoding, ADraftModelGivesTheSameGreedyText) {
  const auto model = load_model("llama-gqa", true);
  EngineOptions options = engine_options(512);
  options.draft_model = model;  // the best draft there is: everything is accepted
  auto engine = Engine::create(model, options);
  ASSERT_TRUE(engine) << engine.error().problem;
  EXPECT_TRUE((*engine)->notes().empty());
  Request request = greedy(1, {1, 287, 295, 282}, 40);
  const Answer got = answer(**engine, request);
  request.draft_tokens = 0;
  const Answer expected = answer(**engine, request);
  EXPECT_EQ(got.text, expected.text);
  EXPECT_GT(got.last.stats.drafted_tokens, 20u);
  EXPECT_EQ(got.last.stats.accepted_tokens, got.last.stats.drafted_tokens);
}

TEST(SpeculativeDecoding, DraftsStayInsideContextAndLimit) {
  const auto model = load_model("llama-gqa", true);
  EngineOptions options = engine_options(64);
  options.draft_model = model;
  options.draft_tokens = 15;
  auto engine = Engine::create(model, options);
  ASSERT_TRUE(engine);
  for (const std::int32_t limit : {1, 2, 5, 100}) {
    for (const bool shift : {false, true}) {
      Request request = greedy(1, {1, 287, 295, 282}, limit);
      request.shift = shift;
      const Answer drafted = answer(**engine, request);
      request.draft_tokens = 0;
      const Answer plain = answer(**engine, request);
      EXPECT_EQ(drafted.last.kind, Event::Kind::done) << drafted.last.error.problem;
      EXPECT_EQ(drafted.last.stats.generated_tokens, plain.last.stats.generated_tokens);
      EXPECT_EQ(drafted.text, plain.text) << limit << shift;
    }
  }
}

TEST(SpeculativeDecoding, SampledTextKeepsItsDistribution) {
  // Many short texts with and without a draft model that guesses without the request's bias, so
  // that it is often wrong: a chi-square test of the two samples.
  const auto model = load_model("llama-gqa", true);
  EngineOptions options = engine_options(64);
  options.draft_model = model;
  auto engine = Engine::create(model, options);
  ASSERT_TRUE(engine);
  // Biases that the draft knows nothing of, on what is likely at each place of the greedy text.
  Request look = greedy(1, {1, 287, 295, 282}, 4);
  look.logprobs = true;
  look.top_logprobs = 3;
  std::vector<LogitBias> biases;
  for (const Event& event : answer(**engine, look).all) {
    for (const TokenLogprobs& token : event.logprobs) {
      ASSERT_EQ(token.top.size(), 3u);
      biases.push_back({token.top[0].id, -0.7f});
      biases.push_back({token.top[1].id, 0.7f});
    }
  }
  ASSERT_GE(biases.size(), 4u);
  constexpr int kTexts = 600;
  std::map<std::string, std::array<int, 2>> seen;
  std::uint32_t drafted = 0;
  std::uint32_t accepted = 0;
  for (int with_draft = 0; with_draft < 2; ++with_draft) {
    for (int i = 0; i < kTexts; ++i) {
      Request request = greedy(1, {1, 287, 295, 282}, 4);
      request.sampler.temperature = 1.0;
      request.sampler.top_k = 3;
      request.sampler.top_p = 1.0;
      request.sampler.seed = 1000 * with_draft + i;
      request.sampler.logit_bias = biases;
      request.draft_tokens = with_draft == 0 ? 0 : 3;
      const Answer got = answer(**engine, request);
      ++seen[got.text][static_cast<std::size_t>(with_draft)];
      drafted += got.last.stats.drafted_tokens;
      accepted += got.last.stats.accepted_tokens;
    }
  }
  double chi_square = 0.0;
  int cells = 0;
  std::array<int, 2> rare = {0, 0};
  const auto add = [&](const std::array<int, 2>& n) {
    const double expected = (n[0] + n[1]) / 2.0;
    chi_square += (n[0] - expected) * (n[0] - expected) / expected;
    chi_square += (n[1] - expected) * (n[1] - expected) / expected;
    ++cells;
  };
  for (const auto& [text, n] : seen) {
    if (n[0] + n[1] >= 20) {
      add(n);
    } else {
      rare[0] += n[0];
      rare[1] += n[1];
    }
  }
  if (rare[0] + rare[1] > 0) {
    add(rare);
  }
  const double freedom = cells - 1;
  // Wilson and Hilferty's approximation of the 99.9 % point.
  const double limit =
      freedom * std::pow(1 - 2 / (9 * freedom) + 3.09 * std::sqrt(2 / (9 * freedom)), 3);
  EXPECT_LT(chi_square, limit);
  EXPECT_GT(cells, 4);
  EXPECT_LT(accepted, drafted) << "the draft must be wrong at times for the test to mean anything";
  EXPECT_GT(accepted, 0u);
  fmt::print("{} cells, chi-square {:.1f} below {:.1f}; {} of {} drafted tokens accepted\n", cells,
             chi_square, limit, accepted, drafted);
}

TEST(SpeculativeDecoding, AnotherVocabularyIsRefused) {
  const auto model = load_model("llama-gqa", true);
  EngineOptions options = engine_options(64);
  // The same model with one letter of one token changed.
  std::ifstream in(golden::data_dir() / "arch" / "llama-gqa.gguf", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::string piece;
  for (Token id = 0; id < static_cast<Token>(model->n_vocab()); ++id) {
    const std::string_view text = model->tokenizer()->vocab().text(id);
    piece = text.size() > piece.size() ? std::string(text) : piece;
  }
  const std::size_t at = bytes.find(piece);
  ASSERT_NE(at, std::string::npos);
  bytes[at + piece.size() - 1] ^= 1;
  const std::string path = testing::TempDir() + "other_vocabulary.gguf";
  std::ofstream(path, std::ios::binary) << bytes;
  auto file = GgufFile::open(path);
  ASSERT_TRUE(file);
  auto other = Model::load(std::move(*file),
                           {{make_cpu_backend({.n_threads = 1, .isa_limit = {}})}, {}, true});
  ASSERT_TRUE(other) << other.error().problem;
  options.draft_model = *other;
  const auto engine = Engine::create(model, options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(engine.error().problem.find("vocabulary"), std::string::npos);
}

}  // namespace LM_FILE
}  // namespace lm
