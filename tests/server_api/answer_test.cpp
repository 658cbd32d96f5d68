// Answers: events of an engine as the bytes that clients get, byte for byte.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/server_api/facts_fixture.h"

namespace lm::api {
namespace LM_FILE {

using namespace api_test;

const std::string kMessages = R"("messages":[{"role":"user","content":"hi"}])";
const std::string kCall = R"({"id":"call_ab12cd34","name":"f","arguments":{"b":1,"a":"ü"}})";

std::string body(const std::string& more = {}) {
  return R"({"model":"m",)" + kMessages + more + "}";
}

TEST(Answer, NativeChatStreamsLines) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::chat, body(), about);
  const Received got =
      play(work, {thinking("hm"), text("He"), text("llo"), call(kCall), done(Finish::stop)});
  EXPECT_EQ(got.content_type, "application/x-ndjson");
  EXPECT_TRUE(got.complete);
  const std::string n = std::to_string(request(work).ids.size());
  const std::string begin = R"({"model":"m","created_at":"2026-01-31T12:00:00.500000000Z",)";
  EXPECT_EQ(
      got.bytes,
      begin +
          R"("message":{"role":"assistant","content":"","thinking":"hm"},"done":false})"
          "\n" +
          begin +
          R"("message":{"role":"assistant","content":"He"},"done":false})"
          "\n" +
          begin +
          R"("message":{"role":"assistant","content":"llo"},"done":false})"
          "\n" +
          begin +
          R"("message":{"role":"assistant","content":"","tool_calls":[{"id":"call_ab12cd34","function":{"index":0,"name":"f","arguments":{"b":1,"a":"ü"}}}]},"done":false})"
          "\n" +
          begin +
          R"("message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":2000000000,"load_duration":0,"prompt_eval_count":)" +
          n +
          R"(,"prompt_eval_duration":100,"eval_count":3,"eval_duration":200,"prompt_cached_count":4})"
          "\n");
}

TEST(Answer, NativeChatAsOneObject) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::chat, body(R"(,"stream":false)"), about);
  const Received got = play(work, {thinking("h"), thinking("m"), text("He"), text("llo"),
                                   warning("careful"), done(Finish::length)});
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.headers, "X-LM-Warnings: [\"careful\"]\r\n");
  const Json json = got.json();
  EXPECT_EQ(json["message"],
            (Json{{"role", "assistant"}, {"content", "Hello"}, {"thinking", "hm"}}));
  EXPECT_EQ(json["done_reason"], "length");
  EXPECT_EQ(json["warnings"], Json::array({"careful"}));
}

TEST(Answer, GenerateCarriesContextInEveryFrame) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::generate, R"({"model":"m","prompt":"x"})", about);
  const std::vector<Json> lines = play(work, {text("Hello"), done()}).lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["response"], "Hello");
  EXPECT_EQ(lines[0]["context"], Json::array());
  const auto context = lines[1]["context"].get<std::vector<Token>>();
  EXPECT_EQ(about.tokenizer->decode(context, true), prompt_text(about, work) + "Hello");
  for (const char* key : {"total_duration", "load_duration", "prompt_eval_count",
                          "prompt_eval_duration", "eval_count", "eval_duration"}) {
    EXPECT_TRUE(lines[1].contains(key)) << key;
    EXPECT_FALSE(lines[0].contains(key)) << key;
  }
  Work raw = planned(Endpoint::generate, R"({"model":"m","prompt":"x","raw":true})", about);
  EXPECT_EQ(play(raw, {text("y"), done()}).lines().back()["context"], Json::array());
}

