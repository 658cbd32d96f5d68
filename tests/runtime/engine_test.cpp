// The engine with a real (tiny, random) model: text, stopping, cancelling, many requests at once.
#include "runtime/engine/engine.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/tokenizer/detokenizer.h"
#include "tests/runtime/engine_fixture.h"

namespace lm {
namespace LM_FILE {

using namespace std::chrono_literals;

using namespace engine_fixture;

std::string text_of(const Model& model, const std::vector<Token>& tokens) {
  Detokenizer detokenizer(*model.tokenizer(), {});
  std::string text;
  for (const Token token : tokens) {
    if (model.tokenizer()->vocab().is_end_of_generation(token)) {
      break;
    }
    text += detokenizer.push(token);
  }
  return text + detokenizer.finish();
}

TEST(Engine, GreedyTextIsTheGoldenTokens) {
  const auto golden = golden::load("arch", "llama-gqa");
  auto model = load_model("llama-gqa");
  auto engine = make_engine(model);
  RequestId id = 1;
  std::size_t cases = 0;
  for (const auto& prompt : golden.prompts) {
    if (prompt.greedy.empty() ||
        *std::min_element(prompt.margin.begin(), prompt.margin.end()) < 1e-2) {
      continue;
    }
    ASSERT_TRUE(
        engine->submit(greedy(id, prompt.tokens, static_cast<std::int32_t>(prompt.greedy.size()))));
    const Answer answer = read_all(*engine, id++);
    EXPECT_EQ(answer.text, text_of(*model, prompt.greedy));
    EXPECT_EQ(answer.last.stats.prompt_tokens, prompt.tokens.size());
    ++cases;
  }
  EXPECT_GT(cases, 0u);
}

TEST(Engine, ManyAtOnceGetTheSameTextAsAlone) {
  auto model = load_model("llama-gqa");
  auto engine = make_engine(model, 256, 8);
  std::vector<std::vector<Token>> prompts;
  for (int i = 0; i < 8; ++i) {
    std::vector<Token> prompt = {1};
    for (int j = 0; j < 5 + 11 * i; ++j) {
      prompt.push_back(259 + (i * 31 + j * 7) % 60);
    }
    prompts.push_back(prompt);
  }
  std::vector<std::string> alone;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_TRUE(engine->submit(greedy(100 + i, prompts[i], 12)));
    alone.push_back(read_all(*engine, 100 + i).text);
  }
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_TRUE(engine->submit(greedy(200 + i, prompts[i], 12)));
  }
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(read_all(*engine, 200 + i).text, alone[i]) << i;
  }
}

TEST(Engine, AConversationFindsItsPastInTheCache) {
  auto engine = make_engine(load_model("llama-gqa"));
  std::vector<Token> prompt = {1};
  for (int i = 0; i < 60; ++i) {
    prompt.push_back(260 + i % 50);
  }
  ASSERT_TRUE(engine->submit(greedy(1, prompt, 4)));
  EXPECT_EQ(read_all(*engine, 1).last.stats.cached_tokens, 0u);
  ASSERT_TRUE(engine->submit(greedy(2, prompt, 4)));
  const Answer same = read_all(*engine, 2);
  EXPECT_EQ(same.last.stats.cached_tokens, 60u) << "all but the last token";
  prompt.resize(40);
  prompt.push_back(3);
  ASSERT_TRUE(engine->submit(greedy(3, prompt, 4)));
  EXPECT_EQ(read_all(*engine, 3).last.stats.cached_tokens, 40u);
}

TEST(Engine, PromptLongerThanTheContextIsAnErrorWithBothNumbers) {
  auto engine = make_engine(load_model("llama-gqa"), 64);
  ASSERT_TRUE(engine->submit(greedy(1, std::vector<Token>(100, 260), 4)));
  const Answer answer = read_all(*engine, 1);
  ASSERT_EQ(answer.last.kind, Event::Kind::error);
  EXPECT_EQ(answer.last.error.code, ErrorCode::context_exceeded);
  EXPECT_NE(answer.last.error.problem.find("100"), std::string::npos);
  EXPECT_NE(answer.last.error.problem.find("64"), std::string::npos);
}

TEST(Engine, TruncationDropsAndCounts) {
  auto engine = make_engine(load_model("llama-gqa"), 64);
  Request request = greedy(1, std::vector<Token>(100, 260), 4);
  request.overflow = Overflow::truncate_front;
  request.shift = true;
  ASSERT_TRUE(engine->submit(request));
  const Answer answer = read_all(*engine, 1);
  EXPECT_EQ(answer.last.kind, Event::Kind::done);
  EXPECT_GE(answer.last.stats.truncated_tokens, 37u);
  ASSERT_EQ(answer.all.front().kind, Event::Kind::warning) << "nothing goes without a word";
  EXPECT_NE(answer.all.front().text.find("100"), std::string::npos);
  EXPECT_NE(answer.all.front().text.find("64"), std::string::npos);
  EXPECT_EQ(answer.last.stats.prompt_tokens, 100u);
  EXPECT_EQ(answer.last.stats.generated_tokens, 4u);
}

