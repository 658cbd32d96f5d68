// Answers that must have a form, from a random model that would say anything.
#include "runtime/engine/output_format.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/engine/engine.h"
#include "tests/golden/golden.h"

namespace lm {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Engine> make_engine() {
  auto file = GgufFile::open(golden::data_dir() / "arch" / "llama-gqa.gguf");
  EXPECT_TRUE(file) << file.error().problem;
  auto model = Model::load(std::move(*file),
                           {{make_cpu_backend({.n_threads = 2, .isa_limit = {}})}, {}, true});
  EXPECT_TRUE(model) << model.error().problem;
  EngineOptions options;
  options.session.n_ctx = 256;
  options.session.n_seq_guaranteed = 4;
  options.session.kv_type = DType::f32;
  auto engine = Engine::create(std::move(*model), options);
  EXPECT_TRUE(engine) << engine.error().problem;
  return std::move(*engine);
}

Request request(RequestId id, OutputFormat format, std::int64_t seed = 1) {
  Request q;
  q.id = id;
  q.ids = {1, 5, 9};
  q.sampler.temperature = 2;
  q.sampler.top_k = 0;
  q.sampler.top_p = 1;
  q.sampler.seed = seed;
  q.max_tokens = 200;
  q.format = std::move(format);
  return q;
}

struct Answer {
  std::string content, thinking;
  std::vector<std::string> warnings;
  Event last;
};

Answer read_all(Engine& engine, RequestId id) {
  Answer answer;
  for (;;) {
    auto event = engine.next(id, 20s);
    if (!event) {
      ADD_FAILURE() << "no event";
      return answer;
    }
    switch (event->kind) {
      case Event::Kind::content:
        answer.content += event->text;
        break;
      case Event::Kind::thinking:
        answer.thinking += event->text;
        break;
      case Event::Kind::warning:
        answer.warnings.push_back(event->text);
        break;
      case Event::Kind::done:
      case Event::Kind::error:
        answer.last = *event;
        return answer;
      default:
        break;
    }
  }
}

TEST(OutputFormat, AnswersKeepToASchema) {
  const auto engine = make_engine();
  const OutputFormat format{
      OutputFormat::Kind::schema,
      R"({"type":"object","properties":{"n":{"type":"integer","minimum":10,"maximum":99},
         "on":{"type":"boolean"}},"required":["n","on"],"additionalProperties":false})"};
  for (RequestId id = 1; id <= 8; ++id) {
    ASSERT_TRUE(engine->submit(request(id, format, static_cast<std::int64_t>(id))));
  }
  for (RequestId id = 1; id <= 8; ++id) {
    const Answer answer = read_all(*engine, id);
    ASSERT_EQ(answer.last.kind, Event::Kind::done) << answer.last.error.problem;
    EXPECT_EQ(answer.last.finish, Finish::stop) << answer.content;
    const auto json = nlohmann::json::parse(answer.content, nullptr, false);
    ASSERT_TRUE(json.is_object()) << answer.content;
    EXPECT_EQ(json.size(), 2u);
    EXPECT_GE(json.at("n"), 10);
    EXPECT_LE(json.at("n"), 99);
    EXPECT_TRUE(json.at("on").is_boolean());
  }
}

TEST(OutputFormat, AnswersKeepToAGrammar) {
  const auto engine = make_engine();
  ASSERT_TRUE(engine->submit(
      request(1, {OutputFormat::Kind::gbnf, "root ::= pair{3}\npair ::= [0-4] [a-c] \";\""})));
  const Answer answer = read_all(*engine, 1);
  ASSERT_EQ(answer.last.kind, Event::Kind::done);
  ASSERT_EQ(answer.content.size(), 9u) << answer.content;
  for (std::size_t i = 0; i < 9; i += 3) {
    EXPECT_TRUE(answer.content[i] >= '0' && answer.content[i] <= '4') << answer.content;
    EXPECT_TRUE(answer.content[i + 1] >= 'a' && answer.content[i + 1] <= 'c') << answer.content;
    EXPECT_EQ(answer.content[i + 2], ';') << answer.content;
  }
}

TEST(OutputFormat, ThinkingIsFreeAndContentIsNot) {
  const auto engine = make_engine();
  Request q = request(1, {OutputFormat::Kind::schema, R"({"enum":["yes","no"]})"});
  // The prompt ended inside thinking; the closing tag is a character that this model says soon.
  q.thinking_open = "<";
  q.thinking_close = "e";
  q.starts_in_thinking = true;
  ASSERT_TRUE(engine->submit(q));
  const Answer answer = read_all(*engine, 1);
  ASSERT_EQ(answer.last.kind, Event::Kind::done) << answer.last.error.problem;
  if (answer.last.finish == Finish::stop) {
    const auto json = nlohmann::json::parse(answer.content, nullptr, false);
    EXPECT_TRUE(json == "yes" || json == "no") << answer.content;
  } else {
    EXPECT_TRUE(answer.content.empty()) << answer.content;
  }
}

TEST(OutputFormat, WhatCanNotBeCompiledIsRefusedAtOnce) {
  const auto engine = make_engine();
  const auto refused =
      engine->submit(request(1, {OutputFormat::Kind::schema, R"({"items":{"$ref":"#/$defs/x"}})"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().subject, "schema at '#/items/$ref'");
  const auto empty = engine->submit(request(2, {OutputFormat::Kind::schema, "false"}));
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, ErrorCode::bad_value);
  // The ids are free again.
  ASSERT_TRUE(engine->submit(request(1, {OutputFormat::Kind::schema, R"({"const":1})"})));
  EXPECT_EQ(read_all(*engine, 1).last.kind, Event::Kind::done);
}

TEST(OutputFormat, WhatIsNotEnforcedIsAWarning) {
  const auto engine = make_engine();
  ASSERT_TRUE(engine->submit(
      request(1, {OutputFormat::Kind::schema,
                  R"({"type":"array","items":{"enum":[1]},"extends":{},"maxItems":3})"})));
  const Answer answer = read_all(*engine, 1);
  ASSERT_EQ(answer.warnings.size(), 1u);
  EXPECT_EQ(answer.warnings[0], "format: #/extends is not enforced");
}

}  // namespace
}  // namespace lm