TEST(Answer, ErrorsAreAStatusFirstAndAFrameLater) {
  const ModelFacts about = facts();
  struct Case {
    Endpoint endpoint;
    std::string more;
    std::string first, later;
  };
  const std::string message = "NaN in the logits";
  const std::vector<Case> cases{
      {Endpoint::chat, "", R"({"error":"logits: NaN"})", "{\"error\":\"logits: NaN\"}\n"},
      {Endpoint::v1_chat, R"(,"stream":true)",
       R"({"error":{"message":"logits: NaN","type":"api_error","param":null,"code":"non_finite"}})",
       "data: {\"error\":{\"message\":\"logits: NaN\",\"type\":\"api_error\",\"param\":null,"
       "\"code\":\"non_finite\"}}\n\n"},
  };
  for (const Case& c : cases) {
    Work work = planned(c.endpoint, body(c.more), about);
    Received got = play(work, {failed(ErrorCode::non_finite, "logits", "NaN")});
    EXPECT_EQ(got.status, 500);
    EXPECT_EQ(got.headers, "x-should-retry: false\r\n");
    EXPECT_EQ(got.content_type, "application/json");
    EXPECT_EQ(got.bytes, c.first);
    work = planned(c.endpoint, body(c.more), about);
    got = play(work, {text("a"), failed(ErrorCode::non_finite, "logits", "NaN")});
    EXPECT_EQ(got.status, 200);
    EXPECT_TRUE(got.bytes.ends_with(c.later)) << got.bytes;
    EXPECT_TRUE(got.complete);
  }
  Work work = planned(Endpoint::messages, body(R"(,"max_tokens":5,"stream":true)"), about);
  Received got = play(work, {text("a"), failed(ErrorCode::busy, "m", "many")});
  EXPECT_EQ(got.frames().back().event, "error");
  const Json error = got.frames().back().json();
  EXPECT_EQ(error["type"], "error");
  EXPECT_EQ(error["error"]["type"], "overloaded_error");
  EXPECT_TRUE(error["request_id"].get<std::string>().starts_with("req_"));
  work = planned(Endpoint::messages, body(R"(,"max_tokens":5)"), about);
  got = play(work, {failed(ErrorCode::busy, "m", "is full")});
  EXPECT_EQ(got.status, 503);
  EXPECT_EQ(got.headers, "Retry-After: 1\r\n");
  EXPECT_NE(got.bytes.find("server busy"), std::string::npos);

  work = planned(Endpoint::v1_chat, body(), about);
  got = play(work, {failed(ErrorCode::bad_value, "format", "no text satisfies it")});
  EXPECT_EQ(got.status, 400);
  work = planned(Endpoint::v1_chat, body(), about);
  got = play(work, {done(Finish::cancelled)});
  EXPECT_EQ(got.status, 499);
}

TEST(Answer, OpenAiChunks) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::v1_chat,
                      body(R"(,"stream":true,"stream_options":{"include_usage":true})"), about);
  const Received got = play(work, {thinking("hm"), text("Hello"), call(kCall), done()});
  EXPECT_EQ(got.content_type, "text/event-stream");
  const auto frames = got.frames();
  ASSERT_EQ(frames.size(), 7u);
  EXPECT_EQ(frames[6].data, "[DONE]");
  const std::string id = frames[0].json()["id"];
  EXPECT_TRUE(id.starts_with("chatcmpl-"));
  for (std::size_t i = 0; i < 6; ++i) {
    const Json frame = frames[i].json();
    EXPECT_EQ(frame["id"], id);
    EXPECT_EQ(frame["object"], "chat.completion.chunk");
    EXPECT_EQ(frame["created"], 1'769'860'798);
  }
  const auto choice = [&](std::size_t i) { return frames[i].json()["choices"][0]; };
  EXPECT_EQ(choice(0)["delta"], (Json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(choice(1)["delta"], (Json{{"reasoning", "hm"}, {"reasoning_content", "hm"}}));
  EXPECT_EQ(choice(2)["delta"], (Json{{"content", "Hello"}}));
  EXPECT_TRUE(choice(2)["finish_reason"].is_null());
  EXPECT_EQ(
      choice(3)["delta"].dump(),
      R"({"tool_calls":[{"index":0,"id":"call_ab12cd34","type":"function","function":{"name":"f","arguments":"{\"b\":1,\"a\":\"ü\"}"}}]})");
  EXPECT_EQ(choice(4)["delta"], Json::object());
  EXPECT_EQ(choice(4)["finish_reason"], "tool_calls");
  EXPECT_EQ(frames[5].json()["choices"], Json::array());
  EXPECT_EQ(frames[5].json()["usage"]["completion_tokens"], 3);
  EXPECT_EQ(frames[5].json()["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
}

TEST(Answer, SeveralChoicesEndEachForItself) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::v1_chat, body(R"(,"stream":true,"n":2)"), about);
  Received got;
  got.add(work.answer->begin(kNow));
  got.add(work.answer->take(1, text("b"), kNow));
  got.add(work.answer->take(0, text("a"), kNow));
  got.add(work.answer->take(1, done(Finish::length), kNow));
  EXPECT_FALSE(got.complete);
  got.add(work.answer->take(0, done(), kNow));
  EXPECT_TRUE(got.complete);
  std::map<int, std::string> texts, ends;
  for (const auto& frame : got.frames()) {
    if (frame.data == "[DONE]") {
      continue;
    }
    const Json choice = frame.json()["choices"][0];
    if (choice["delta"].contains("content")) {
      texts[choice["index"]] += choice["delta"]["content"].get<std::string>();
    }
    if (!choice["finish_reason"].is_null()) {
      ends[choice["index"]] = choice["finish_reason"];
    }
  }
  EXPECT_EQ(texts, (std::map<int, std::string>{{0, "a"}, {1, "b"}}));
  EXPECT_EQ(ends, (std::map<int, std::string>{{0, "stop"}, {1, "length"}}));
}

