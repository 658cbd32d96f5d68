// Answers that are known to the byte, in every API: stop strings, thinking, calls that a model
// writes by itself, text that would break out of its frames if it could.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/server_api/driver.h"
#include "tests/support/scripted_model.h"

namespace lm::api {
namespace LM_FILE {

using namespace api_test;
using test::ScriptPiece;

/// An engine that recites.
struct Reciter {
  explicit Reciter(const std::vector<ScriptPiece>& script, const std::string& source = kTemplate)
      : path(std::filesystem::temp_directory_path() / ("lm-script-" + std::to_string(::getpid()) +
                                                       "-" + std::to_string(++count) + ".gguf")) {
    EXPECT_TRUE(test::write_scripted_model(path, script));
    auto file = GgufFile::open(path);
    EXPECT_TRUE(file) << file.error().problem;
    auto about = facts_of(*file, "scripted", source);
    EXPECT_TRUE(about) << about.error().problem;
    about->n_ctx = 2048;
    auto model = Model::load(std::move(*file),
                             {{make_cpu_backend({.n_threads = 1, .isa_limit = {}})}, {}, true});
    EXPECT_TRUE(model) << model.error().subject << " " << model.error().problem;
    driver = std::make_unique<Driver>(std::move(*about), engine_fixture::make_engine(*model, 2048));
  }
  explicit Reciter(const std::string& text, const std::string& source = kTemplate)
      : Reciter(test::script_pieces(text), source) {}
  ~Reciter() { std::filesystem::remove(path); }

  /// What a client makes of an answer.
  struct Heard {
    std::string content, thinking, calls, end;
    bool operator==(const Heard&) const = default;
    friend void PrintTo(const Heard& h, std::ostream* out) {
      *out << "content " << dump(h.content) << " thinking " << dump(h.thinking) << " calls "
           << h.calls << " end " << h.end;
    }
  };

