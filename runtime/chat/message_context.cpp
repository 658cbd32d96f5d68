#include "runtime/chat/message_context.h"

#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

namespace {

Eval<void> put(MapObject& map, std::string_view key, Value value) {
  LM_TRY(const Value name, make_text(map.budget(), key, Origin::data));
  return map.set(name, std::move(value));
}

Eval<void> put_text(MapObject& map, std::string_view key, std::string_view text) {
  LM_TRY(Value value, make_text(map.budget(), text, Origin::data));
  return put(map, key, std::move(value));
}

Eval<void> put_text_if_any(MapObject& map, std::string_view key, std::string_view text) {
  return text.empty() ? Eval<void>() : put_text(map, key, text);
}

/// Objects keep their shape; what is no JSON goes through as the text it is, for the template to
/// judge.
Eval<Value> arguments_value(Budget& budget, const std::string& json) {
  if (json.empty()) {
    LM_TRY(const Ref<MapObject> none, make_map(budget));
    return to_value(none);
  }
  auto parsed = read_json(budget, json, Origin::data);
  return parsed && parsed->is(Kind::map) ? std::move(parsed)
                                         : make_text(budget, json, Origin::data);
}

Eval<Value> tool_call_value(Budget& budget, const ToolCall& tool_call) {
  LM_TRY(const Ref<MapObject> function, make_map(budget));
  LM_CHECK(put_text(*function, "name", tool_call.name));
  LM_TRY(Value arguments, arguments_value(budget, tool_call.arguments_json));
  LM_CHECK(put(*function, "arguments", std::move(arguments)));
  LM_TRY(const Ref<MapObject> map, make_map(budget));
  LM_CHECK(put_text_if_any(*map, "id", tool_call.id));
  LM_CHECK(put_text(*map, "type", "function"));
  LM_CHECK(put(*map, "function", to_value(function)));
  return to_value(map);
}

Eval<Value> message_value(Budget& budget, const Message& message) {
  LM_TRY(const Ref<MapObject> map, make_map(budget));
  LM_CHECK(put_text(*map, "role", message.role));
  LM_CHECK(put_text(*map, "content", message.content));
  LM_CHECK(put_text_if_any(*map, "reasoning_content", message.thinking));
  LM_CHECK(put_text_if_any(*map, "thinking", message.thinking));
  LM_CHECK(put_text_if_any(*map, "name", message.tool_name));
  LM_CHECK(put_text_if_any(*map, "tool_call_id", message.tool_call_id));
  if (!message.tool_calls.empty()) {
    LM_TRY(const Ref<ListObject> calls, make_list(budget));
    for (const ToolCall& tool_call : message.tool_calls) {
      LM_TRY(Value value, tool_call_value(budget, tool_call));
      LM_CHECK(calls->push(std::move(value)));
    }
    LM_CHECK(put(*map, "tool_calls", to_value(calls)));
  }
  return to_value(map);
}

}  // namespace

Eval<Value> messages_value(Budget& budget, const std::vector<Message>& messages) {
  LM_TRY(const Ref<ListObject> list, make_list(budget));
  for (const Message& message : messages) {
    LM_CHECK(budget.step());
    LM_TRY(Value value, message_value(budget, message));
    LM_CHECK(list->push(std::move(value)));
  }
  return to_value(list);
}

}  // namespace lm::jinja