TEST(Answer, OpenAiAsOneObjectWithLogprobs) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::v1_chat, body(R"(,"logprobs":true,"top_logprobs":1)"), about);
  EXPECT_TRUE(request(work).logprobs);
  Event piece = text("é");
  piece.logprobs = {{{5, -0.5f, "\xc3"}, {{5, -0.5f, "\xc3"}}}, {{6, -1.0f, "\xa9"}, {}}};
  const Json json = play(work, {piece, done()}).json();
  const Json choice = json["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "é");
  EXPECT_EQ(choice["logprobs"]["content"][0]["bytes"], Json::array({0xc3}));
  EXPECT_EQ(choice["logprobs"]["content"][0]["logprob"], -0.5);
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 1u);
  EXPECT_EQ(json["usage"]["total_tokens"], request(work).ids.size() + 3);
}

TEST(Answer, CompletionsEchoAndChooseTheBest) {
  const ModelFacts about = facts();
  Work work = planned(
      Endpoint::v1_completions,
      R"({"model":"m","prompt":["p","q"],"echo":true,"best_of":2,"n":1,"max_tokens":5})", about);
  ASSERT_EQ(work.commands.size(), 4u);
  Received got;
  got.add(work.answer->begin(kNow));
  for (std::size_t job = 0; job < 4; ++job) {
    Event piece = text("t" + std::to_string(job));
    piece.logprobs = {{{5, job % 2 == 0 ? -3.0f : -1.0f, "t"}, {}}};
    got.add(work.answer->take(job, piece, kNow));
    got.add(work.answer->take(job, done(), kNow));
  }
  const Json choices = got.json()["choices"];
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0]["text"], "pt1");
  EXPECT_EQ(choices[1]["text"], "qt3");
  EXPECT_EQ(choices[1]["index"], 1);
  EXPECT_TRUE(choices[0]["logprobs"].is_null());

  work = planned(Endpoint::v1_completions,
                 R"({"model":"m","prompt":"p","stream":true,"logprobs":0,"echo":true})", about);
  Event piece = text("ab");
  piece.logprobs = {{{5, -1.0f, "a"}, {}}, {{6, -1.0f, "b"}, {}}};
  const auto frames = play(work, {piece, done(Finish::length)}).frames();
  ASSERT_EQ(frames.size(), 4u);
  EXPECT_EQ(frames[0].json()["choices"][0]["text"], "p");
  EXPECT_EQ(frames[1].json()["choices"][0]["logprobs"]["text_offset"], Json::array({1, 2}));
  EXPECT_EQ(frames[2].json()["choices"][0]["finish_reason"], "length");
}

