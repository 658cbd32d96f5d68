// Bodies: what they ask, and what is wrong with them.
#include <gtest/gtest.h>

#include "tests/server_api/facts_fixture.h"

namespace lm::api {
namespace LM_FILE {

using api_test::asked;

struct Wrong {
  Endpoint endpoint;
  std::string body;
  std::string param;
  std::string contains;
};

TEST(Read, RefusesWhatIsWrongAndNamesIt) {
  std::string deep =
      R"({"model":"m","options":)" + std::string(200, '[') + std::string(200, ']') + "}";
  const std::vector<Wrong> cases{
      {Endpoint::chat, "", "", "missing request body"},
      {Endpoint::chat, " \n", "", "missing request body"},
      {Endpoint::chat, "{", "", "no JSON"},
      {Endpoint::chat, "[1]", "", "no JSON object"},
      {Endpoint::chat, "{\"model\":\"m\"} x", "", "no JSON"},
      {Endpoint::chat, "{\"model\":\"\xff\"}", "", "no JSON"},
      {Endpoint::chat, R"({"model":"\ud800"})", "", "no JSON"},
      {Endpoint::chat, R"({"model":"m","x":NaN})", "", "no JSON"},
      {Endpoint::chat, R"({"model":"m","x":1e999999999})", "", "out of range"},
      {Endpoint::chat, deep, "", "128 levels"},
      {Endpoint::chat, "{}", "model", "model is required"},
      {Endpoint::chat, R"({"model":""})", "model", "model is required"},
      {Endpoint::chat, R"({"model":7})", "model", "no string"},
      {Endpoint::chat, R"({"model":"m","messages":{}})", "messages", "no array"},
      {Endpoint::chat, R"({"model":"m","messages":[7]})", "messages[0]", "no object"},
      {Endpoint::chat, R"({"model":"m","messages":[{"content":"x"}]})", "messages[0].role",
       "missing"},
      {Endpoint::chat, R"({"model":"m","messages":[{"role":"user","content":7}]})",
       "messages[0].content", "parts"},
      {Endpoint::chat, R"({"model":"m","messages":[{"role":"user","content":"x","images":["a"]}]})",
       "messages[0].images", "images are not supported"},
      {Endpoint::chat, R"({"model":"m","stream":1})", "stream", "true nor false"},
      {Endpoint::chat, R"({"model":"m","think":"hard"})", "think", "invalid think value"},
      {Endpoint::chat, R"({"model":"m","options":{"temperature":"hot"}})", "options.temperature",
       "options.temperature"},
      {Endpoint::chat, R"({"model":"m","options":{"top_p":-1}})", "options.top_p", "from 0 to 1"},
      {Endpoint::chat, R"({"model":"m","options":{"num_ctx":4611686018427387904}})",
       "options.num_ctx", "134217728"},
      {Endpoint::chat, R"({"model":"m","options":{"num_keep":-7}})", "options.num_keep", "-1"},
      {Endpoint::chat, R"({"model":"m","options":{"num_gpu":1.5}})", "options.num_gpu", "integer"},
      {Endpoint::chat, R"({"model":"m","keep_alive":"soon"})", "keep_alive", "duration"},
      {Endpoint::chat, R"({"model":"m","keep_alive":[]})", "keep_alive", "duration"},
      {Endpoint::chat, R"({"model":"m","format":"xml"})", "format", "JSON schema"},
      {Endpoint::chat, R"({"model":"m","top_logprobs":21})", "top_logprobs",
       "top_logprobs must be between 0 and 20"},
      {Endpoint::chat, R"({"model":"m","tools":[{"type":"function"}]})", "tools[0].function",
       "missing"},
      {Endpoint::chat, R"({"model":"m","tool_choice":"required"})", "tool_choice",
       "no tools are offered"},
      {Endpoint::generate, R"({"model":"m","raw":true,"system":"s"})", "raw",
       "raw mode does not support"},
      {Endpoint::generate, R"({"model":"m","context":[-1]})", "context", "token ids"},
      {Endpoint::generate, R"({"model":"m","images":["a"]})", "images", "not supported"},
      {Endpoint::embed, R"({"model":"m","input":7})", "input", "array of strings"},
      {Endpoint::v1_chat, R"({"model":"m","messages":[]})", "messages", "at least one"},
      {Endpoint::v1_chat,
       R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":"x"}]}]})",
       "messages[0].content", "images are not supported"},
      {Endpoint::v1_chat,
       R"({"model":"m","messages":[{"role":"user","content":[{"type":"input_audio"}]}]})",
       "messages[0].content", "audio is not supported"},
      {Endpoint::v1_chat, R"({"model":"m","messages":[{"role":"user","content":"x"}],"n":1000000})",
       "n", "from 1 to 128"},
      {Endpoint::v1_chat,
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"wild"})",
       "reasoning_effort", "wild"},
      {Endpoint::v1_chat,
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"logit_bias":{"x":1}})",
       "logit_bias", "-100 to 100"},
      {Endpoint::v1_chat,
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}})",
       "tool_choice", "names 'g'"},
      {Endpoint::v1_chat,
       R"({"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"n"}}})",
       "response_format.json_schema.schema", "JSON schema"},
      {Endpoint::v1_completions, R"({"model":"m","prompt":[1,"x"]})", "prompt", "token ids"},
      {Endpoint::v1_completions, R"({"model":"m","prompt":"x","best_of":4,"stream":true})",
       "best_of", "stream"},
      {Endpoint::v1_embeddings, R"({"model":"m","input":[]})", "input", "at least one"},
      {Endpoint::v1_embeddings, R"({"model":"m","input":"x","encoding_format":"hex"})",
       "encoding_format", "base64"},
      {Endpoint::v1_responses, R"({"model":"m"})", "input", "missing"},
      {Endpoint::v1_responses, R"({"model":"m","input":"x","previous_response_id":"r"})",
       "previous_response_id", "nothing is kept"},
      {Endpoint::v1_responses, R"({"model":"m","input":"x","background":true})", "background",
       "not supported"},
      {Endpoint::messages, R"({"model":"m","messages":[{"role":"user","content":"x"}]})",
       "max_tokens", "required"},
      {Endpoint::messages, R"({"model":"m","max_tokens":9,"messages":[]})", "messages",
       "at least one"},
      {Endpoint::messages,
       R"({"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image"}]}]})",
       "messages[0].content[0].type", "images are not supported"},
      {Endpoint::v1_rerank, R"({"model":"m","query":"x","documents":[""]})", "documents",
       "no text"},
  };
  for (const Wrong& c : cases) {
    const auto out = read(c.endpoint, c.body);
    ASSERT_FALSE(out) << c.body.substr(0, 200);
    EXPECT_EQ(out.error().status, 400) << c.body.substr(0, 200);
    EXPECT_EQ(out.error().param, c.param) << c.body.substr(0, 200);
    EXPECT_NE(out.error().message.find(c.contains), std::string::npos)
        << out.error().message << " in " << c.body.substr(0, 200);
  }
  std::cout << cases.size() << " wrong bodies refused\n";
}