TEST(Engine, FullContextEndsWithLengthOrShifts) {
  auto engine = make_engine(load_model("llama-gqa"), 64);
  ASSERT_TRUE(engine->submit(greedy(1, std::vector<Token>(60, 260), 40)));
  const Answer ends = read_all(*engine, 1);
  EXPECT_EQ(ends.last.finish, Finish::length);
  EXPECT_LE(ends.last.stats.generated_tokens, 5u);
  Request request = greedy(2, std::vector<Token>(60, 260), 40);
  request.shift = true;
  ASSERT_TRUE(engine->submit(request));
  const Answer shifts = read_all(*engine, 2);
  EXPECT_EQ(shifts.last.stats.generated_tokens, 40u);
  EXPECT_GT(shifts.last.stats.truncated_tokens, 0u);
  EXPECT_EQ(std::ranges::count(shifts.all, Event::Kind::warning, &Event::kind), 1)
      << "one warning, however often it shifts";
}

TEST(Engine, LogprobsComeWithTheTextOfTheirTokens) {
  const auto model = load_model("llama-gqa");
  auto engine = make_engine(model);
  Request request = greedy(1, {1, 287, 295, 282}, 20);
  request.logprobs = true;
  request.top_logprobs = 20;
  ASSERT_TRUE(engine->submit(request));
  const Answer answer = read_all(*engine, 1);
  std::vector<TokenLogprobs> tokens;
  for (const Event& event : answer.all) {
    EXPECT_TRUE(event.logprobs.empty() || event.kind == Event::Kind::content);
    tokens.insert(tokens.end(), event.logprobs.begin(), event.logprobs.end());
  }
  ASSERT_EQ(tokens.size(), answer.last.stats.generated_tokens);
  for (const TokenLogprobs& token : tokens) {
    ASSERT_EQ(token.top.size(), 20u);
    EXPECT_EQ(token.top.front(), token.chosen) << "greedy takes the likeliest";
    double sum = 0.0;
    for (std::size_t i = 0; i < token.top.size(); ++i) {
      sum += std::exp(static_cast<double>(token.top[i].logprob));
      EXPECT_TRUE(i == 0 || token.top[i].logprob <= token.top[i - 1].logprob);
    }
    EXPECT_GT(sum, 20.0 / 320);
    EXPECT_LE(sum, 1.0 + 1e-6);
    EXPECT_EQ(token.chosen.bytes, model->tokenizer()->piece(token.chosen.id, true));
  }
  request.id = 2;
  request.top_logprobs = 21;
  ASSERT_TRUE(engine->submit(request));
  EXPECT_EQ(read_all(*engine, 2).last.error.subject, "top_logprobs");
  request.id = 3;
  request.top_logprobs = 0;
  request.sampler.logit_bias = {{320, 1.0f}};
  ASSERT_TRUE(engine->submit(request));
  EXPECT_EQ(read_all(*engine, 3).last.error.subject, "logit_bias");
}

