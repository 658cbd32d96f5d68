// Answers of /v1/responses: events about items that are added and filled, or one object.
#include <utility>

#include "server/api/text_answer.h"

namespace lm::api {
namespace {

class ResponsesAnswer final : public TextAnswer {
 public:
  ResponsesAnswer(AnswerBasis given, const std::string& echo_json,
                  std::shared_ptr<const Tokenizer> tokenizer)
      : TextAnswer(std::move(given), 1, Framing::sse),
        tokenizer_(std::move(tokenizer)),
        echo_(Json::parse(echo_json, nullptr, false)),
        id_(ids().next("resp_")) {}

 protected:
  std::string opening(Moment now) override {
    const Json response = response_json("in_progress", nullptr, now);
    std::string frames = frame("response.created", {{"response", response}});
    frames += frame("response.in_progress", {{"response", response}});
    return frames;
  }
  std::string piece(Choice& /*choice*/, const Event& event, Moment /*now*/) override {
    const bool thinks = event.kind == Event::Kind::thinking;
    std::string frames;
    if (open_ != (thinks ? Item::reasoning : Item::message)) {
      frames = close_item("completed");
      frames += open_item(thinks ? Item::reasoning : Item::message);
    }
    text_ += event.text;
    if (thinks) {
      return frames + frame("response.reasoning_summary_text.delta", {{"item_id", item_id_},
                                                                      {"output_index", index()},
                                                                      {"summary_index", 0},
                                                                      {"delta", event.text}});
    }
    return frames + frame("response.output_text.delta", {{"item_id", item_id_},
                                                         {"output_index", index()},
                                                         {"content_index", 0},
                                                         {"delta", event.text},
                                                         {"logprobs", Json::array()}});
  }
  std::string call(Choice& /*choice*/, const ToolCall& call, Moment /*now*/) override {
    std::string frames = close_item("completed");
    Json item = call_item(call, "in_progress");
    item_id_ = item["id"];
    Json begun = item;
    begun["arguments"] = "";
    frames += frame("response.output_item.added",
                    {{"output_index", index()}, {"item", std::move(begun)}});
    frames +=
        frame("response.function_call_arguments.delta",
              {{"item_id", item_id_}, {"output_index", index()}, {"delta", call.arguments_json}});
    frames += frame("response.function_call_arguments.done", {{"item_id", item_id_},
                                                              {"output_index", index()},
                                                              {"name", call.name},
                                                              {"arguments", call.arguments_json}});
    item["status"] = "completed";
    return frames + finish_item(std::move(item));
  }
  std::string ending(Choice& choice, Moment now) override {
    const bool cut = choice.finish == Finish::length;
    std::string frames = close_item(cut ? "incomplete" : "completed");
    return frames +
           frame(cut ? "response.incomplete" : "response.completed",
                 {{"response", response_json(cut ? "incomplete" : "completed", &choice, now)}});
  }
  std::string closing(Moment /*now*/) override { return {}; }
  std::string error_frame(const ApiError& error) override {
    Json data{{"code", error.code.empty() ? Json(nullptr) : Json(error.code)},
              {"message", error.message},
              {"param", error.param.empty() ? Json(nullptr) : Json(error.param)}};
    // Clients of streams look for this member.
    data["error"] = Json::parse(error_body(Dress::openai, error))["error"];
    return frame("error", std::move(data));
  }
  Json whole(Moment now) override {
    const Choice& choice = choices().front();
    const bool cut = choice.finish == Finish::length;
    const char* status = cut ? "incomplete" : "completed";
    if (!choice.thinking.empty()) {
      item_id_ = ids().next("rs_");
      output_.push_back(reasoning_item(choice.thinking));
    }
    if (!choice.content.empty() || choice.calls.empty()) {
      item_id_ = ids().next("msg_");
      output_.push_back(message_item(choice.content, status));
    }
    for (const ToolCall& call : choice.calls) {
      output_.push_back(call_item(call, "completed"));
    }
    return response_json(status, &choice, now);
  }

 private:
  enum class Item : std::uint8_t { none, reasoning, message };

  std::size_t index() const { return output_.size(); }

