// Bodies of the HTTP APIs, as strangers send them: read, planned for a tiny model, answered by
// events of a script. The first byte chooses the endpoint; with its high bit set the rest says how
// a good body of that endpoint is changed, else it is the body.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "server/api/api.h"
#include "tests/fuzz/require.h"

namespace {

static_assert(static_cast<int>(lm::api::Endpoint::last) == 10, "a body for each endpoint");
using lm::fuzz::require;
using namespace lm;

const api::ModelFacts& model(bool embeds) {
  static const auto made = [](const std::string& name, const std::string& source) {
    const auto file =
        GgufFile::open(std::string(LM_FUZZ_SOURCE_DIR) + "/tests/data/golden/arch/" + name);
    require(file.has_value(), "the golden model is there");
    auto facts = api::facts_of(*file, "tiny", source);
    require(facts.has_value(), "its facts are read");
    facts->n_ctx = 128;
    return std::move(*facts);
  };
  static const api::ModelFacts writer = made(
      "llama-gqa.gguf",
      "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>"
      "{{ m.content }}{{ m.name }}{% for c in m.tool_calls %}<tool_call>{{ c.function.arguments | "
      "tojson }}</tool_call>{% endfor %}{% endfor %}<think>{{ enable_thinking }}</think>");
  static const api::ModelFacts encoder = made("bert.gguf", "");
  return embeds ? encoder : writer;
}

void check(const api::Output& out, bool& open) {
  if (out.head) {
    require(!open && out.head->status >= 200 && out.head->status < 600, "one head");
    open = true;
    const std::string& headers = out.head->headers;
    for (const char c : headers) {
      require((c >= ' ' && c < 127) || c == '\r' || c == '\n', "headers are printable");
    }
    require(headers.empty() || headers.ends_with("\r\n"), "headers end their lines");
    if (out.last && out.head->framing == api::Framing::whole) {
      require(nlohmann::json::accept(out.bytes), "a whole answer is JSON");
    }
  }
  require(open || out.bytes.empty(), "no bytes without a head");
}

Event event(Event::Kind kind, std::string text) {
  Event out;
  out.kind = kind;
  out.text = std::move(text);
  return out;
}

void answer(api::Work& work) {
  bool open = false, last = false;
  const auto put = [&](const api::Output& out) {
    check(out, open);
    last = out.last;
  };
  put(work.answer->begin({}));
  for (std::size_t job = 0; job < work.commands.size() && !last; ++job) {
    const bool embeds = std::holds_alternative<Embed>(work.commands[job]);
    for (int i = 0; i < 5 && !last; ++i) {
      switch (i) {
        case 0:
          put(work.answer->take(job, event(Event::Kind::warning, "w\n\"\xff"), {}));
          break;
        case 1:
          if (embeds) {
            Event vector = event(Event::Kind::embedding, "");
            vector.embedding = {0.5f, -1e-30f};
            put(work.answer->take(job, std::move(vector), {}));
          }
          break;
        case 2:
          put(work.answer->take(job, event(Event::Kind::thinking, "t\xe2\x82\xac"), {}));
          break;
        case 3:
          put(work.answer->take(
              job, event(Event::Kind::tool_call, R"({"id":"a","name":"b","arguments":{"c":[1]}})"),
              {}));
          break;
        default:
          put(work.answer->take(job, event(Event::Kind::done, ""), {}));
      }
    }
  }
  require(last && open, "every answer ends");
}

using Json = nlohmann::ordered_json;

/// A body that uses most of what an endpoint knows, one for each in their order.
constexpr const char* kBodies[] = {
    R"({"model":"m","prompt":"x","suffix":"","system":"s","template":"{{ messages }}","raw":false,"context":[1,2],
        "format":"json","options":{"temperature":0.5,"stop":["a"],"num_ctx":64,"seed":1},"keep_alive":"5m","think":true,
        "stream":true,"images":[],"truncate":true,"shift":true,"logprobs":true,"top_logprobs":2})",
    R"({"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"q"}]},
        {"role":"assistant","thinking":"t","tool_calls":[{"id":"1","function":{"name":"f","arguments":{"a":1}}}]},
        {"role":"tool","content":"r"}],"tools":[{"type":"function","function":{"name":"f","description":"d",
        "parameters":{"type":"object"}}}],"tool_choice":"auto","format":{"type":"object"},"stream":false})",
    R"({"model":"m","input":["a","b"],"truncate":false,"dimensions":8,"keep_alive":-1,"options":{"num_gpu":1}})",
    R"({"model":"m","prompt":"x","options":{},"keep_alive":0})",
    R"({"model":"m","messages":[{"role":"developer","content":"d"},{"role":"user","content":"x"}],"n":2,"stop":"s",
        "max_tokens":5,"seed":1,"logit_bias":{"5":-100},"reasoning_effort":"low","stream":true,"min_p":0.1,
        "stream_options":{"include_usage":true},"tools":[{"type":"function","function":{"name":"f"}}],
        "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,"logprobs":true,
        "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}}})",
    R"({"model":"m","prompt":[[1,2],[3]],"echo":true,"best_of":2,"n":1,"logprobs":2,"suffix":"","stop":["x"]})",
    R"({"model":"m","input":[[1,2]],"encoding_format":"base64","dimensions":4})",
    R"({"model":"m","instructions":"i","input":[{"role":"user","content":[{"type":"input_text","text":"q"}]},
        {"type":"reasoning","summary":[{"type":"summary_text","text":"s"}]},{"type":"function_call","call_id":"c",
        "name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"}],
        "tools":[{"type":"function","name":"f","parameters":{}}],"text":{"format":{"type":"text"}},
        "reasoning":{"effort":"high"},"truncation":"auto","stream":true,"max_output_tokens":5,"temperature":1})",
    R"({"model":"m","query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true})",
    R"({"model":"m","max_tokens":5,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"q"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"tool_use","id":"u","name":"f",
        "input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"u","content":"r",
        "is_error":true},{"type":"text","text":"t"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],
        "tool_choice":{"type":"tool","name":"f"},"thinking":{"type":"enabled","budget_tokens":9},
        "output_config":{"effort":"low"},"stop_sequences":["x"],"stream":true})",
    R"({"model":"m","messages":[{"role":"user","content":"x"}],"system":"s","tools":[{"name":"f"}]})",
};