TEST(Read, LargeObjectsTakeLinearTimeAndKeepTheLastOfEqualMembers) {
  std::string body = R"({"model":"first")";
  for (int i = 0; i < 100'000; ++i) {
    body += ",\"k" + std::to_string(i % 50'000) + "\":" + std::to_string(i);
  }
  body += R"(,"model":"last"})";
  const auto document = parse_body(body);
  ASSERT_TRUE(document) << document.error().message;
  EXPECT_EQ(document->size(), 50'001u);
  EXPECT_EQ((*document)["model"], "last");
  EXPECT_EQ((*document)["k7"], 50'007);

  EXPECT_FALSE(parse_body("{\"a\":[" + std::string(5'000'000, ' ') + "1" + [] {
    std::string many;
    for (int i = 0; i < (2 << 20); ++i) {
      many += ",1";
    }
    return many;
  }() + "]}"));
}

TEST(Read, NativeOptionsComeFromBothPlacesAndTheUnknownIsSaid) {
  const Asked a = asked(
      Endpoint::chat,
      R"({"model":"m","messages":[{"role":"USER","content":"x"}],"temperature":0.1,"top_p":0.3,
          "max_output_tokens":5,"keep_alive":-1,
          "options":{"temperature":0.5,"top_k":5.0,"num_ctx":512,"stop":["a",""],"seed":null,
                     "num_gpu":3,"low_vram":true,"shape":"round"}})");
  EXPECT_TRUE(a.stream);
  EXPECT_TRUE(a.truncate);
  EXPECT_TRUE(a.shift);
  EXPECT_EQ(a.options, (ParameterTexts{{"temperature", {"0.5"}},
                                       {"top_k", {"5.0"}},
                                       {"top_p", {"0.3"}},
                                       {"num_ctx", {"512"}},
                                       {"num_predict", {"5"}},
                                       {"stop", {"a"}}}));
  EXPECT_EQ(a.load.n_ctx, 512u);
  EXPECT_EQ(a.load.gpu_layers, 3);
  EXPECT_EQ(a.load.keep_alive, (KeepAlive{true, {}}));
  ASSERT_EQ(a.warnings.size(), 2u);
  EXPECT_NE(a.warnings[0].find("low_vram"), std::string::npos);
  EXPECT_NE(a.warnings[1].find("shape"), std::string::npos);
  EXPECT_EQ(std::get<ChatAsked>(a.what).messages.at(0).role, "user");
}

TEST(Read, KeepAliveInEveryForm) {
  const std::vector<std::pair<std::string, KeepAlive>> cases{
      {"300", {false, std::chrono::seconds(300)}},
      {"0", {false, {}}},
      {"0.5", {false, std::chrono::milliseconds(500)}},
      {"-1", {true, {}}},
      {"\"5m\"", {false, std::chrono::minutes(5)}},
      {"\"1h30m\"", {false, std::chrono::minutes(90)}},
      {"\"300\"", {false, std::chrono::seconds(300)}},
      {"\"-1\"", {true, {}}},
      {"\"-1s\"", {true, {}}},
      {"\"0\"", {false, {}}},
  };
  for (const auto& [text, expected] : cases) {
    const Asked a = asked(Endpoint::chat, R"({"model":"m","keep_alive":)" + text + "}");
    ASSERT_TRUE(a.load.keep_alive) << text;
    EXPECT_EQ(a.load.keep_alive->forever, expected.forever) << text;
    EXPECT_EQ(a.load.keep_alive->value.count(), expected.value.count()) << text;
  }
}

TEST(Read, NothingToDoLoadsOrUnloads) {
  EXPECT_EQ(asked(Endpoint::generate, R"({"model":"m"})").purpose, Purpose::load);
  EXPECT_EQ(asked(Endpoint::generate, R"({"model":"m","keep_alive":0})").purpose, Purpose::unload);
  EXPECT_EQ(asked(Endpoint::chat, R"({"model":"m","messages":[],"keep_alive":"0s"})").purpose,
            Purpose::unload);
  EXPECT_EQ(asked(Endpoint::chat, R"({"model":"m","keep_alive":-1})").purpose, Purpose::load);
  EXPECT_EQ(asked(Endpoint::embed, R"({"model":"m","input":[]})").purpose, Purpose::load);
  EXPECT_EQ(asked(Endpoint::generate, R"({"model":"m","prompt":"x"})").purpose, Purpose::run);
  EXPECT_EQ(
      asked(Endpoint::count_tokens, R"({"model":"m","messages":[{"role":"user","content":"x"}]})")
          .purpose,
      Purpose::count);
}

TEST(Read, OpenAiNamesOfTheSameThings) {
  const Asked a = asked(Endpoint::v1_chat,
                        R"({"model":"m","messages":[{"role":"developer","content":"s"},
          {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
          {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
          {"role":"tool","tool_call_id":"c1","content":"42"}],
          "max_tokens":7,"max_completion_tokens":9,"stop":"END","n":3,"seed":5,"min_p":0.1,
          "num_ctx":256,"logprobs":true,"top_logprobs":2,"logit_bias":{"5":-100},
          "reasoning_effort":"xhigh","stream":true,"stream_options":{"include_usage":true},
          "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],
          "tool_choice":{"type":"function","function":{"name":"f"}},
          "response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object"}}},
          "user":"u","store":true,"prediction":{"type":"content"}})");
  EXPECT_EQ(a.options.at("num_predict").at(0), "9");
  EXPECT_EQ(a.options.at("stop").at(0), "END");
  EXPECT_EQ(a.n, 3u);
  EXPECT_EQ(a.load.n_ctx, 256u);
  EXPECT_EQ(a.think, "max");
  EXPECT_TRUE(a.include_usage);
  EXPECT_FALSE(a.truncate);
  EXPECT_EQ(a.logit_bias, (std::vector<LogitBias>{{5, -100.0f}}));
  EXPECT_EQ(a.format, (OutputFormat{OutputFormat::Kind::schema, R"({"type":"object"})"}));
  const auto& chat = std::get<ChatAsked>(a.what);
  EXPECT_EQ(chat.messages[0].role, "system");
  EXPECT_EQ(chat.messages[1].content, "ab");
  EXPECT_EQ(chat.messages[2].tool_calls.at(0).arguments_json, R"({"x":1})");
  EXPECT_EQ(chat.messages[3].tool_name, "f");
  EXPECT_EQ(chat.tools.choice, ToolChoice::named);
  EXPECT_EQ(a.warnings.size(), 1u);
}

