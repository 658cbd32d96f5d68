/// How a model writes its thinking and its tool calls. Read off its template.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/chat/prompt.h"

namespace lm {

/// Ways of writing tool calls; each is named for a model or a mark that is known for it.
enum class OutputFamily : std::uint8_t {
  none,            ///< text as it is: no calls, no thinking
  generic,         ///< a call is a JSON object or list instead of an answer
  tool_call_tags,  ///< <tool_call>…</tool_call>: Hermes, Qwen, Qwen3-Coder, GLM, Granite 4
  llama3,          ///< bare JSON, or behind <|python_tag|>
  mistral,         ///< [TOOL_CALLS]
  deepseek,        ///< <｜tool▁call▁begin｜>
  dsml,            ///< <｜DSML｜invoke name=…>, DeepSeek V3.2 and V4
  harmony,         ///< gpt-oss: messages on channels
  gemma4,          ///< <|tool_call>call:name{…}<tool_call|>
  tool_call_list,  ///< <|tool_call|>[…]: Granite 3, Phi 4
  cohere,          ///< <|START_ACTION|>[…]<|END_ACTION|>
  command_r,       ///< Action: ```json […] ```
  kimi,            ///< <|tool_call_begin|>functions.name:0
  invoke,          ///< <invoke name=…>: MiniMax
  nemotron,        ///< <TOOLCALL>[…]</TOOLCALL>
  apriel,          ///< <tool_calls>[…]</tool_calls>
  function_tags,   ///< <function=name>…</function>: Functionary, MiniCPM
  function_call,   ///< <|function_call|>{…}: GigaChat
  lfm2,            ///< <|tool_call_start|>[f(x=1)]<|tool_call_end|>
  minimax_m3,      ///< ]<]minimax[>[<invoke name=…>, arguments as elements of their own names
  gigachat3,       ///< a message of the role "function call"
  last = gigachat3
};

/// How a family that knows several ways writes the arguments of a call. Only needed to write one;
/// all are read.
enum class CallStyle : std::uint8_t {
  json,        ///< JSON with name and arguments; the only way of most families
  named_json,  ///< the name, then JSON: DeepSeek V3.1, Mistral from 2025 on
  fenced,      ///< the name, then JSON in a fence: DeepSeek R1 and V3
  parameters,  ///< <function=name> and <parameter=key>, <function name="…"> and <param name="…">
  arg_pairs,   ///< <arg_key> and <arg_value>: GLM
  last = arg_pairs
};

/// How the thinking of a model is switched, as its template says.
struct ThinkSwitch {
  bool thinks = false;      ///< answers may begin with thinking
  bool can_stop = false;    ///< ... and need not: a variable of the template says so
  bool has_levels = false;  ///< how much: "low", "medium", "high"
};

/// What an OutputParser needs to know. A value: it goes with a request.
struct Dialect {
  OutputFamily family = OutputFamily::none;
  CallStyle style = CallStyle::json;
  std::string think_open;   ///< tag before thinking; may be empty when answers begin with it
  std::string think_close;  ///< empty: no thinking is looked for
  bool starts_in_thinking = false;  ///< the prompt ended with the opening tag
  std::string tools_json;  ///< tools offered, an array as text; empty: calls are not looked for,
                           ///< "[]": calls of any name are
};

/// The dialect of a template's model. `tools_json` stays empty.
Dialect detect_dialect(std::string_view template_source);

/// What the template of a model says about thinking.
ThinkSwitch think_switch(std::string_view template_source);

/// Variables that ask this template for thinking, or for none, with their values as JSON. `choice`
/// is "true", "false" or a level. Those it does not know change nothing.
std::vector<std::pair<std::string, std::string>> think_variables(std::string_view template_source,
                                                                 std::string_view choice);

/// True when the prompt's last text is the opening tag, so that the answer begins with thinking.
bool ends_in_thinking(const Prompt& prompt, const Dialect& dialect);

/// How the text of one call is written.
enum class CallSyntax : std::uint8_t {
  json,    ///< objects or lists of objects with name and arguments
  tagged,  ///< JSON, <function=name>…, or name<arg_key>…
  python_tag,
  mistral,
  deepseek,
  kimi,
  named,   ///< name, a quote or '>', then parameters as tags
  python,  ///< [f(x=1)]
  gemma4,
  elements  ///< MiniMax M3
};

/// Text between two marks that holds calls. Without `close` it ends with the answer or at the next
/// `open`.
struct CallRegion {
  std::string_view open;
  std::string_view close;
  CallSyntax syntax;
};

/// The marks of a family.
struct FamilyMarks {
  std::span<const CallRegion> regions;
  std::span<const std::string_view> ignored;  ///< marks around calls that say nothing by themselves
  std::span<const std::string_view> inner;    ///< marks inside calls
  bool bare_calls = false;                    ///< an answer may be a call without any mark
};
FamilyMarks family_marks(OutputFamily family);

/// True when a control token of this text is one of the marks of the dialect, or part of one, and
/// so must reach the parser as text.
bool is_mark(const Dialect& dialect, std::string_view token_text);

}  // namespace lm