  Heard native(bool stream, const std::string& more) {
    const Received got = driver->run(
        Endpoint::chat, R"({"model":"m","messages":[{"role":"user","content":"go"}],"stream":)" +
                            std::string(stream ? "true" : "false") + more + "}");
    Heard heard;
    for (const Json& line : stream ? got.lines() : std::vector{got.json()}) {
      const Json& message = line["message"];
      heard.content += message["content"].get<std::string>();
      heard.thinking += message.value("thinking", "");
      for (const Json& call : message.value("tool_calls", Json::array())) {
        heard.calls += call["function"]["name"].get<std::string>() +
                       call["function"]["arguments"].dump() + ";";
      }
      EXPECT_EQ(line["done"].get<bool>(), line.contains("done_reason"));
      heard.end = line.value("done_reason", "");
    }
    return heard;
  }
  Heard openai(bool stream, const std::string& more) {
    const Received got = driver->run(
        Endpoint::v1_chat, R"({"model":"m","messages":[{"role":"user","content":"go"}],"stream":)" +
                               std::string(stream ? "true" : "false") + more + "}");
    Heard heard;
    std::vector<Json> all;
    if (stream) {
      const auto frames = got.frames();
      EXPECT_EQ(frames.back().data, "[DONE]");
      for (std::size_t i = 0; i + 1 < frames.size(); ++i) {
        EXPECT_TRUE(frames[i].event.empty());
        all.push_back(frames[i].json()["choices"][0]);
      }
    } else {
      all.push_back(got.json()["choices"][0]);
    }
    for (const Json& choice : all) {
      const Json& part = choice[stream ? "delta" : "message"];
      heard.content += part.value("content", "");
      heard.thinking += part.value("reasoning_content", "");
      for (const Json& call : part.value("tool_calls", Json::array())) {
        heard.calls += call["function"]["name"].get<std::string>() +
                       call["function"]["arguments"].get<std::string>() + ";";
      }
      heard.end = choice["finish_reason"].is_null() ? "" : choice["finish_reason"];
    }
    return heard;
  }
  Heard anthropic(bool stream, const std::string& more) {
    const Received got = driver->run(
        Endpoint::messages,
        R"({"model":"m","max_tokens":500,"messages":[{"role":"user","content":"go"}],"stream":)" +
            std::string(stream ? "true" : "false") + more + "}");
    Heard heard;
    if (!stream) {
      const Json message = got.json();
      for (const Json& block : message["content"]) {
        heard.content += block.value("text", "");
        heard.thinking += block.value("thinking", "");
        if (block["type"] == "tool_use") {
          heard.calls += block["name"].get<std::string>() + block["input"].dump() + ";";
        }
      }
      heard.end = message["stop_reason"];
      return heard;
    }
    for (const auto& frame : got.frames()) {
      const Json data = frame.json();
      EXPECT_EQ(data["type"], frame.event);
      if (frame.event == "content_block_start" && data["content_block"]["type"] == "tool_use") {
        heard.calls += data["content_block"]["name"].get<std::string>();
      } else if (frame.event == "content_block_delta") {
        heard.content += data["delta"].value("text", "");
        heard.thinking += data["delta"].value("thinking", "");
        if (data["delta"].contains("partial_json")) {
          heard.calls += data["delta"]["partial_json"].get<std::string>() + ";";
        }
      } else if (frame.event == "message_delta") {
        heard.end = data["delta"]["stop_reason"];
      }
    }
    return heard;
  }
  Heard responses(bool stream, const std::string& more) {
    const Received got = driver->run(Endpoint::v1_responses,
                                     R"({"model":"m","input":"go","stream":)" +
                                         std::string(stream ? "true" : "false") + more + "}");
    const Json response = stream ? got.frames().back().json()["response"] : got.json();
    Heard heard;
    for (const Json& item : response["output"]) {
      if (item["type"] == "reasoning") {
        heard.thinking += item["summary"][0]["text"].get<std::string>();
      } else if (item["type"] == "message") {
        heard.content += item["content"][0]["text"].get<std::string>();
      } else {
        heard.calls += item["name"].get<std::string>() + item["arguments"].get<std::string>() + ";";
      }
    }
    heard.end = response["status"];
    return heard;
  }

  std::filesystem::path path;
  std::unique_ptr<Driver> driver;
  static inline int count = 0;
};

constexpr const char* kNoOptions = R"(,"temperature":0)";

/// The same answer from all of them, streamed and whole.
void expect_everywhere(Reciter& reciter, const Reciter::Heard& expected,
                       const std::string& more = {}, const std::string& anthropic_more = {}) {
  for (const bool stream : {false, true}) {
    Reciter::Heard wanted = expected;
    wanted.end = "stop";
    EXPECT_EQ(reciter.native(stream, kNoOptions + more), wanted) << stream;
    wanted.end = expected.calls.empty() ? "stop" : "tool_calls";
    EXPECT_EQ(reciter.openai(stream, kNoOptions + more), wanted) << stream;
    wanted.end = expected.calls.empty() ? "end_turn" : "tool_use";
    EXPECT_EQ(reciter.anthropic(stream, kNoOptions + anthropic_more), wanted) << stream;
  }
}

TEST(Script, TextThinkingAndTheirMarks) {
  Reciter reciter("<think>pondering deeply</think>\n\nThe answer is forty-two, schön und gut.");
  expect_everywhere(reciter,
                    {"The answer is forty-two, schön und gut.", "pondering deeply", "", ""});
  for (const bool stream : {false, true}) {
    EXPECT_EQ(reciter.responses(stream, kNoOptions),
              (Reciter::Heard{"The answer is forty-two, schön und gut.", "pondering deeply", "",
                              "completed"}));
  }
}

TEST(Script, CallsThatTheModelWritesItself) {
  Reciter reciter(
      "Let me look. <tool_call>\n{\"name\": \"weather\", \"arguments\": {\"zip\": \"0123\", "
      "\"city\": "
      "\"Ål\"}}\n</tool_call>");
  const std::string tools =
      R"(,"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}])";
  expect_everywhere(reciter, {"Let me look. ", "", R"(weather{"zip":"0123","city":"Ål"};)", ""},
                    tools, R"(,"tools":[{"name":"weather","input_schema":{"type":"object"}}])");
  // Nobody offered tools: it is text.
  const std::string text =
      "Let me look. <tool_call>\n{\"name\": \"weather\", \"arguments\": {\"zip\": \"0123\", "
      "\"city\": "
      "\"Ål\"}}\n</tool_call>";
  expect_everywhere(reciter, {text, "", "", ""});
}

