// Bodies of the HTTP APIs, as strangers send them: read, planned for a tiny model, answered by
// events of a script. The first byte chooses the endpoint.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "server/api/api.h"
#include "tests/fuzz/require.h"

namespace {

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

}  // namespace

int lm_fuzz_api(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const auto endpoint =
      static_cast<api::Endpoint>(data[0] % (static_cast<unsigned>(api::Endpoint::last) + 1));
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
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
