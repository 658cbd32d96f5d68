/// The text of tool calls, once it is complete, becomes calls.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/chat/dialect.h"
#include "runtime/chat/message.h"
#include "runtime/chat/offered_tools.h"

namespace lm {

/// Calls, with the text behind them that belongs to none. Ids are empty where the model wrote none.
struct ReadCalls {
  std::vector<ToolCall> calls;
  std::string_view rest;
};

/// Reads `body`, the text inside a CallRegion; nothing when it is no call. Untrusted: any text ends
/// well, nesting is bounded.
std::optional<ReadCalls> read_calls(CallSyntax syntax, std::string_view body,
                                    const OfferedTools& tools);

/// The forms, each as `read_calls`. JSON: {"name", "arguments"} objects under any of the names in
/// use, lists of them, several one after the other.
std::optional<ReadCalls> read_json_calls(std::string_view body);
/// `name>{…}`, `name>` or `name">` with parameters as tags: <parameter=key>value</parameter>,
/// <parameter name="key">value</parameter>.
std::optional<ReadCalls> read_named_call(std::string_view body, const OfferedTools& tools);
/// MiniMax M3: `name">`, then elements named for the arguments, whose own elements are members and
/// <item>s; the namespace mark stands in front of every tag.
std::optional<ReadCalls> read_element_call(std::string_view body, const OfferedTools& tools);
/// `name`, then <arg_key>key</arg_key><arg_value>value</arg_value> pairs.
std::optional<ReadCalls> read_arg_pairs(std::string_view body, const OfferedTools& tools);
/// Python: `[f(x=1), g()]` or `f(x=1)`, arguments by keyword.
std::optional<ReadCalls> read_python_calls(std::string_view body);
/// Gemma 4: `call:name{key:value}`, strings between <|"|>.
std::optional<ReadCalls> read_gemma4_call(std::string_view body);

/// A call whose arguments are the JSON object that `json` begins with.
std::optional<ReadCalls> call_with_json(std::string_view name, std::string_view json);

/// `text` without blanks at its ends.
std::string_view trimmed(std::string_view text);

}  // namespace lm