TEST(Read, ToolAnswersWithoutNamesBelongToTheCallsInOrder) {
  const Asked a = asked(Endpoint::chat,
                        R"({"model":"m","messages":[{"role":"user","content":"q"},
          {"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":{"b":1,"a":2}}},
                                            {"id":"2","function":{"name":"g","arguments":"{}"}}]},
          {"role":"tool","content":"one"},{"role":"tool","content":"two"}]})");
  const auto& messages = std::get<ChatAsked>(a.what).messages;
  EXPECT_EQ(messages[1].tool_calls[0].arguments_json, R"({"b":1,"a":2})");
  EXPECT_EQ(messages[2].tool_name, "f");
  EXPECT_EQ(messages[2].tool_call_id, "1");
  EXPECT_EQ(messages[3].tool_name, "g");
}

TEST(Read, AnthropicBlocksBecomeMessages) {
  const Asked a = asked(
      Endpoint::messages,
      R"({"model":"m","max_tokens":9,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
          "stop_sequences":["X"],"thinking":{"type":"enabled","budget_tokens":1024},
          "tools":[{"name":"f","description":"d","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search"}],
          "tool_choice":{"type":"any"},
          "messages":[{"role":"user","content":"q"},
            {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"t"},{"type":"tool_use","id":"u1","name":"f","input":{"z":1}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"u1","content":[{"type":"text","text":"r"}],"is_error":true},{"type":"text","text":"go on"}]}]})");
  const auto& chat = std::get<ChatAsked>(a.what);
  ASSERT_EQ(chat.messages.size(), 5u);
  EXPECT_EQ(chat.messages[0].content, "s");
  EXPECT_EQ(chat.messages[2].thinking, "hm");
  EXPECT_EQ(chat.messages[2].tool_calls.at(0).arguments_json, R"({"z":1})");
  EXPECT_EQ(chat.messages[3].role, "tool");
  EXPECT_EQ(chat.messages[3].content, "Error: r");
  EXPECT_EQ(chat.messages[3].tool_name, "f");
  EXPECT_EQ(chat.messages[4].content, "go on");
  EXPECT_EQ(chat.tools.choice, ToolChoice::required);
  EXPECT_EQ(
      chat.tools.json,
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}])");
  EXPECT_EQ(a.think, "true");
  EXPECT_EQ(a.warnings.size(), 2u);
}