/// What is put in the place of something.
constexpr const char* kValues[] = {"null",
                                   "true",
                                   "false",
                                   "0",
                                   "-1",
                                   "1",
                                   "5.0",
                                   "0.5",
                                   "1e300",
                                   "-1e300",
                                   "18446744073709551615",
                                   "-9223372036854775808",
                                   "2147483648",
                                   "[]",
                                   "{}",
                                   "\"\"",
                                   "\"x\"",
                                   "\"user\"",
                                   "\"tool\"",
                                   "\"none\"",
                                   "\"required\"",
                                   "\"\\u0000\\uffff\"",
                                   "[[]]",
                                   "[null]",
                                   "[\"x\"]",
                                   "[1,2]",
                                   "[1000000]",
                                   "{\"type\":7}",
                                   "{\"type\":\"image_url\"}",
                                   "{\"type\":\"object\"}",
                                   "{\"type\":\"json_schema\"}",
                                   "\"1h\"",
                                   "\"max\"",
                                   "[{\"type\":\"text\",\"text\":\"long long long long long long "
                                   "long long long long long long long long long\"}]"};

/// All places of a document that hold a value.
void places(Json& value, std::vector<Json*>& out) {
  out.push_back(&value);
  if (value.is_structured()) {
    for (Json& inner : value) {
      places(inner, out);
    }
  }
}

/// A good body with a change for each three bytes.
std::string changed_body(std::size_t endpoint, const std::uint8_t* data, std::size_t size) {
  Json body = Json::parse(kBodies[endpoint]);
  for (std::size_t i = 0; i + 2 < size && i < 24; i += 3) {
    std::vector<Json*> all;
    places(body, all);
    Json& place = *all[(data[i] | data[i + 1] << 8) % all.size()];
    const unsigned choice = data[i + 2];
    if (choice >= 240 && place.is_array() && place.size() < 64) {
      const Json copy = place;
      place.insert(place.end(), copy.begin(), copy.end());
    } else if (choice >= 200 && place.is_structured() && !place.empty()) {
      place.erase(std::next(place.begin(), static_cast<int>((choice - 200) % place.size())));
    } else if (choice >= 160) {
      place = Json(*all[choice % all.size()]);
    } else {
      place = Json::parse(kValues[choice % std::size(kValues)]);
    }
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

int lm_fuzz_api(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const unsigned number = (data[0] & 0x7Fu) % static_cast<unsigned>(std::size(kBodies));
  const auto endpoint = static_cast<api::Endpoint>(number);
  const std::string body = (data[0] & 0x80u) != 0
                               ? changed_body(number, data + 1, size - 1)
                               : std::string(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto asked = api::read(endpoint, body);
  if (!asked) {
    require(asked.error().status == 400 && !asked.error().message.empty(), "bad input is a 400");
    require(nlohmann::json::accept(api::error_body(api::dress_of(endpoint), asked.error())),
            "an error is JSON");
    return 0;
  }
  require(!asked->model.empty(), "a model is named");
  for (const bool embeds : {false, true}) {
    auto work = api::plan(*asked, model(embeds), {});
    if (!work) {
      require(work.error().status == 400, "a good model refuses with 400");
      continue;
    }
    require(work->commands.size() <= 4096 || embeds, "work is bounded");
    answer(*work);
  }
  return 0;
}
