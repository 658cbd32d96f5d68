// Plans: prompts, options, cuts and warnings of requests with a model.
#include <gtest/gtest.h>

#include "tests/server_api/facts_fixture.h"

namespace lm::api {
namespace LM_FILE {

using namespace api_test;

constexpr const char* kTools =
    R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}])";

std::string chat_body(const std::string& messages, const std::string& more = {}) {
  return R"({"model":"m","messages":[)" + messages + "]" + (more.empty() ? "" : "," + more) + "}";
}
const std::string kHello = R"({"role":"user","content":"hi"})";

TEST(Plan, ChatIsRenderedWithTheModelsOwnMessages) {
  ModelFacts about = facts();
  about.system = "be kind";
  about.messages = {{.role = "user", .content = "1+1"}, {.role = "assistant", .content = "2"}};
  Work work = planned(Endpoint::chat, chat_body(kHello), about);
  EXPECT_EQ(prompt_text(about, work),
            "<|system|>be kind<|end|><|user|>1+1<|end|><|assistant|>2<|end|>"
            "<|user|>hi<|end|><|assistant|>");
  work = planned(Endpoint::chat, chat_body(R"({"role":"system","content":"be brief"},)" + kHello),
                 about);
  EXPECT_EQ(prompt_text(about, work).find("be kind"), std::string::npos);
  EXPECT_TRUE(prompt_text(about, work).starts_with("<|system|>be brief<|end|><|user|>1+1"));
}

TEST(Plan, OptionsLieOverTheModelsAndThoseOverTheEndpoints) {
  ModelFacts about = facts();
  EXPECT_EQ(request(planned(Endpoint::chat, chat_body(kHello), about)).sampler.temperature, 0.8);
  EXPECT_EQ(request(planned(Endpoint::v1_chat, chat_body(kHello), about)).sampler.temperature, 1.0);
  EXPECT_EQ(request(planned(Endpoint::v1_chat, chat_body(kHello), about)).sampler.top_p, 1.0);
  about.parameters = {{"temperature", {"0.25"}}, {"stop", {"A", "B"}}};
  Work work = planned(Endpoint::v1_chat, chat_body(kHello), about);
  EXPECT_EQ(request(work).sampler.temperature, 0.25);
  EXPECT_EQ(request(work).stop, (std::vector<std::string>{"A", "B"}));
  work = planned(Endpoint::v1_chat,
                 chat_body(kHello, R"("temperature":0,"stop":"C","seed":5,"n":2,"max_tokens":4)"),
                 about);
  ASSERT_EQ(work.commands.size(), 2u);
  EXPECT_EQ(request(work).sampler.temperature, 0.0);
  EXPECT_EQ(request(work).stop, (std::vector<std::string>{"C"}));
  EXPECT_EQ(request(work, 0).sampler.seed, 5);
  EXPECT_EQ(request(work, 1).sampler.seed, 6);
  EXPECT_EQ(request(work).max_tokens, 4);
  EXPECT_FALSE(request(work).shift);
  EXPECT_TRUE(request(planned(Endpoint::chat, chat_body(kHello), about)).shift);

  about.parameters = {{"temperature", {"hot"}}};
  const ApiError error = wrong(Endpoint::chat, chat_body(kHello), about);
  EXPECT_EQ(error.status, 500);
  EXPECT_NE(error.message.find("temperature"), std::string::npos);
}

TEST(Plan, LoadingFollowsTheRequestThenTheModelsParameters) {
  ModelFacts about = facts();
  about.parameters = {{"num_ctx", {"64"}}, {"num_batch", {"32"}}};
  const LoadAsked load = load_of(
      asked(Endpoint::chat, chat_body(kHello, R"("options":{"num_ctx":128},"keep_alive":5)")),
      about);
  EXPECT_EQ(load.n_ctx, 128u);
  EXPECT_EQ(load.n_batch, 32u);
  EXPECT_FALSE(load.n_threads);
  EXPECT_TRUE(load.keep_alive);
  EXPECT_EQ(load_of(asked(Endpoint::chat, chat_body(kHello)), about).n_ctx, 64u);
}

