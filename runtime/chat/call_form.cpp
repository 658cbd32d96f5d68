#include "runtime/chat/call_form.h"

namespace lm {
namespace {

/// {"name": "f", "arguments": {…}} between two texts.
CallForm json_call(const std::string& open, const std::string& close,
                   const std::string& arguments = "arguments", const std::string& name = "name") {
  return {.open = open + "{\"" + name + "\": \"",
          .middle = "\", \"" + arguments + "\": ",
          .close = "}" + close};
}

/// f{…} between texts.
CallForm named_call(std::string open, std::string middle, std::string close) {
  return {.open = std::move(open),
          .middle = std::move(middle),
          .close = std::move(close),
          .is_json = false};
}

/// Arguments as pairs, or, where they can't be, as JSON in their place.
CallForm pairs_call(const std::string& open, const std::string& middle, const std::string& close,
                    ArgumentPairs pairs) {
  CallForm form = named_call(open, middle, close);
  form.otherwise = {named_call(open, middle, close)};
  form.has_pairs = true;
  form.pairs = std::move(pairs);
  return form;
}

/// Tags around names and values.
ArgumentPairs tags(const std::string& open, const std::string& middle, const std::string& close) {
  return {.key_open = open,
          .string_open = middle,
          .string_close = close,
          .value_open = middle,
          .value_close = close,
          .between = {},
          .until = close.substr(close.find('<'), close.find('>') + 1 - close.find('<'))};
}

CallForm tool_call_tags(CallStyle style) {
  switch (style) {
    case CallStyle::parameters:
      return pairs_call("<tool_call>\n<function=", ">\n", "</function>\n</tool_call>",
                        tags("<parameter=", ">\n", "\n</parameter>\n"));
    case CallStyle::arg_pairs: {
      CallForm form = pairs_call("<tool_call>", "\n", "</tool_call>",
                                 tags("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"));
      form.otherwise = {tool_call_tags(CallStyle::json)};
      return form;
    }
    default:
      return json_call("<tool_call>\n", "\n</tool_call>");
  }
}

CallForm function_tags(CallStyle style) {
  return style == CallStyle::parameters ? pairs_call("<function name=\"", "\">", "</function>",
                                                     tags("<param name=\"", "\">", "</param>"))
                                        : named_call("<function=", ">", "</function>");
}

CallForm deepseek(CallStyle style) {
  const std::string open = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>";
  const std::string close = "<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  return style == CallStyle::fenced
             ? named_call(open + "function<｜tool▁sep｜>", "\n```json\n", "\n```" + close)
             : named_call(open, "<｜tool▁sep｜>", close);
}

CallForm dsml() {
  ArgumentPairs pairs =
      tags("<｜DSML｜parameter name=\"", "\" string=\"true\">", "</｜DSML｜parameter>\n");
  pairs.value_open = "\" string=\"false\">";
  return pairs_call("<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"", "\">\n",
                    "</｜DSML｜invoke>\n</｜DSML｜tool_calls>", std::move(pairs));
}

CallForm gemma4() {
  ArgumentPairs pairs;
  pairs.string_open = ":<|\"|>";
  pairs.string_close = "<|\"|>";
  pairs.value_open = ":";
  pairs.between = ",";
  pairs.until = pairs.string_close;
  CallForm form = pairs_call("<|tool_call>call:", "{", "}<tool_call|>", std::move(pairs));
  form.plain_escapes = true;
  form.otherwise = {named_call("<|tool_call>call:", "", "<tool_call|>")};
  return form;
}

CallForm lfm2() {
  ArgumentPairs pairs;
  pairs.value_open = "=";
  pairs.between = ", ";
  pairs.raw_strings = false;
  CallForm form = pairs_call("<|tool_call_start|>[", "(", ")]<|tool_call_end|>", std::move(pairs));
  form.plain_escapes = true;
  form.otherwise = {named_call("<|tool_call_start|>[", "(**", ")]<|tool_call_end|>")};
  return form;
}

CallForm minimax_m3() {
  const std::string mark = "]<]minimax[>[";
  ArgumentPairs pairs;
  pairs.key_open = mark + "<";
  pairs.string_open = pairs.value_open = ">";
  pairs.string_close = pairs.value_close = mark + "</";
  pairs.until = mark;
  pairs.closes_by_name = true;
  return pairs_call(mark + "<tool_call>\n" + mark + "<invoke name=\"", "\">",
                    mark + "</invoke>\n" + mark + "</tool_call>", std::move(pairs));
}

}  // namespace

CallForm call_form(const Dialect& dialect) {
  switch (dialect.family) {
    case OutputFamily::none:
    case OutputFamily::generic:
      return json_call("", "");
    case OutputFamily::tool_call_tags:
      return tool_call_tags(dialect.style);
    case OutputFamily::llama3:
      return json_call("", "", "parameters");
    case OutputFamily::mistral:
      return dialect.style == CallStyle::named_json ? named_call("[TOOL_CALLS]", "[ARGS]", "")
                                                    : json_call("[TOOL_CALLS][", "]");
    case OutputFamily::deepseek:
      return deepseek(dialect.style);
    case OutputFamily::dsml:
      return dsml();
    case OutputFamily::harmony:
      return named_call("<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", "");
    case OutputFamily::gemma4:
      return gemma4();
    case OutputFamily::tool_call_list:
      return json_call("<|tool_call|>[", "]");
    case OutputFamily::cohere:
      return json_call("<|START_ACTION|>[\n    ", "\n]<|END_ACTION|>", "parameters",
                       "tool_call_id\": \"0\", \"tool_name");
    case OutputFamily::command_r:
      return json_call("Action: ```json\n[\n    ", "\n]\n```", "parameters", "tool_name");
    case OutputFamily::kimi:
      return named_call("<|tool_calls_section_begin|><|tool_call_begin|>functions.",
                        ":0<|tool_call_argument_begin|>",
                        "<|tool_call_end|><|tool_calls_section_end|>");
    case OutputFamily::invoke:
      return pairs_call("<minimax:tool_call>\n<invoke name=\"", "\">\n",
                        "</invoke>\n</minimax:tool_call>",
                        tags("<parameter name=\"", "\">", "</parameter>\n"));
    case OutputFamily::nemotron:
      return json_call("<TOOLCALL>[", "]</TOOLCALL>");
    case OutputFamily::apriel:
      return json_call("<tool_calls>[", "]</tool_calls>");
    case OutputFamily::function_tags:
      return function_tags(dialect.style);
    case OutputFamily::function_call:
      return json_call("<|function_call|>", "");
    case OutputFamily::lfm2:
      return lfm2();
    case OutputFamily::minimax_m3:
      return minimax_m3();
    case OutputFamily::gigachat3:
      return json_call("function call<|role_sep|>\n", "");
  }
  return json_call("", "");
}

}  // namespace lm