  std::string frame(std::string_view type, Json data) {
    Json whole{{"type", type}};
    whole.update(data);
    whole["sequence_number"] = sequence_++;
    return sse_frame(type, whole);
  }
  Json reasoning_item(const std::string& text) const {
    Json summary = Json::array();
    if (!text.empty()) {
      summary.push_back({{"type", "summary_text"}, {"text", text}});
    }
    return {{"id", item_id_}, {"type", "reasoning"}, {"summary", std::move(summary)}};
  }
  static Json text_part(const std::string& text) {
    return {{"type", "output_text"},
            {"text", text},
            {"annotations", Json::array()},
            {"logprobs", Json::array()}};
  }
  Json message_item(const std::string& text, std::string_view status, bool with_part = true) const {
    Json content = Json::array();
    if (with_part) {
      content.push_back(text_part(text));
    }
    return {{"id", item_id_},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  }
  Json call_item(const ToolCall& call, std::string_view status) {
    return {{"id", ids().next("fc_")}, {"type", "function_call"},
            {"status", status},        {"call_id", call.id},
            {"name", call.name},       {"arguments", call.arguments_json}};
  }
  std::string open_item(Item item) {
    open_ = item;
    text_.clear();
    if (item == Item::reasoning) {
      item_id_ = ids().next("rs_");
      std::string frames = frame("response.output_item.added",
                                 {{"output_index", index()}, {"item", reasoning_item({})}});
      frames += frame("response.reasoning_summary_part.added",
                      {{"item_id", item_id_},
                       {"output_index", index()},
                       {"summary_index", 0},
                       {"part", {{"type", "summary_text"}, {"text", ""}}}});
      return frames;
    }
    item_id_ = ids().next("msg_");
    std::string frames =
        frame("response.output_item.added",
              {{"output_index", index()}, {"item", message_item({}, "in_progress", false)}});
    frames += frame("response.content_part.added", {{"item_id", item_id_},
                                                    {"output_index", index()},
                                                    {"content_index", 0},
                                                    {"part", text_part({})}});
    return frames;
  }
  std::string close_item(std::string_view status) {
    const Item item = std::exchange(open_, Item::none);
    if (item == Item::none) {
      return {};
    }
    if (item == Item::reasoning) {
      const Json part{{"type", "summary_text"}, {"text", text_}};
      std::string frames = frame("response.reasoning_summary_text.done", {{"item_id", item_id_},
                                                                          {"output_index", index()},
                                                                          {"summary_index", 0},
                                                                          {"text", text_}});
      frames += frame(
          "response.reasoning_summary_part.done",
          {{"item_id", item_id_}, {"output_index", index()}, {"summary_index", 0}, {"part", part}});
      return frames + finish_item(reasoning_item(text_));
    }
    std::string frames = frame("response.output_text.done", {{"item_id", item_id_},
                                                             {"output_index", index()},
                                                             {"content_index", 0},
                                                             {"text", text_},
                                                             {"logprobs", Json::array()}});
    frames += frame("response.content_part.done", {{"item_id", item_id_},
                                                   {"output_index", index()},
                                                   {"content_index", 0},
                                                   {"part", text_part(text_)}});
    return frames + finish_item(message_item(text_, status));
  }
  std::string finish_item(Json item) {
    std::string done =
        frame("response.output_item.done", {{"output_index", index()}, {"item", item}});
    output_.push_back(std::move(item));
    return done;
  }
  Json usage_of(const Choice& choice) const {
    const std::uint32_t out = choice.stats.generated_tokens;
    std::vector<Token> thinking;
    tokenizer_->encode(choice.thinking, SpecialTokens::as_text, false, thinking);
    return {{"input_tokens", prompt_tokens()},
            {"input_tokens_details", {{"cached_tokens", cached_tokens()}}},
            {"output_tokens", out},
            {"output_tokens_details", {{"reasoning_tokens", thinking.size()}}},
            {"total_tokens", prompt_tokens() + out}};
  }
  Json response_json(std::string_view status, const Choice* choice, Moment now) const {
    const bool cut = status == "incomplete";
    Json body{{"id", id_},
              {"object", "response"},
              {"created_at", unix_seconds(basis().here.arrived)},
              {"completed_at", status == "completed" ? Json(unix_seconds(now)) : Json(nullptr)},
              {"status", status},
              {"incomplete_details", nullptr},
              {"model", basis().model},
              {"previous_response_id", nullptr},
              {"output", output_},
              {"error", nullptr},
              {"usage", choice == nullptr ? Json(nullptr) : usage_of(*choice)},
              {"store", false},
              {"background", false},
              {"service_tier", "default"}};
    if (cut) {
      body["incomplete_details"] = {{"reason", "max_output_tokens"}};
    }
    if (echo_.is_object()) {
      body.update(echo_);
    }
    if (choice != nullptr) {
      if (dropped_tokens() > 0) {
        body["truncated"] = dropped_tokens();
      }
      if (!warnings().empty()) {
        body["warnings"] = warnings();
      }
    }
    return body;
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Json echo_;  ///< members of the request that stand in the answer again
  std::string id_;
  Item open_ = Item::none;
  std::string item_id_;  ///< of the item that is being written
  std::string text_;     ///< of it, so far
  Json output_ = Json::array();
  std::uint64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<Answer> make_responses_answer(AnswerBasis basis, const std::string& echo_json,
                                              std::shared_ptr<const Tokenizer> tokenizer) {
  return std::make_unique<ResponsesAnswer>(std::move(basis), echo_json, std::move(tokenizer));
}

}  // namespace lm::api
