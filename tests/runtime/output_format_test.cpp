// Answers that must have a form, from a random model that would say anything.
#include "runtime/engine/output_format.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/runtime/engine_fixture.h"

namespace lm {
namespace LM_FILE {

using engine_fixture::Answer;
using engine_fixture::load_model;
using engine_fixture::make_engine;
using engine_fixture::read_all;

Request request(RequestId id, OutputFormat format, std::int64_t seed = 1) {
  Request q = engine_fixture::anything(id, seed, 200);
  q.format = std::move(format);
  return q;
}

std::vector<std::string> warnings_of(const Answer& answer) {
  std::vector<std::string> warnings;
  for (const Event& event : answer.all) {
    if (event.kind == Event::Kind::warning) {
      warnings.push_back(event.text);
    }
  }
  return warnings;
}

TEST(OutputFormat, AnswersKeepToASchema) {
  const auto engine = make_engine(load_model("llama-gqa"));
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
    EXPECT_EQ(answer.last.finish, Finish::stop) << answer.text;
    const auto json = nlohmann::json::parse(answer.text, nullptr, false);
    ASSERT_TRUE(json.is_object()) << answer.text;
    EXPECT_EQ(json.size(), 2u);
    EXPECT_GE(json.at("n"), 10);
    EXPECT_LE(json.at("n"), 99);
    EXPECT_TRUE(json.at("on").is_boolean());
  }
}

TEST(OutputFormat, AnswersKeepToAGrammar) {
  const auto engine = make_engine(load_model("llama-gqa"));
  ASSERT_TRUE(engine->submit(
      request(1, {OutputFormat::Kind::gbnf, "root ::= pair{3}\npair ::= [0-4] [a-c] \";\""})));
  const Answer answer = read_all(*engine, 1);
  ASSERT_EQ(answer.last.kind, Event::Kind::done);
  ASSERT_EQ(answer.text.size(), 9u) << answer.text;
  for (std::size_t i = 0; i < 9; i += 3) {
    EXPECT_TRUE(answer.text[i] >= '0' && answer.text[i] <= '4') << answer.text;
    EXPECT_TRUE(answer.text[i + 1] >= 'a' && answer.text[i + 1] <= 'c') << answer.text;
    EXPECT_EQ(answer.text[i + 2], ';') << answer.text;
  }
}

TEST(OutputFormat, ThinkingIsFreeAndContentIsNot) {
  const auto engine = make_engine(load_model("llama-gqa"));
  Request q = request(1, {OutputFormat::Kind::schema, R"({"enum":["yes","no"]})"});
  // The prompt ended inside thinking; the closing tag is a character that this model says soon.
  q.thinking_open = "<";
  q.thinking_close = "e";
  q.starts_in_thinking = true;
  ASSERT_TRUE(engine->submit(q));
  const Answer answer = read_all(*engine, 1);
  ASSERT_EQ(answer.last.kind, Event::Kind::done) << answer.last.error.problem;
  if (answer.last.finish == Finish::stop) {
    const auto json = nlohmann::json::parse(answer.text, nullptr, false);
    EXPECT_TRUE(json == "yes" || json == "no") << answer.text;
  } else {
    EXPECT_TRUE(answer.text.empty()) << answer.text;
  }
}

TEST(OutputFormat, WhatCanNotBeCompiledIsRefusedAtOnce) {
  const auto engine = make_engine(load_model("llama-gqa"));
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
  const auto engine = make_engine(load_model("llama-gqa"));
  ASSERT_TRUE(engine->submit(
      request(1, {OutputFormat::Kind::schema,
                  R"({"type":"array","items":{"enum":[1]},"extends":{},"maxItems":3})"})));
  const Answer answer = read_all(*engine, 1);
  const auto warnings = warnings_of(answer);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0], "format: #/extends is not enforced");
}

}  // namespace LM_FILE
}  // namespace lm