TEST(Engine, StopStringEndsTheTextBeforeIt) {
  auto engine = make_engine(load_model("llama-gqa"));
  ASSERT_TRUE(engine->submit(greedy(1, {1, 287, 295, 282}, 30)));
  const std::string whole = read_all(*engine, 1).text;
  ASSERT_GT(whole.size(), 8u);
  // A stop string of ASCII bytes out of the middle of the text.
  std::size_t at = whole.size() / 2;
  while (at + 2 < whole.size() && (static_cast<unsigned char>(whole[at]) > 126 ||
                                   static_cast<unsigned char>(whole[at + 1]) > 126)) {
    ++at;
  }
  const std::string stop = whole.substr(at, 2);
  Request request = greedy(2, {1, 287, 295, 282}, 30);
  request.stop = {"no such text", stop};
  ASSERT_TRUE(engine->submit(request));
  const Answer answer = read_all(*engine, 2);
  EXPECT_EQ(answer.text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(answer.last.stop_string, stop);
  EXPECT_EQ(answer.last.finish, Finish::stop);
}

TEST(Engine, CancelEndsARequestAndLeavesOthersAlone) {
  auto engine = make_engine(load_model("llama-gqa"), 4096, 2);
  ASSERT_TRUE(engine->submit(greedy(1, {1, 270}, 10)));
  const std::string alone = read_all(*engine, 1).text;
  ASSERT_TRUE(engine->submit(greedy(2, std::vector<Token>(2000, 261), 1000)));
  ASSERT_TRUE(engine->submit(greedy(3, {1, 270}, 10)));
  engine->cancel(2);
  const Answer cancelled = read_all(*engine, 2);
  EXPECT_EQ(cancelled.last.kind, Event::Kind::done);
  EXPECT_EQ(cancelled.last.finish, Finish::cancelled);
  EXPECT_EQ(read_all(*engine, 3).text, alone);
  engine->cancel(12345);  // unknown ids are ignored
}

TEST(Engine, AReaderThatStopsReadingPausesOnlyItself) {
  auto engine = make_engine(load_model("llama-gqa"), 1024, 2);
  Request slow = greedy(1, {1, 270}, 200);
  slow.sampler.temperature = 1.0;
  slow.sampler.seed = 5;
  slow.credit = 2;
  ASSERT_TRUE(engine->submit(slow));
  for (RequestId id = 2; id < 6; ++id) {
    ASSERT_TRUE(engine->submit(greedy(id, {1, 270, 271}, 30)));
    const Answer answer = read_all(*engine, id);
    EXPECT_NE(answer.last.stats.generated_tokens, 0u);
  }
  const Answer rest = read_all(*engine, 1);
  EXPECT_EQ(rest.last.kind, Event::Kind::done);
}

TEST(Engine, RequestsThatNeedMorePagesThanThereAreTakeTurns) {
  // The pool carries one context of 64 tokens (and a spare page): three requests of 60 tokens can't
  // run side by side.
  auto model = load_model("llama-gqa");
  auto engine = make_engine(model, 64, 1);
  std::vector<std::string> alone;
  for (RequestId id = 1; id <= 3; ++id) {
    ASSERT_TRUE(
        engine->submit(greedy(id, std::vector<Token>(40, 259 + static_cast<Token>(id)), 20)));
    alone.push_back(read_all(*engine, id).text);
  }
  for (RequestId id = 11; id <= 13; ++id) {
    ASSERT_TRUE(
        engine->submit(greedy(id, std::vector<Token>(40, 249 + static_cast<Token>(id)), 20)));
  }
  for (RequestId id = 11; id <= 13; ++id) {
    const Answer answer = read_all(*engine, id);
    EXPECT_EQ(answer.last.kind, Event::Kind::done) << answer.last.error.problem;
    EXPECT_EQ(answer.text, alone[id - 11]);
  }
}

TEST(Engine, SmallBatchesGiveTheSameText) {
  auto model = load_model("llama-gqa");
  std::vector<Token> prompt;
  for (int i = 0; i < 100; ++i) {
    prompt.push_back(259 + i % 61);
  }
  std::string expected;
  for (const std::uint32_t n_batch : {512u, 16u, 1u}) {
    auto engine = make_engine(model, 256, 1, n_batch);
    ASSERT_TRUE(engine->submit(greedy(1, prompt, 16)));
    const std::string text = read_all(*engine, 1).text;
    expected = expected.empty() ? text : expected;
    EXPECT_EQ(text, expected) << n_batch;
  }
}

TEST(Engine, RefusesDuplicateIdsEmptyPromptsAndFullQueues) {
  auto model = load_model("llama-gqa");
  EngineOptions options;
  options.session.n_ctx = 64;
  options.max_queue = 2;
  auto created = Engine::create(model, options);
  ASSERT_TRUE(created);
  Engine& engine = **created;
  ASSERT_TRUE(engine.submit(greedy(1, {}, 3)));
  EXPECT_FALSE(engine.submit(greedy(1, {1}, 3)));
  EXPECT_FALSE(engine.submit(greedy(0, {1}, 3)));
  ASSERT_TRUE(engine.submit(greedy(2, {1, 2000000}, 3)));
  const auto full = engine.submit(greedy(3, {1}, 3));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::busy);
  const Answer empty = read_all(engine, 1);
  EXPECT_EQ(empty.last.kind, Event::Kind::error);
  const Answer out_of_range = read_all(engine, 2);
  EXPECT_EQ(out_of_range.last.error.code, ErrorCode::invalid_argument);
}

TEST(Engine, ZeroTokensEvaluatesThePromptOnly) {
  auto engine = make_engine(load_model("llama-gqa"));
  ASSERT_TRUE(engine->submit(greedy(1, {1, 270, 271}, 0)));
  const Answer answer = read_all(*engine, 1);
  EXPECT_EQ(answer.last.finish, Finish::length);
  EXPECT_EQ(answer.last.stats.generated_tokens, 0u);
  EXPECT_TRUE(answer.text.empty());
}

TEST(Engine, ClosingWhileBusyJoins) {
  auto engine = make_engine(load_model("llama-gqa"), 8192, 1);
  ASSERT_TRUE(engine->submit(greedy(1, std::vector<Token>(8000, 261), 100)));
  std::this_thread::sleep_for(5ms);
  engine.reset();
}

}  // namespace LM_FILE
}  // namespace lm