TEST(Script, WhatLooksLikeACallAndIsNoneStaysText) {
  const std::string text = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": ";
  Reciter reciter(text);
  const std::string tools = R"(,"tools":[{"type":"function","function":{"name":"weather"}}])";
  for (const bool stream : {false, true}) {
    EXPECT_EQ(reciter.native(stream, kNoOptions + tools).content, text);
    EXPECT_EQ(reciter.openai(stream, kNoOptions + tools).content, text);
  }
}

TEST(Script, StopStringsAreNeverSent) {
  Reciter reciter("one two three STOPPER four five six");
  for (const bool stream : {false, true}) {
    EXPECT_EQ(reciter.native(stream, R"(,"options":{"temperature":0,"stop":["ee STOP"]})"),
              (Reciter::Heard{"one two thr", "", "", "stop"}));
    EXPECT_EQ(reciter.openai(stream, R"(,"temperature":0,"stop":"STOPPER")"),
              (Reciter::Heard{"one two three ", "", "", "stop"}));
    EXPECT_EQ(reciter.anthropic(stream, R"(,"temperature":0,"stop_sequences":["x","STOP"])"),
              (Reciter::Heard{"one two three ", "", "", "stop_sequence"}));
    // A beginning that comes to nothing is text.
    EXPECT_EQ(reciter.openai(stream, R"(,"temperature":0,"stop":"six!")"),
              (Reciter::Heard{"one two three STOPPER four five six", "", "", "stop"}));
  }
}

TEST(Script, HostileTextStaysInItsFrame) {
  const std::string text =
      "data: [DONE]\n\nevent: error\ndata: {\"error\":\"x\"}\n\n{\"error\":\"no\"}\r\n: ping\n\n"
      "\"},\"done\":true}\n\xE2\x80\xA8\x01\x1b[31m </script> \\u0000 end";
  Reciter reciter(text, kPlainTemplate);
  expect_everywhere(reciter, {text, "", "", ""});
  for (const bool stream : {false, true}) {
    EXPECT_EQ(reciter.responses(stream, kNoOptions), (Reciter::Heard{text, "", "", "completed"}));
  }
}

TEST(Script, BytesThatAreNoTextBecomeReplacements) {
  Reciter reciter(
      {{"begin"}, {"\xff", true}, {"\xc3", true}, {"\xa9", true}, {"\xe2", true}, {" end."}},
      kPlainTemplate);
  const std::string text = "begin\xEF\xBF\xBDé\xEF\xBF\xBD end.";
  expect_everywhere(reciter, {text, "", "", ""});
}

TEST(Script, ALimitOfTokensEndsTheAnswer) {
  Reciter reciter("one two three four five six seven", kPlainTemplate);
  EXPECT_EQ(reciter.openai(true, R"(,"temperature":0,"max_tokens":2)").end, "length");
  EXPECT_EQ(reciter.native(true, R"(,"options":{"num_predict":2})").end, "length");
  EXPECT_EQ(reciter.responses(true, R"(,"temperature":0,"max_output_tokens":2)").end, "incomplete");
  EXPECT_EQ(reciter.native(false, R"(,"options":{"num_predict":0})").content, "");
}

}  // namespace LM_FILE
}  // namespace lm::api
