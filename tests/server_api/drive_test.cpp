// The whole road without HTTP: a body, an engine over a tiny model, the bytes of the answer.
#include <gtest/gtest.h>

#include "runtime/grammar/grammar.h"
#include "tests/server_api/driver.h"

namespace lm::api {
namespace LM_FILE {

using namespace api_test;

const std::string kHello = R"("messages":[{"role":"user","content":"hello there"}])";

TEST(Drive, EveryApiSaysTheSameAtTemperatureZero) {
  Driver driver("llama-gqa", kPlainTemplate);
  const Work plain =
      planned(Endpoint::chat, R"({"model":"m",)" + kHello + R"(,"options":{"temperature":0}})",
              driver.about);
  Request direct = engine_fixture::greedy(1000, request(plain).ids, 12);
  ASSERT_TRUE(driver.engine->submit(direct));
  const std::string expected = engine_fixture::read_all(*driver.engine, 1000).text;
  ASSERT_FALSE(expected.empty());

  const std::string native =
      R"({"model":"m",)" + kHello + R"(,"options":{"temperature":0,"num_predict":12})";
  EXPECT_EQ(driver.run(Endpoint::chat, native + R"(,"stream":false})").json()["message"]["content"],
            expected);
  std::string streamed;
  const Received lines = driver.run(Endpoint::chat, native + "}");
  for (const Json& line : lines.lines()) {
    streamed += line["message"]["content"].get<std::string>();
  }
  EXPECT_EQ(streamed, expected);
  EXPECT_EQ(lines.lines().back()["done_reason"], "length");
  EXPECT_EQ(lines.lines().back()["eval_count"], 12);
  EXPECT_EQ(lines.lines().back()["prompt_eval_count"], request(plain).ids.size());

  const std::string openai = R"({"model":"m",)" + kHello + R"(,"temperature":0,"max_tokens":12)";
  EXPECT_EQ(driver.run(Endpoint::v1_chat, openai + "}").json()["choices"][0]["message"]["content"],
            expected);
  EXPECT_EQ(driver.run(Endpoint::messages, openai + "}").json()["content"][0]["text"], expected);
  const Json response =
      driver
          .run(Endpoint::v1_responses,
               R"({"model":"m","input":"hello there","temperature":0,"max_output_tokens":12})")
          .json();
  EXPECT_EQ(response["output"][0]["content"][0]["text"], expected);
  EXPECT_EQ(driver
                .run(Endpoint::v1_completions,
                     R"({"model":"m","prompt":"<|user|>hello there<|end|><|assistant|>",)"
                     R"("temperature":0,"max_tokens":12})")
                .json()["choices"][0]["text"],
            expected);
  EXPECT_EQ(driver
                .run(Endpoint::generate, R"({"model":"m","prompt":"hello there","stream":false,)"
                                         R"("options":{"temperature":0,"num_predict":12}})")
                .json()["response"],
            expected);
}

TEST(Drive, AForcedCallReachesEveryApi) {
  Driver driver("llama-gqa");
  const std::string schema =
      R"({"type":"object","properties":{"city":{"type":"string","maxLength":6}},"required":["city"],"additionalProperties":false})";
  const std::string tools =
      R"(,"tools":[{"type":"function","function":{"name":"weather","parameters":)" + schema +
      R"(}}],"tool_choice":"required","think":false)";
  const auto fits = [&](const std::string& arguments) {
    const auto grammar = grammar::Grammar::from_schema(schema);
    const auto accepted = (*grammar)->accepts(arguments);
    return accepted && *accepted;
  };
  const Received native = driver.run(Endpoint::chat, R"({"model":"m",)" + kHello + tools + "}");
  const std::vector<Json> lines = native.lines();
  ASSERT_EQ(lines.size(), 2u) << native.bytes;
  const Json call = lines[0]["message"]["tool_calls"][0];
  EXPECT_EQ(call["function"]["name"], "weather");
  EXPECT_TRUE(call["function"]["arguments"]["city"].is_string());
  EXPECT_EQ(call["id"].get<std::string>().size(), 13u);
  EXPECT_EQ(lines[1]["done_reason"], "stop");

  const Json openai =
      driver.run(Endpoint::v1_chat, R"({"model":"m",)" + kHello + tools + "}").json()["choices"][0];
  EXPECT_EQ(openai["finish_reason"], "tool_calls");
  EXPECT_TRUE(fits(openai["message"]["tool_calls"][0]["function"]["arguments"]));

  const Json anthropic =
      driver
          .run(Endpoint::messages,
               R"({"model":"m","max_tokens":200,"thinking":{"type":"disabled"},)" + kHello +
                   R"(,"tools":[{"name":"weather","input_schema":)" + schema +
                   R"(}],"tool_choice":{"type":"tool","name":"weather"}})")
          .json();
  EXPECT_EQ(anthropic["stop_reason"], "tool_use");
  EXPECT_TRUE(anthropic["content"][0]["input"]["city"].is_string());

  const Json response =
      driver
          .run(
              Endpoint::v1_responses,
              R"({"model":"m","input":"x","reasoning":{"effort":"none"},"tools":[{"type":"function","name":"weather","parameters":)" +
                  schema + R"(}],"tool_choice":"required"})")
          .json();
  EXPECT_EQ(response["output"][0]["type"], "function_call");
  EXPECT_TRUE(fits(response["output"][0]["arguments"]));
}

TEST(Drive, AFormatIsKeptAndABadOneNamed) {
  Driver driver("llama-gqa", kPlainTemplate);
  const std::string schema =
      R"({"type":"object","properties":{"n":{"type":"integer","minimum":1,"maximum":9}},"required":["n"],"additionalProperties":false})";
  const Json native = driver
                          .run(Endpoint::chat, R"({"model":"m",)" + kHello +
                                                   R"(,"stream":false,"format":)" + schema + "}")
                          .json();
  EXPECT_TRUE(
      Json::parse(native["message"]["content"].get<std::string>())["n"].is_number_integer());
  const Json openai =
      driver
          .run(
              Endpoint::v1_chat,
              R"({"model":"m",)" + kHello +
                  R"(,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":)" +
                  schema + "}}}")
          .json();
  EXPECT_TRUE(
      Json::parse(openai["choices"][0]["message"]["content"].get<std::string>())["n"].is_number());
  const Received bad = driver.run(
      Endpoint::v1_chat,
      R"({"model":"m",)" + kHello +
          R"(,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"$ref":"#/nowhere"}}}})");
  EXPECT_EQ(bad.status, 400);
  EXPECT_NE(bad.bytes.find("ref"), std::string::npos) << bad.bytes;
  const Received partly = driver.run(
      Endpoint::chat,
      R"({"model":"m",)" + kHello +
          R"(,"stream":false,"options":{"num_predict":20},"format":{"type":"object","properties":{"a":{"type":"string","format":"idn-email"}}}})");
  EXPECT_EQ(partly.status, 200);
  EXPECT_NE(partly.headers.find("#/properties/a/format"), std::string::npos) << partly.headers;
}

TEST(Drive, SeedsChoicesStopsAndLogprobs) {
  Driver driver("llama-gqa", kPlainTemplate);
  const std::string body = R"({"model":"m",)" + kHello + R"(,"seed":3,"max_tokens":8)";
  const Json two =
      driver.run(Endpoint::v1_chat, body + R"(,"n":2,"logprobs":true,"top_logprobs":2})").json();
  const Json one = driver.run(Endpoint::v1_chat, body + "}").json();
  ASSERT_EQ(two["choices"].size(), 2u);
  EXPECT_EQ(two["choices"][0]["message"], one["choices"][0]["message"]);
  EXPECT_NE(two["choices"][0]["message"], two["choices"][1]["message"]);
  EXPECT_EQ(two["usage"]["completion_tokens"], 16);
  std::string spelt;
  for (const Json& token : two["choices"][0]["logprobs"]["content"]) {
    EXPECT_EQ(token["top_logprobs"].size(), 2u);
    EXPECT_LE(token["logprob"], 0.0);
    for (const Json& byte : token["bytes"]) {
      spelt.push_back(static_cast<char>(byte.get<int>()));
    }
  }
  EXPECT_NE(
      spelt.find(Json(one["choices"][0]["message"]["content"]).get<std::string>().substr(0, 1)),
      std::string::npos);
  const std::string text = one["choices"][0]["message"]["content"];
  const std::string stop = text.substr(text.size() / 2, 1);
  const Json stopped =
      driver
          .run(Endpoint::messages, body + R"(,"temperature":1,"top_p":1,"stop_sequences":)" +
                                       dump(Json::array({stop})) + "}")
          .json();
  EXPECT_EQ(stopped["stop_reason"], "stop_sequence") << text;
  EXPECT_EQ(stopped["stop_sequence"], stop);
  const Received bad = driver.run(Endpoint::v1_chat, body + R"(,"logit_bias":{"99999":1}})");
  EXPECT_EQ(bad.status, 400);
  EXPECT_NE(bad.bytes.find("logit_bias"), std::string::npos);
}

TEST(Drive, TextsBecomeVectors) {
  Driver driver("bert", "");
  const Json native =
      driver.run(Endpoint::embed, R"({"model":"m","input":["one","two","three"]})").json();
  ASSERT_EQ(native["embeddings"].size(), 3u);
  double squares = 0;
  for (const Json& value : native["embeddings"][0]) {
    squares += value.get<double>() * value.get<double>();
  }
  EXPECT_NEAR(squares, 1.0, 1e-5);
  EXPECT_GT(native["prompt_eval_count"], 3);
  const Json old = driver.run(Endpoint::embeddings, R"({"model":"m","prompt":"one"})").json();
  ASSERT_EQ(old["embedding"].size(), native["embeddings"][0].size());
  for (std::size_t i = 0; i < old["embedding"].size(); ++i) {
    EXPECT_NEAR(old["embedding"][i].get<double>(), native["embeddings"][0][i].get<double>(), 1e-5);
  }
  const Json v1 =
      driver.run(Endpoint::v1_embeddings, R"({"model":"m","input":["one"],"dimensions":8})").json();
  EXPECT_EQ(v1["data"][0]["embedding"].size(), 8u);
  const Json ranked =
      driver.run(Endpoint::v1_rerank, R"({"model":"m","query":"one","documents":["two","one"]})")
          .json();
  EXPECT_EQ(ranked["results"][0]["index"], 1);
  EXPECT_NEAR(ranked["results"][0]["relevance_score"], 1.0, 1e-5);
  const Received wide =
      driver.run(Endpoint::embed, R"({"model":"m","input":"x","dimensions":100000})");
  EXPECT_EQ(wide.status, 400);
  EXPECT_NE(wide.bytes.find("dimensions"), std::string::npos);
  std::string longtext(4000, 'x');
  const Json cut =
      driver.run(Endpoint::embed, R"({"model":"m","input":")" + longtext + "\"}").json();
  EXPECT_GT(cut["truncated"], 100);
  const Received refused =
      driver.run(Endpoint::embed, R"({"model":"m","truncate":false,"input":")" + longtext + "\"}");
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.bytes.find("input length exceeds"), std::string::npos);
}

}  // namespace LM_FILE
}  // namespace lm::api
