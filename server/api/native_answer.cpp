// Answers of /api/generate and /api/chat: lines of JSON, or one object.
#include <utility>

#include "server/api/text_answer.h"

namespace lm::api {
namespace {

Json frame_of(const AnswerBasis& basis, Moment now) {
  return {{"model", basis.model}, {"created_at", time_text(now)}};
}

/// A call as this API writes it, `index` counting up.
Json call_json(const ToolCall& call, std::size_t index) {
  return {
      {"id", call.id},
      {"function", {{"index", index}, {"name", call.name}, {"arguments", arguments_json(call)}}}};
}

class NativeAnswer final : public TextAnswer {
 public:
  NativeAnswer(AnswerBasis given, NativeExtras extras)
      : TextAnswer(std::move(given), 1, Framing::ndjson), extras_(std::move(extras)) {}

 protected:
  std::string piece(Choice& /*choice*/, const Event& event, Moment now) override {
    Json frame = frame_of(basis(), now);
    const bool thinks = event.kind == Event::Kind::thinking;
    put_text(frame, thinks ? std::string() : event.text, thinks ? event.text : std::string());
    if (!event.logprobs.empty()) {
      frame["logprobs"] = logprobs_json(event.logprobs);
    }
    return line(std::move(frame));
  }
  std::string call(Choice& choice, const ToolCall& call, Moment now) override {
    Json frame = frame_of(basis(), now);
    put_text(frame, {}, {});
    Json list = Json::array({call_json(call, choice.calls.size())});
    (is_chat() ? frame["message"] : frame)["tool_calls"] = std::move(list);
    return line(std::move(frame));
  }
  std::string ending(Choice& choice, Moment now) override {
    Json frame = frame_of(basis(), now);
    put_text(frame, {}, {});
    put_end(frame, choice, now);
    return dump(frame) + "\n";
  }
  std::string closing(Moment /*now*/) override { return {}; }
  std::string error_frame(const ApiError& error) override {
    return error_body(Dress::native, error) + "\n";
  }
  Json whole(Moment now) override {
    Choice& choice = choices().front();
    Json frame = frame_of(basis(), now);
    put_text(frame, choice.content, choice.thinking);
    for (std::size_t i = 0; i < choice.calls.size(); ++i) {
      (is_chat() ? frame["message"] : frame)["tool_calls"].push_back(call_json(choice.calls[i], i));
    }
    if (!choice.logprobs.empty()) {
      frame["logprobs"] = logprobs_json(choice.logprobs);
    }
    put_end(frame, choice, now);
    return frame;
  }

 private:
  bool is_chat() const { return basis().endpoint == Endpoint::chat; }

  /// A line that is not the last one.
  std::string line(Json frame) const {
    frame["done"] = false;
    if (!is_chat()) {
      // A provider of the AI SDK drops the text of frames without it.
      frame["context"] = Json::array();
    }
    return dump(frame) + "\n";
  }
  void put_text(Json& frame, const std::string& content, const std::string& thinking) const {
    if (is_chat()) {
      Json message{{"role", "assistant"}, {"content", content}};
      if (!thinking.empty()) {
        message["thinking"] = thinking;
      }
      frame["message"] = std::move(message);
      return;
    }
    frame["response"] = content;
    if (!thinking.empty()) {
      frame["thinking"] = thinking;
    }
  }
  void put_end(Json& frame, const Choice& choice, Moment now) const {
    frame["done"] = true;
    frame["done_reason"] = choice.finish == Finish::length ? "length" : "stop";
    if (!extras_.context.empty()) {
      std::vector<Token> context = extras_.context;
      extras_.tokenizer->encode(choice.content, SpecialTokens::as_text, false, context);
      frame["context"] = std::move(context);
    } else if (!is_chat()) {
      frame["context"] = Json::array();
    }
    frame["total_duration"] = now.steady_ns - basis().here.arrived.steady_ns;
    frame["load_duration"] = basis().load_ns;
    frame["prompt_eval_count"] = prompt_tokens();
    frame["prompt_eval_duration"] = choice.stats.prompt_ns;
    frame["eval_count"] = choice.stats.generated_tokens;
    frame["eval_duration"] = choice.stats.generation_ns;
    if (choice.stats.cached_tokens > 0) {
      frame["prompt_cached_count"] = choice.stats.cached_tokens;
    }
    if (dropped_tokens() > 0) {
      frame["truncated"] = dropped_tokens();
    }
    if (!warnings().empty()) {
      frame["warnings"] = warnings();
    }
  }

  NativeExtras extras_;
};

/// An answer whose body is known before any work.
class ReadyAnswer final : public Answer {
 public:
  ReadyAnswer(AnswerBasis basis, std::function<Json(const AnswerBasis&, Moment)> body)
      : basis_(std::move(basis)), body_(std::move(body)) {}

  Output begin(Moment now) override {
    return {.head = Head{200, Framing::whole, "application/json", warnings_header(basis_.warnings)},
            .bytes = dump(body_(basis_, now)),
            .last = true};
  }
  Output take(std::size_t /*job*/, Event /*event*/, Moment /*now*/) override { return {}; }
  Output fail(const ApiError& error, Moment /*now*/) override {
    return {.head = Head{error.status, Framing::whole, "application/json", retry_headers(error)},
            .bytes = error_body(dress_of(basis_.endpoint), error),
            .last = true};
  }
  Output ping(Moment /*now*/) override { return {}; }

 private:
  AnswerBasis basis_;
  std::function<Json(const AnswerBasis&, Moment)> body_;
};

}  // namespace

std::unique_ptr<Answer> make_native_answer(AnswerBasis basis, NativeExtras extras) {
  return std::make_unique<NativeAnswer>(std::move(basis), std::move(extras));
}

std::unique_ptr<Answer> make_ready_answer(AnswerBasis basis,
                                          std::function<Json(const AnswerBasis&, Moment)> body) {
  return std::make_unique<ReadyAnswer>(std::move(basis), std::move(body));
}

Json native_load_body(const AnswerBasis& basis, bool unload, Moment now) {
  const std::int64_t total = now.steady_ns - basis.here.arrived.steady_ns;
  if (basis.endpoint == Endpoint::embeddings) {
    return {{"embedding", Json::array()}};
  }
  if (basis.endpoint == Endpoint::embed) {
    return {{"model", basis.model},
            {"embeddings", Json::array()},
            {"total_duration", total},
            {"load_duration", basis.load_ns},
            {"prompt_eval_count", 0}};
  }
  Json frame = frame_of(basis, now);
  if (basis.endpoint == Endpoint::chat) {
    frame["message"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    frame["response"] = "";
  }
  frame["done"] = true;
  frame["done_reason"] = unload ? "unload" : "load";
  if (basis.endpoint == Endpoint::generate) {
    frame["context"] = Json::array();
  }
  frame["total_duration"] = total;
  frame["load_duration"] = basis.load_ns;
  for (const char* key :
       {"prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"}) {
    frame[key] = 0;
  }
  if (!basis.warnings.empty()) {
    frame["warnings"] = basis.warnings;
  }
  return frame;
}

}  // namespace lm::api
