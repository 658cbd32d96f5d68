// Facts of a tiny model with a template of our own, requests through read and plan, and answers
// driven by hand or by an engine.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/api/api.h"
#include "server/api/body_json.h"
#include "tests/golden/golden.h"

namespace lm::api_test {

using api::Json;

/// Knows tools and thinking, which can be switched off and has levels.
inline constexpr const char* kTemplate =
    "{% if tools %}<|tools|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls %}<tool_call>{\"name\": \"{{ c.function.name }}\", "
    "\"arguments\": {{ c.function.arguments | tojson }}}</tool_call>{% endfor %}"
    "{% if m.role == 'tool' %}[{{ m.name }}]{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    "{% if reasoning_effort is defined %}({{ reasoning_effort }}){% endif %}{% endif %}"
    "{# <think> and </think> #}";
/// Knows neither.
inline constexpr const char* kPlainTemplate =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";
/// Takes users and assistants in turns only, as Gemma's and Mistral's.
inline constexpr const char* kStrictTemplate =
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>";

inline api::ModelFacts facts(const std::string& source = kTemplate, std::uint32_t n_ctx = 2048,
                             const std::string& model = "llama-gqa") {
  const auto file = GgufFile::open(golden::data_dir() / "arch" / (model + ".gguf"));
  EXPECT_TRUE(file) << file.error().problem;
  auto made = api::facts_of(*file, "tiny:latest", source);
  EXPECT_TRUE(made) << made.error().problem;
  made->n_ctx = n_ctx;
  return std::move(*made);
}

/// 2026-01-31T12:00:00.5Z, two seconds of the steady clock after the request came.
inline constexpr api::Moment kNow{1'769'860'800'500'000'000, 5'000'000'000};
inline constexpr api::Circumstances kHere{{1'769'860'798'500'000'000, 3'000'000'000}, 7};

/// A request that must be right.
inline api::Asked asked(api::Endpoint endpoint, std::string_view body) {
  auto out = api::read(endpoint, body);
  EXPECT_TRUE(out) << out.error().message << " in " << body;
  return out ? std::move(*out) : api::Asked{};
}

inline api::Work planned(api::Endpoint endpoint, std::string_view body,
                         const api::ModelFacts& about) {
  auto work = api::plan(asked(endpoint, body), about, kHere);
  EXPECT_TRUE(work) << work.error().message << " in " << body;
  return work ? std::move(*work) : api::Work{};
}

/// What is wrong with a request: of its body, or of it and the model together.
inline api::ApiError wrong(api::Endpoint endpoint, std::string_view body,
                           const api::ModelFacts& about) {
  auto read = api::read(endpoint, body);
  if (!read) {
    return read.error();
  }
  auto work = api::plan(*read, about, kHere);
  EXPECT_FALSE(work) << body;
  return work ? api::ApiError{200, {}, {}, {}} : work.error();
}

inline const Request& request(const api::Work& work, std::size_t job = 0) {
  return std::get<Request>(work.commands.at(job));
}

/// The prompt of a request as text.
inline std::string prompt_text(const api::ModelFacts& about, const api::Work& work,
                               std::size_t job = 0) {
  return about.tokenizer->decode(request(work, job).ids, true);
}

inline Event text(std::string content) {
  Event event;
  event.kind = Event::Kind::content;
  event.text = std::move(content);
  return event;
}

inline Event thinking(std::string content) {
  Event event = text(std::move(content));
  event.kind = Event::Kind::thinking;
  return event;
}

inline Event call(std::string json) {
  Event event;
  event.kind = Event::Kind::tool_call;
  event.text = std::move(json);
  return event;
}

inline Event warning(std::string sentence) {
  Event event;
  event.kind = Event::Kind::warning;
  event.text = std::move(sentence);
  return event;
}

inline Event done(Finish finish = Finish::stop, std::string stop_string = {}) {
  Event event;
  event.kind = Event::Kind::done;
  event.finish = finish;
  event.stop_string = std::move(stop_string);
  event.stats.prompt_tokens = 11;
  event.stats.cached_tokens = 4;
  event.stats.generated_tokens = 3;
  event.stats.prompt_ns = 100;
  event.stats.generation_ns = 200;
  return event;
}

inline Event failed(ErrorCode code, std::string subject, std::string problem) {
  Event event;
  event.kind = Event::Kind::error;
  event.error = {code, std::move(subject), std::move(problem)};
  return event;
}

/// All that a client would get.
struct Received {
  int status = 0;
  std::string content_type, headers, bytes;
  bool complete = false;
  std::size_t heads = 0;

  void add(const api::Output& output) {
    EXPECT_FALSE(complete) << "something came behind the end";
    if (output.head) {
      ++heads;
      status = output.head->status;
      content_type = output.head->content_type;
      headers = output.head->headers;
      EXPECT_TRUE(bytes.empty());
    }
    EXPECT_TRUE(output.bytes.empty() || heads == 1) << "bytes before the head";
    bytes += output.bytes;
    complete = output.last;
  }
  Json json() const {
    Json out = Json::parse(bytes, nullptr, false);
    EXPECT_FALSE(out.is_discarded()) << bytes;
    return out;
  }
  /// Lines of an NDJSON stream.
  std::vector<Json> lines() const {
    std::vector<Json> out;
    EXPECT_TRUE(bytes.ends_with('\n'));
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t end = bytes.find('\n', at);
      out.push_back(Json::parse(bytes.substr(at, end - at)));
      at = end + 1;
    }
    return out;
  }
  struct Frame {
    std::string event, data;
    Json json() const { return Json::parse(data); }
  };
  /// Frames of an SSE stream; comments are left out.
  std::vector<Frame> frames() const {
    std::vector<Frame> out;
    EXPECT_TRUE(bytes.ends_with("\n\n"));
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t end = bytes.find("\n\n", at);
      std::string block = bytes.substr(at, end - at);
      at = end + 2;
      Frame frame;
      if (block.starts_with("event: ")) {
        frame.event = block.substr(7, block.find('\n') - 7);
        block.erase(0, block.find('\n') + 1);
      }
      if (block.starts_with(":")) {
        continue;
      }
      EXPECT_TRUE(block.starts_with("data: ")) << block;
      frame.data = block.substr(6);
      EXPECT_EQ(frame.data.find('\n'), std::string::npos);
      out.push_back(std::move(frame));
    }
    return out;
  }
};

/// Events of job 0, one after the other.
inline Received play(api::Work& work, std::vector<Event> events) {
  Received out;
  out.add(work.answer->begin(kNow));
  for (Event& event : events) {
    out.add(work.answer->take(0, std::move(event), kNow));
  }
  return out;
}

}  // namespace lm::api_test