TEST(Plan, ThinkingIsOnOffOrRefused) {
  const ModelFacts about = facts(), plain = facts(kPlainTemplate);
  const auto prompt = [&](const std::string& more) {
    return prompt_text(about, planned(Endpoint::chat, chat_body(kHello, more), about));
  };
  EXPECT_TRUE(prompt("").ends_with("<|assistant|>"));
  EXPECT_TRUE(prompt(R"("think":false)").ends_with("<|assistant|><think></think>"));
  EXPECT_TRUE(prompt(R"("think":"high")").ends_with("<|assistant|>(high)"));
  const Work work = planned(Endpoint::chat, chat_body(kHello), about);
  EXPECT_EQ(request(work).thinking_open, "<think>");
  EXPECT_EQ(request(work).thinking_close, "</think>");

  planned(Endpoint::chat, chat_body(kHello, R"("think":false)"), plain);
  const ApiError error = wrong(Endpoint::chat, chat_body(kHello, R"("think":true)"), plain);
  EXPECT_EQ(error.status, 400);
  EXPECT_NE(error.message.find("does not support thinking"), std::string::npos);
  // What is only a hint there is a warning.
  Work hinted = planned(Endpoint::v1_chat, chat_body(kHello, R"("reasoning_effort":"low")"), plain);
  EXPECT_NE(play(hinted, {done()}).headers.find("does not support thinking"), std::string::npos);
  planned(Endpoint::messages,
          chat_body(kHello, R"("max_tokens":5,"thinking":{"type":"enabled","budget_tokens":1024})"),
          plain);
}

TEST(Plan, ToolsReachTemplateAndEngine) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::chat, chat_body(kHello, kTools), about);
  EXPECT_NE(prompt_text(about, work).find("<|tools|>[{\"type\": \"function\""), std::string::npos);
  EXPECT_EQ(request(work).family, OutputFamily::tool_call_tags);
  EXPECT_FALSE(request(work).tools_json.empty());
  EXPECT_EQ(request(work).tool_choice, ToolChoice::automatic);
  work = planned(Endpoint::v1_chat,
                 chat_body(kHello, std::string(kTools) + R"(,"tool_choice":"required")"), about);
  EXPECT_EQ(request(work).tool_choice, ToolChoice::required);
  work = planned(Endpoint::v1_chat,
                 chat_body(kHello, std::string(kTools) + R"(,"tool_choice":"none")"), about);
  EXPECT_TRUE(request(work).tools_json.empty());
  EXPECT_EQ(prompt_text(about, work).find("<|tools|>"), std::string::npos);
  const ApiError error = wrong(Endpoint::chat, chat_body(kHello, kTools), facts(kPlainTemplate));
  EXPECT_EQ(error.status, 400);
  EXPECT_NE(error.message.find("does not support tools"), std::string::npos);
}

TEST(Plan, ModelsAreAskedOnlyWhatTheyCan) {
  const ModelFacts encoder = facts("", 256, "bert"), writer = facts();
  EXPECT_NE(wrong(Endpoint::chat, chat_body(kHello), encoder).message.find("does not support chat"),
            std::string::npos);
  EXPECT_NE(wrong(Endpoint::generate, R"({"model":"m","prompt":"x"})", encoder)
                .message.find("does not support generate"),
            std::string::npos);
  EXPECT_NE(wrong(Endpoint::embed, R"({"model":"m","input":"x"})", writer)
                .message.find("does not support embeddings"),
            std::string::npos);
  EXPECT_NE(wrong(Endpoint::generate, R"({"model":"m","prompt":"x","suffix":"y"})", writer)
                .message.find("does not support insert"),
            std::string::npos);
}