TEST(Read, ResponsesItemsBecomeMessages) {
  const Asked a =
      asked(Endpoint::v1_responses,
            R"({"model":"m","instructions":"i","max_output_tokens":5,"truncation":"auto",
          "reasoning":{"effort":"none"},
          "text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object"}}},
          "tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true},{"type":"web_search"}],
          "input":[{"role":"user","content":[{"type":"input_text","text":"q"}]},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":"r"}]})");
  const auto& chat = std::get<ChatAsked>(a.what);
  ASSERT_EQ(chat.messages.size(), 4u);
  EXPECT_EQ(chat.messages[0].role, "system");
  EXPECT_EQ(chat.messages[2].thinking, "hm");
  EXPECT_EQ(chat.messages[2].tool_calls.at(0).name, "f");
  EXPECT_EQ(chat.messages[3].tool_name, "f");
  EXPECT_EQ(a.think, "false");
  EXPECT_TRUE(a.truncate);
  EXPECT_EQ(a.format.kind, OutputFormat::Kind::schema);
  EXPECT_EQ(a.warnings.size(), 1u);
  EXPECT_EQ(Json::parse(a.echo_json)["instructions"], "i");
}

TEST(Read, PromptsAsTextsAndIds) {
  const auto text_of = [](const char* prompt) {
    return std::get<TextAsked>(
        asked(Endpoint::v1_completions, std::string(R"({"model":"m","prompt":)") + prompt + "}")
            .what);
  };
  EXPECT_EQ(text_of("\"x\"").prompts, (std::vector<std::string>{"x"}));
  EXPECT_EQ(text_of(R"(["x","y"])").prompts.size(), 2u);
  EXPECT_EQ(text_of("[1,2]").ids, (std::vector<std::vector<Token>>{{1, 2}}));
  EXPECT_EQ(text_of("[[1],[2,3]]").ids.size(), 2u);
}

}  // namespace LM_FILE
}  // namespace lm::api
