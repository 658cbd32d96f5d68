// Sequences that can't be rolled back far: recurrent state, sliding windows.
#include <thread>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/engine/prefix_cache.h"
#include "tests/runtime/engine_fixture.h"

namespace lm {
namespace LM_FILE {

using namespace engine_fixture;

const char* const kModels[] = {"lfm2", "qwen35", "gemma3", "gemma2", "cohere2"};

std::vector<Token> prompt_of(int n, int salt) {
  std::vector<Token> prompt = {1};
  for (int i = 1; i < n; ++i) {
    prompt.push_back(259 + (i * 7 + (i > 80 ? salt : 0)) % 60);
  }
  return prompt;
}

std::string fresh_answer(const std::shared_ptr<const Model>& model, const Request& request) {
  auto engine = make_engine(model);
  EXPECT_TRUE(engine->submit(request));
  return read_all(*engine, request.id).text;
}

TEST(Checkpoint, TheNextTurnBeginsAtTheForkOfTheLast) {
  for (const char* name : kModels) {
    const auto model = load_model(name, true);
    auto engine = make_engine(model);
    ASSERT_TRUE(engine->submit(greedy(1, prompt_of(110, 0), 30)));
    EXPECT_EQ(read_all(*engine, 1).last.stats.cached_tokens, 0u);
    // Another ending after token 96: what was generated is no use, the fork at 96 is.
    std::vector<Token> next = prompt_of(100, 0);
    next.insert(next.end(), {300, 301, 302});
    for (RequestId id = 2; id < 4; ++id) {
      const Request request = greedy(id, next, 20);
      ASSERT_TRUE(engine->submit(request));
      const Answer answer = read_all(*engine, id);
      EXPECT_EQ(answer.last.kind, Event::Kind::done) << answer.last.error.problem;
      EXPECT_GE(answer.last.stats.cached_tokens, 64u) << name;
      EXPECT_EQ(answer.text, fresh_answer(model, request)) << name << " request " << id;
    }
  }
}

TEST(Checkpoint, AConversationGoesOnFromItsLastToken) {
  const auto model = load_model("qwen35", true);
  auto engine = make_engine(model);
  // The whole of an earlier text and its answer is what the next prompt begins with.
  ASSERT_TRUE(engine->submit(greedy(1, prompt_of(40, 0), 1)));
  read_all(*engine, 1);
  std::vector<Token> longer = prompt_of(60, 0);
  ASSERT_TRUE(engine->submit(greedy(2, longer, 8)));
  const Answer answer = read_all(*engine, 2);
  EXPECT_EQ(answer.last.stats.cached_tokens, 40u);
  EXPECT_EQ(answer.text, fresh_answer(model, greedy(2, longer, 8)));
}

TEST(Checkpoint, ACancelledStepLeavesTheSequenceUsable) {
  int empty = 0;
  for (const char* name : kModels) {
    const auto model = load_model(name, true);
    auto session = Session::create(model, engine_options(256).session);
    ASSERT_TRUE(session);
    auto sequence = std::move(*(*session)->new_sequence());
    const std::vector<Token> prompt = prompt_of(120, 0);
    const StopFlag run{false};
    const StopFlag stopped{true};
    std::vector<float> logits;
    std::vector<float> again;
    ASSERT_TRUE((*session)->evaluate(*sequence, prompt, false, run, logits));
    sequence->clear();
    const auto part = std::span(prompt).first(70);
    ASSERT_TRUE((*session)->evaluate(*sequence, part, false, run, again));
    const auto cancelled =
        (*session)->evaluate(*sequence, std::span(prompt).subspan(70), false, stopped, again);
    ASSERT_FALSE(cancelled) << name;
    EXPECT_EQ(cancelled.error().code, ErrorCode::cancelled);
    EXPECT_EQ(sequence->length(), (*session)->has_state() ? 0u : 70u) << name;
    empty += sequence->length() == 0 ? 1 : 0;
    const auto rest = std::span(prompt).subspan(sequence->length());
    ASSERT_TRUE((*session)->evaluate(*sequence, rest, false, run, again));
    EXPECT_EQ(again, logits) << name;
  }
  EXPECT_EQ(empty, 2) << "lfm2 and qwen35 carry a state";
}

TEST(Checkpoint, CancellingOneRequestLeavesNeighboursWithStateRight) {
  const auto model = load_model("qwen35", true);
  const Request kept = greedy(2, prompt_of(90, 3), 24);
  const std::string expected = fresh_answer(model, kept);
  for (int round = 0; round < 5; ++round) {
    auto engine = make_engine(model);
    ASSERT_TRUE(engine->submit(greedy(1, prompt_of(200, 1), 40)));
    ASSERT_TRUE(engine->submit(kept));
    std::this_thread::sleep_for(std::chrono::milliseconds(2 * round));
    engine->cancel(1);
    EXPECT_EQ(read_all(*engine, 2).text, expected);
    EXPECT_EQ(read_all(*engine, 1).last.kind, Event::Kind::done);
  }
}

TEST(Checkpoint, ManyRequestsWithFewStateSlotsTakeTurns) {
  const auto model = load_model("lfm2", true);
  std::vector<std::string> expected;
  for (RequestId id = 1; id <= 6; ++id) {
    expected.push_back(fresh_answer(model, greedy(id, prompt_of(50, static_cast<int>(id)), 12)));
  }
  auto engine = make_engine(model, 256, 1);
  for (RequestId id = 1; id <= 6; ++id) {
    ASSERT_TRUE(engine->submit(greedy(id, prompt_of(50, static_cast<int>(id)), 12)));
  }
  for (RequestId id = 1; id <= 6; ++id) {
    const Answer answer = read_all(*engine, id);
    EXPECT_EQ(answer.last.kind, Event::Kind::done) << answer.last.error.problem;
    EXPECT_EQ(answer.text, expected[id - 1]);
  }
}

TEST(Checkpoint, WindowedGroupsHoldOnlyTheirWindow) {
  for (const char* name : {"gemma3", "gemma2", "cohere2"}) {
    const auto model = load_model(name, true);
    SessionOptions options = engine_options(256).session;
    options.n_batch = 16;
    auto session = Session::create(model, options);
    ASSERT_TRUE(session);
    ASSERT_TRUE((*session)->needs_checkpoints());
    auto sequence = std::move(*(*session)->new_sequence());
    std::vector<float> logits;
    ASSERT_TRUE((*session)->evaluate(*sequence, prompt_of(250, 0), false, StopFlag{false}, logits));
    std::vector<std::size_t> held;
    for (std::uint32_t g = 0; g < 2; ++g) {
      const auto& table = sequence->table(g);
      EXPECT_EQ(table.size(), 8u);
      held.push_back(table.size() - static_cast<std::size_t>(std::ranges::count(table, kNoPage)));
    }
    std::ranges::sort(held);
    EXPECT_LT(held[0], 4u) << name << ": a window of " << kPageTokens << " tokens or less";
    EXPECT_EQ(held[1], 8u) << name;
    EXPECT_TRUE(sequence->can_roll_back(kMaxRollBack)) << name;
    EXPECT_FALSE(sequence->can_roll_back(128)) << name;
  }
}

TEST(Checkpoint, SpeculationIsOffWithStateAndSaysSo) {
  const auto model = load_model("qwen35", true);
  EngineOptions options = engine_options(256);
  options.draft_model = load_model("llama-gqa", true);
  auto engine = Engine::create(model, options);
  ASSERT_TRUE(engine) << engine.error().problem;
  ASSERT_EQ((*engine)->notes().size(), 1u);
  EXPECT_NE((*engine)->notes()[0].find("recurrent"), std::string::npos);
  Request request = greedy(1, prompt_of(60, 0), 40);
  request.draft_tokens = 5;
  ASSERT_TRUE((*engine)->submit(request));
  EXPECT_EQ(read_all(**engine, 1).last.stats.drafted_tokens, 0u);
}

TEST(Checkpoint, SpeculationWorksBehindAWindow) {
  for (const char* name : {"gemma3", "cohere2"}) {
    const auto model = load_model(name, true);
    EngineOptions options = engine_options(256);
    options.draft_model = model;
    options.draft_tokens = 15;
    auto engine = Engine::create(model, options);
    ASSERT_TRUE(engine);
    Request request = greedy(1, prompt_of(100, 0), 120);
    ASSERT_TRUE((*engine)->submit(request));
    const Answer answer = read_all(**engine, 1);
    EXPECT_GT(answer.last.stats.drafted_tokens, 0u);
    request.draft_tokens = 0;
    EXPECT_EQ(answer.text, fresh_answer(model, request)) << name;
  }
}

}  // namespace LM_FILE
}  // namespace lm