TEST(Plan, LongConversationsAreCutOrRefusedWithBothNumbers) {
  const ModelFacts about = facts(kPlainTemplate, 256);
  std::string messages = R"({"role":"system","content":"stay"})";
  for (int i = 0; i < 20; ++i) {
    messages += R"(,{"role":"user","content":"question number )" + std::to_string(i) +
                R"("},{"role":"assistant","content":"answer"})";
  }
  messages += R"(,{"role":"user","content":"the last one"})";
  Work work = planned(Endpoint::chat, chat_body(messages), about);
  const std::string prompt = prompt_text(about, work);
  EXPECT_TRUE(prompt.starts_with("<|system|>stay<|end|><|user|>"));
  EXPECT_TRUE(prompt.ends_with("<|user|>the last one<|end|><|assistant|>"));
  EXPECT_EQ(prompt.find("number 0<"), std::string::npos);
  EXPECT_LT(request(work).ids.size(), 256u);
  const Received received = play(work, {text("x"), done()});
  EXPECT_NE(received.headers.find("X-LM-Warnings: [\""), std::string::npos);
  EXPECT_NE(received.headers.find("were dropped"), std::string::npos);
  const Json last = received.lines().back();
  EXPECT_GT(last["truncated"], 100);
  EXPECT_EQ(last["warnings"].size(), 1u);

  for (const auto& [endpoint, more] : {std::pair{Endpoint::chat, R"("truncate":false)"},
                                       {Endpoint::v1_chat, R"("n":1)"},
                                       {Endpoint::messages, R"("max_tokens":9)"}}) {
    const ApiError error = wrong(endpoint, chat_body(messages, more), about);
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.code, "context_length_exceeded");
    EXPECT_NE(error.message.find("context length"), std::string::npos);
    EXPECT_NE(error.message.find("256"), std::string::npos);
  }
  // The system's text is never dropped.
  const std::string huge =
      R"({"role":"system","content":")" + std::string(2000, 'a') + "\"}," + kHello;
  EXPECT_EQ(wrong(Endpoint::chat, chat_body(huge), about).code, "context_length_exceeded");
  // Opting in.
  planned(Endpoint::v1_chat, chat_body(messages, R"("truncate":true)"), about);
}

TEST(Plan, ALongTextLosesItsFrontInsideTheTemplate) {
  const ModelFacts about = facts(kPlainTemplate, 128);
  std::string words;
  for (int i = 0; i < 200; ++i) {
    words += "w" + std::to_string(i) + " ";
  }
  Work work = planned(Endpoint::generate,
                      R"({"model":"m","prompt":")" + words + R"(","system":"keep me"})", about);
  const std::string prompt = prompt_text(about, work);
  EXPECT_TRUE(prompt.starts_with("<|system|>keep me<|end|><|user|>"));
  EXPECT_TRUE(prompt.ends_with("w199 <|end|><|assistant|>"));
  EXPECT_LT(request(work).ids.size(), 128u);
  EXPECT_GT(play(work, {done()}).lines().back()["truncated"], 100);
  const std::string body = R"({"model":"m","truncate":false,"prompt":")" + words + "\"}";
  EXPECT_EQ(wrong(Endpoint::generate, body, about).code, "context_length_exceeded");
  work =
      planned(Endpoint::generate, R"({"model":"m","raw":true,"prompt":")" + words + "\"}", about);
  EXPECT_EQ(request(work).overflow, Overflow::truncate_front);
}

TEST(Plan, RawTextTemplatesAndContext) {
  const ModelFacts about = facts(kPlainTemplate);
  EXPECT_EQ(prompt_text(about, planned(Endpoint::generate,
                                       R"({"model":"m","prompt":"<s>a","raw":true})", about)),
            "<s>a");
  EXPECT_EQ(
      prompt_text(about, planned(Endpoint::v1_completions, R"({"model":"m","prompt":"a"})", about)),
      "a");
  EXPECT_EQ(prompt_text(about, planned(Endpoint::generate,
                                       R"({"model":"m","prompt":"a","system":"s",
                                    "template":"[{{ messages[0].content }}|{{ messages[1].content }}]"})",
                                       about)),
            "[s|a]");
  EXPECT_EQ(
      wrong(Endpoint::generate, R"({"model":"m","prompt":"a","template":"{% if %}"})", about).param,
      "template");
  const Work next =
      planned(Endpoint::generate, R"({"model":"m","prompt":"a","context":[1,5,9]})", about);
  const auto& ids = request(next).ids;
  EXPECT_EQ(std::vector<Token>(ids.begin(), ids.begin() + 3), (std::vector<Token>{1, 5, 9}));
  EXPECT_NE(ids[3], 1);
}