TEST(Answer, AnthropicBlocksOpenAndClose) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::messages,
                      body(R"(,"max_tokens":9,"stream":true,"stop_sequences":["X"])"), about);
  const auto frames =
      play(work, {thinking("hm"), text("He"), text("llo"), call(kCall), done()}).frames();
  std::string order;
  for (const auto& frame : frames) {
    EXPECT_EQ(frame.event, frame.json()["type"]);
    order += frame.event + " ";
  }
  EXPECT_EQ(order,
            "message_start content_block_start content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_stop message_delta "
            "message_stop ");
  EXPECT_EQ(frames[0].json()["message"]["usage"]["input_tokens"], request(work).ids.size());
  EXPECT_EQ(frames[1].json()["content_block"]["thinking"], "");
  EXPECT_EQ(frames[4].json()["index"], 1);
  EXPECT_EQ(frames[4].json()["content_block"], (Json{{"type", "text"}, {"text", ""}}));
  EXPECT_EQ(frames[8].json()["content_block"]["input"], Json::object());
  EXPECT_EQ(frames[9].json()["delta"]["partial_json"], R"({"b":1,"a":"ü"})");
  EXPECT_EQ(frames[11].json()["delta"]["stop_reason"], "tool_use");
  EXPECT_EQ(frames[11].json()["usage"]["output_tokens"], 3);

  work = planned(Endpoint::messages, body(R"(,"max_tokens":9,"stop_sequences":["X"])"), about);
  const Json json = play(work, {text("a"), done(Finish::stop, "X")}).json();
  EXPECT_EQ(json["stop_reason"], "stop_sequence");
  EXPECT_EQ(json["stop_sequence"], "X");
  EXPECT_EQ(json["content"], Json::array({{{"type", "text"}, {"text", "a"}}}));
  work = planned(Endpoint::messages, body(R"(,"max_tokens":9)"), about);
  EXPECT_EQ(play(work, {text("a"), done(Finish::stop, "Y")}).json()["stop_reason"], "end_turn");
}

TEST(Answer, ResponsesItemsAgreeWithTheirEvents) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::v1_responses, R"({"model":"m","input":"x","stream":true})", about);
  const auto frames =
      play(work, {thinking("hm"), text("He"), text("llo"), call(kCall), done()}).frames();
  std::string order;
  std::map<std::string, std::string> deltas;  // item -> text
  std::map<std::size_t, std::string> items;   // output index -> item
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const Json frame = frames[i].json();
    EXPECT_EQ(frame["type"], frames[i].event);
    EXPECT_EQ(frame["sequence_number"], i);
    order += frames[i].event.substr(9) + " ";
    if (frames[i].event == "response.output_item.added") {
      items[frame["output_index"]] = frame["item"]["id"];
    }
    if (frame.contains("item_id")) {
      EXPECT_EQ(items.at(frame["output_index"]), frame["item_id"]) << frames[i].event;
    }
    if (frames[i].event.ends_with(".delta")) {
      deltas[frame["item_id"]] += frame["delta"].get<std::string>();
    }
  }
  EXPECT_EQ(order,
            "created in_progress output_item.added reasoning_summary_part.added "
            "reasoning_summary_text.delta reasoning_summary_text.done "
            "reasoning_summary_part.done output_item.done output_item.added content_part.added "
            "output_text.delta output_text.delta output_text.done content_part.done "
            "output_item.done output_item.added function_call_arguments.delta "
            "function_call_arguments.done output_item.done completed ");
  const Json response = frames.back().json()["response"];
  EXPECT_EQ(response["status"], "completed");
  ASSERT_EQ(response["output"].size(), 3u);
  EXPECT_EQ(response["output"][0]["summary"][0]["text"], "hm");
  EXPECT_EQ(response["output"][1]["content"][0]["text"], "Hello");
  EXPECT_EQ(deltas[response["output"][1]["id"]], "Hello");
  EXPECT_EQ(response["output"][2]["arguments"], R"({"b":1,"a":"ü"})");
  EXPECT_EQ(response["output"][2]["call_id"], "call_ab12cd34");
  for (const char* key : {"id",
                          "object",
                          "created_at",
                          "completed_at",
                          "status",
                          "incomplete_details",
                          "model",
                          "previous_response_id",
                          "instructions",
                          "output",
                          "error",
                          "tools",
                          "tool_choice",
                          "truncation",
                          "parallel_tool_calls",
                          "text",
                          "top_p",
                          "presence_penalty",
                          "frequency_penalty",
                          "top_logprobs",
                          "temperature",
                          "reasoning",
                          "usage",
                          "max_output_tokens",
                          "max_tool_calls",
                          "store",
                          "background",
                          "service_tier",
                          "metadata",
                          "safety_identifier",
                          "prompt_cache_key"}) {
    EXPECT_TRUE(response.contains(key)) << key;
  }
  work = planned(Endpoint::v1_responses, R"({"model":"m","input":"x"})", about);
  const Json cut = play(work, {text("a"), done(Finish::length)}).json();
  EXPECT_EQ(cut["status"], "incomplete");
  EXPECT_EQ(cut["incomplete_details"]["reason"], "max_output_tokens");
}

