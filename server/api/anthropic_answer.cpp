// Answers of /v1/messages: a stream of blocks, or one message.
#include <algorithm>
#include <utility>

#include "server/api/text_answer.h"

namespace lm::api {
namespace {

class AnthropicAnswer final : public TextAnswer {
 public:
  AnthropicAnswer(AnswerBasis given, std::vector<std::string> stops)
      : TextAnswer(std::move(given), 1, Framing::sse),
        stops_(std::move(stops)),
        id_(ids().next("msg_")) {}

 protected:
  std::string opening(Moment /*now*/) override {
    Json message = head();
    message["content"] = Json::array();
    message["stop_reason"] = nullptr;
    message["stop_sequence"] = nullptr;
    message["usage"] = {{"input_tokens", prompt_tokens()}, {"output_tokens", 0}};
    return frame({{"type", "message_start"}, {"message", std::move(message)}});
  }
  std::string piece(Choice& /*choice*/, const Event& event, Moment /*now*/) override {
    const bool thinks = event.kind == Event::Kind::thinking;
    std::string frames;
    if (block_ != (thinks ? Block::thinking : Block::text)) {
      frames = close_block();
      frames += thinks ? open_block(Block::thinking,
                                    {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}})
                       : open_block(Block::text, {{"type", "text"}, {"text", ""}});
    }
    return frames + delta(thinks ? Json{{"type", "thinking_delta"}, {"thinking", event.text}}
                                 : Json{{"type", "text_delta"}, {"text", event.text}});
  }
  std::string call(Choice& /*choice*/, const ToolCall& call, Moment /*now*/) override {
    std::string frames = close_block();
    frames += open_block(
        Block::tool,
        {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", Json::object()}});
    frames += delta({{"type", "input_json_delta"}, {"partial_json", call.arguments_json}});
    return frames + close_block();
  }
  std::string ending(Choice& choice, Moment /*now*/) override {
    std::string frames = close_block();
    Json end{{"type", "message_delta"}};
    end["delta"] = {{"stop_reason", stop_reason(choice)}, {"stop_sequence", stop_sequence(choice)}};
    end["usage"] = usage_of(choice);
    add_remarks(end);
    return frames + frame(end);
  }
  std::string closing(Moment /*now*/) override { return frame({{"type", "message_stop"}}); }
  std::string error_frame(const ApiError& error) override {
    return "event: error\ndata: " + error_body(Dress::anthropic, error, request_id()) + "\n\n";
  }
  std::string ping_frame() override { return frame({{"type", "ping"}}); }
  Json whole(Moment /*now*/) override {
    const Choice& choice = choices().front();
    Json message = head();
    Json content = Json::array();
    if (!choice.thinking.empty()) {
      content.push_back({{"type", "thinking"}, {"thinking", choice.thinking}, {"signature", ""}});
    }
    if (!choice.content.empty()) {
      content.push_back({{"type", "text"}, {"text", choice.content}});
    }
    for (const ToolCall& call : choice.calls) {
      content.push_back({{"type", "tool_use"},
                         {"id", call.id},
                         {"name", call.name},
                         {"input", arguments_json(call)}});
    }
    message["content"] = std::move(content);
    message["stop_reason"] = stop_reason(choice);
    message["stop_sequence"] = stop_sequence(choice);
    message["usage"] = usage_of(choice);
    add_remarks(message);
    return message;
  }

 private:
  enum class Block : std::uint8_t { none, text, thinking, tool };

  Json head() const {
    return {{"id", id_}, {"type", "message"}, {"role", "assistant"}, {"model", basis().model}};
  }
  static std::string frame(const Json& data) {
    return sse_frame(data["type"].get_ref<const std::string&>(), data);
  }
  std::string open_block(Block block, Json content) {
    block_ = block;
    return frame({{"type", "content_block_start"},
                  {"index", index_},
                  {"content_block", std::move(content)}});
  }
  std::string close_block() {
    if (block_ == Block::none) {
      return {};
    }
    block_ = Block::none;
    return frame({{"type", "content_block_stop"}, {"index", index_++}});
  }
  std::string delta(Json data) const {
    return frame({{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(data)}});
  }
  bool by_sequence(const Choice& choice) const {
    return std::ranges::find(stops_, choice.stop_string) != stops_.end();
  }
  Json stop_reason(const Choice& choice) const {
    return choice.finish == Finish::length ? "max_tokens"
           : !choice.calls.empty()         ? "tool_use"
           : by_sequence(choice)           ? "stop_sequence"
                                           : "end_turn";
  }
  Json stop_sequence(const Choice& choice) const {
    return by_sequence(choice) ? Json(choice.stop_string) : Json(nullptr);
  }
  Json usage_of(const Choice& choice) const {
    return {{"input_tokens", prompt_tokens()}, {"output_tokens", choice.stats.generated_tokens}};
  }
  void add_remarks(Json& object) const {
    if (dropped_tokens() > 0) {
      object["truncated"] = dropped_tokens();
    }
    if (!warnings().empty()) {
      object["warnings"] = warnings();
    }
  }

  std::vector<std::string> stops_;  ///< of the request; those of the model end a turn
  std::string id_;
  Block block_ = Block::none;
  std::size_t index_ = 0;
};

}  // namespace

std::unique_ptr<Answer> make_anthropic_answer(AnswerBasis basis, std::vector<std::string> stops) {
  return std::make_unique<AnthropicAnswer>(std::move(basis), std::move(stops));
}

}  // namespace lm::api
