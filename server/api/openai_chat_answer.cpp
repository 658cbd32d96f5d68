// Answers of /v1/chat/completions: chunks, or one object.
#include <utility>

#include "server/api/openai_frames.h"
#include "server/api/text_answer.h"

namespace lm::api {
namespace {

Json call_json(const ToolCall& call, std::size_t index) {
  return {{"index", index},
          {"id", call.id},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments_json}}}};
}

std::string_view finish_reason(const Choice& choice) {
  if (choice.finish == Finish::length) {
    return "length";
  }
  return choice.calls.empty() ? "stop" : "tool_calls";
}

class OpenAiChatAnswer final : public TextAnswer {
 public:
  OpenAiChatAnswer(AnswerBasis given, std::uint32_t n)
      : TextAnswer(std::move(given), n, Framing::sse), id_(ids().next("chatcmpl-")) {}

 protected:
  std::string opening(Moment /*now*/) override {
    std::string frames;
    for (Choice& choice : choices()) {
      frames += chunk(choice, {{"role", "assistant"}, {"content", ""}});
    }
    return frames;
  }
  std::string piece(Choice& choice, const Event& event, Moment /*now*/) override {
    Json delta = Json::object();
    if (event.kind == Event::Kind::content) {
      delta["content"] = event.text;
    } else {
      // One half of the clients reads the one, one half the other.
      delta["reasoning"] = event.text;
      delta["reasoning_content"] = event.text;
    }
    return chunk(choice, std::move(delta), nullptr, event.logprobs);
  }
  std::string call(Choice& choice, const ToolCall& call, Moment /*now*/) override {
    return chunk(choice, {{"tool_calls", Json::array({call_json(call, choice.calls.size())})}});
  }
  std::string ending(Choice& choice, Moment /*now*/) override {
    return chunk(choice, Json::object(), finish_reason(choice));
  }
  std::string closing(Moment /*now*/) override {
    std::string frames;
    if (basis().include_usage) {
      Json last = head("chat.completion.chunk");
      last["choices"] = Json::array();
      last["usage"] = usage_of();
      frames = sse_frame({}, last);
    }
    return frames + "data: [DONE]\n\n";
  }
  std::string error_frame(const ApiError& error) override {
    return "data: " + error_body(Dress::openai, error) + "\n\n";
  }
  Json whole(Moment /*now*/) override {
    Json body = head("chat.completion");
    body["choices"] = Json::array();
    for (const Choice& choice : choices()) {
      Json message{{"role", "assistant"}, {"content", choice.content}};
      if (!choice.thinking.empty()) {
        message["reasoning"] = choice.thinking;
        message["reasoning_content"] = choice.thinking;
      }
      for (std::size_t i = 0; i < choice.calls.size(); ++i) {
        message["tool_calls"].push_back(call_json(choice.calls[i], i));
      }
      Json entry{{"index", choice.index},
                 {"message", std::move(message)},
                 {"finish_reason", finish_reason(choice)},
                 {"logprobs", nullptr}};
      if (!choice.logprobs.empty()) {
        entry["logprobs"] = {{"content", logprobs_json(choice.logprobs)}};
      }
      body["choices"].push_back(std::move(entry));
    }
    body["usage"] = usage_of();
    add_remarks(body);
    return body;
  }

 private:
  Json head(std::string_view object) const {
    return {{"id", id_},
            {"object", object},
            {"created", unix_seconds(basis().here.arrived)},
            {"model", basis().model},
            {"system_fingerprint", kFingerprint}};
  }
  std::string chunk(Choice& choice, Json delta, const Json& finish = nullptr,
                    const std::vector<TokenLogprobs>& logprobs = {}) {
    Json frame = head("chat.completion.chunk");
    Json entry{{"index", choice.index}, {"delta", std::move(delta)}, {"finish_reason", finish}};
    if (!logprobs.empty()) {
      entry["logprobs"] = {{"content", logprobs_json(logprobs)}};
    }
    frame["choices"] = Json::array({std::move(entry)});
    if (!finish.is_null()) {
      add_remarks(frame);
    }
    return sse_frame({}, frame);
  }
  Json usage_of() const {
    return openai_usage(prompt_tokens(), generated_tokens(), cached_tokens());
  }
  /// What was dropped or ignored.
  void add_remarks(Json& frame) const {
    if (dropped_tokens() > 0) {
      frame["truncated"] = dropped_tokens();
    }
    if (!warnings().empty()) {
      frame["warnings"] = warnings();
    }
  }

  std::string id_;
};

}  // namespace

std::unique_ptr<Answer> make_openai_chat_answer(AnswerBasis basis, std::uint32_t n) {
  return std::make_unique<OpenAiChatAnswer>(std::move(basis), n);
}

}  // namespace lm::api