TEST(Answer, PingsOpenAStreamAndNothingElse) {
  const ModelFacts about = facts();
  Work work = planned(Endpoint::v1_chat, body(R"(,"stream":true)"), about);
  Received got;
  got.add(work.answer->begin(kNow));
  got.add(work.answer->ping(kNow));
  EXPECT_EQ(got.status, 200);
  EXPECT_TRUE(got.bytes.ends_with(": ping\n\n"));
  got.add(work.answer->take(0, done(), kNow));
  EXPECT_EQ(got.frames().size(), 3u);
  work = planned(Endpoint::chat, body(), about);
  EXPECT_TRUE(work.answer->ping(kNow).bytes.empty());
  work = planned(Endpoint::messages, body(R"(,"max_tokens":9,"stream":true)"), about);
  Received typed;
  typed.add(work.answer->ping(kNow));
  EXPECT_EQ(typed.frames().back().event, "ping");
}

TEST(Answer, Embeddings) {
  const ModelFacts about = facts("", 256, "bert");
  const auto vector_of = [](std::vector<float> values) {
    Event event;
    event.kind = Event::Kind::embedding;
    event.embedding = std::move(values);
    return event;
  };
  Event end = done();
  end.stats.prompt_tokens = 2;
  const auto run = [&](Endpoint endpoint, const std::string& more) {
    Work work = planned(endpoint, R"({"model":"m",)" + more + "}", about);
    Received got;
    got.add(work.answer->begin(kNow));
    for (std::size_t job = work.commands.size(); job-- > 0;) {
      got.add(work.answer->take(job, vector_of({0.1f, static_cast<float>(job)}), kNow));
      got.add(work.answer->take(job, end, kNow));
    }
    return got;
  };
  EXPECT_EQ(run(Endpoint::embed, R"("input":["a","b"])").bytes,
            R"({"model":"m","embeddings":[[0.1,0],[0.1,1]],"total_duration":2000000000,)"
            R"("load_duration":0,"prompt_eval_count":4})");
  EXPECT_EQ(run(Endpoint::embeddings, R"("prompt":"a")").bytes, R"({"embedding":[0.1,0]})");
  EXPECT_EQ(
      run(Endpoint::v1_embeddings, R"("input":"a","encoding_format":"base64")").bytes,
      R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":"zczMPQAAAAA="}],)"
      R"("model":"m","usage":{"prompt_tokens":2,"total_tokens":2}})");
  const Json ranked =
      run(Endpoint::v1_rerank, R"("query":"q","documents":["a","b","c"],"top_n":2)").json();
  ASSERT_EQ(ranked["results"].size(), 2u);
  EXPECT_FALSE(ranked["warnings"].empty());
}

TEST(Answer, ErrorsOfEveryDress) {
  const ApiError absent{404, "not_found", "model 'x' not found", "model"};
  EXPECT_EQ(error_body(Dress::native, absent), R"({"error":"model 'x' not found"})");
  EXPECT_EQ(
      error_body(Dress::openai, absent),
      R"({"error":{"message":"model 'x' not found","type":"not_found_error","param":"model","code":"not_found"}})");
  EXPECT_EQ(
      error_body(Dress::anthropic, absent, "req_1"),
      R"({"type":"error","error":{"type":"not_found_error","message":"model 'x' not found"},"request_id":"req_1"})");
  EXPECT_EQ(dress_of_path("/v1/messages/count_tokens"), Dress::anthropic);
  EXPECT_EQ(dress_of_path("/v1/models"), Dress::openai);
  EXPECT_EQ(dress_of_path("/api/tags"), Dress::native);
  for (int i = 0; i <= static_cast<int>(Endpoint::last); ++i) {
    dress_of(static_cast<Endpoint>(i));
  }
  EXPECT_EQ(endpoint_of("/v1/messages"), Endpoint::messages);
  EXPECT_FALSE(endpoint_of("/v1/nothing"));
}

}  // namespace LM_FILE
}  // namespace lm::api