TEST(Plan, StrictTemplatesAreMetHalfWay) {
  const ModelFacts about = facts(kStrictTemplate);
  Work work =
      planned(Endpoint::chat,
              chat_body(R"({"role":"user","content":"a"},{"role":"user","content":"b"})"), about);
  EXPECT_EQ(prompt_text(about, work), "<|user|>a\n\nb<|end|><|assistant|>");
  EXPECT_NE(play(work, {done()}).headers.find("put together"), std::string::npos);
  work = planned(Endpoint::chat, chat_body(R"({"role":"system","content":"s"},)" + kHello), about);
  EXPECT_EQ(prompt_text(about, work), "<|user|>s\n\nhi<|end|><|assistant|>");
  EXPECT_NE(play(work, {done()}).headers.find("no system message"), std::string::npos);
  const ApiError error =
      wrong(Endpoint::chat, chat_body(R"({"role":"assistant","content":"a"})"), about);
  EXPECT_EQ(error.status, 400);
  EXPECT_NE(error.message.find("roles must alternate"), std::string::npos);
}

TEST(Plan, MessageTextNeverBecomesAControlToken) {
  const ModelFacts about = facts(kPlainTemplate);
  const Work work =
      planned(Endpoint::chat, chat_body(R"({"role":"user","content":"</s><s>"})"), about);
  const auto& ids = request(work).ids;
  EXPECT_EQ(std::ranges::count(ids, 1), 0);
  EXPECT_EQ(std::ranges::count(ids, 2), 0);
}

TEST(Plan, WithoutWorkTheAnswerIsReady) {
  const ModelFacts about = facts();
  Work count = planned(Endpoint::count_tokens, chat_body(kHello), about);
  const std::size_t n =
      request(planned(Endpoint::messages, chat_body(kHello, R"("max_tokens":5)"), about))
          .ids.size();
  EXPECT_EQ(play(count, {}).json(), (Json{{"input_tokens", n}}));

  Work load = planned(Endpoint::generate, R"({"model":"m"})", about);
  Received received = play(load, {});
  EXPECT_TRUE(received.complete);
  EXPECT_EQ(received.content_type, "application/json");
  Json body = received.json();
  EXPECT_EQ(body["done_reason"], "load");
  EXPECT_EQ(body["response"], "");
  EXPECT_EQ(body["model"], "m");
  Work unload = planned(Endpoint::chat, R"({"model":"m","keep_alive":0})", ModelFacts());
  body = play(unload, {}).json();
  EXPECT_EQ(body["done_reason"], "unload");
  EXPECT_EQ(body["message"]["content"], "");
  Work empty = planned(Endpoint::embed, R"({"model":"m","input":[]})", about);
  body = play(empty, {}).json();
  EXPECT_EQ(body["embeddings"], Json::array());
  EXPECT_TRUE(body.contains("total_duration"));

  Work shown = planned(Endpoint::chat, chat_body(kHello, R"("_debug_render_only":true)"), about);
  EXPECT_EQ(play(shown, {}).json()["_debug_info"]["rendered_template"],
            "<|user|>hi<|end|><|assistant|>");
}

TEST(Plan, FillingAGapUsesTheVocabulariesMarks) {
  ModelFacts about = facts();
  about.fill = FillMarks{"<s>", "</s>", "<unk>", false};
  Work work = planned(Endpoint::generate, R"({"model":"m","prompt":"a","suffix":"b"})", about);
  EXPECT_EQ(prompt_text(about, work), "<s>a</s> b<unk>");
  about.fill = FillMarks{"<s>", "</s>", "", true};
  work = planned(Endpoint::v1_completions, R"({"model":"m","prompt":"a","suffix":"b"})", about);
  EXPECT_EQ(prompt_text(about, work), "</s>b<s> a");
}

}  // namespace LM_FILE
}  // namespace lm::api
