/// Messages and tools as template values: what transformers' chat templates expect to find.
#pragma once

#include <vector>

#include "runtime/chat/jinja_value.h"
#include "runtime/chat/message.h"

namespace lm::jinja {

/// The variable `messages`: maps with role and content, and, where there is any, reasoning_content
/// and thinking (the same text), tool_calls ({id, type, function: {name, arguments}}; arguments as
/// a map, or as text when they are no JSON), name, tool_call_id. Everything is data.
Eval<Value> messages_value(Budget& budget, const std::vector<Message>& messages);

}  // namespace lm::jinja
