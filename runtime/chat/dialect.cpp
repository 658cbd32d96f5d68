#include "runtime/chat/dialect.h"

#include <algorithm>
#include <array>
#include <set>

namespace lm {
namespace {

using Texts = std::span<const std::string_view>;

constexpr CallRegion kTagged[] = {
    {"<tool_call>", "</tool_call>", CallSyntax::tagged},
    {"<tool_call:opensource>", "</tool_call:opensource>", CallSyntax::tagged}};
constexpr std::string_view kTaggedIgnored[] = {"<tool_calls:opensource>",
                                               "</tool_calls:opensource>"};
constexpr CallRegion kLlama3[] = {{"<|python_tag|>", "", CallSyntax::python_tag},
                                  {"<function=", "</function>", CallSyntax::named}};
constexpr CallRegion kMistral[] = {{"[TOOL_CALLS]", "", CallSyntax::mistral}};
constexpr std::string_view kMistralInner[] = {"[ARGS]", "[CALL_ID]"};
constexpr CallRegion kDeepseek[] = {
    {"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", CallSyntax::deepseek}};
constexpr std::string_view kDeepseekIgnored[] = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"};
constexpr std::string_view kDeepseekInner[] = {"<｜tool▁sep｜>"};
constexpr CallRegion kDsml[] = {
    {"<｜DSML｜invoke name=\"", "</｜DSML｜invoke>", CallSyntax::named}};
constexpr std::string_view kDsmlIgnored[] = {"<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>",
                                             "<｜DSML｜function_calls>",
                                             "</｜DSML｜function_calls>"};
constexpr std::string_view kDsmlInner[] = {"｜DSML｜"};
constexpr std::string_view kHarmonyInner[] = {"<|channel|>", "<|message|>",   "<|start|>",
                                              "<|end|>",     "<|constrain|>", "<|call|>",
                                              "<|return|>"};
constexpr CallRegion kGemma4[] = {{"<|tool_call>", "<tool_call|>", CallSyntax::gemma4}};
constexpr std::string_view kGemma4Inner[] = {"<|\"|>"};
constexpr CallRegion kToolCallList[] = {{"<|tool_call|>", "", CallSyntax::json}};
constexpr std::string_view kToolCallListIgnored[] = {"<|/tool_call|>", "<response>", "</response>"};
constexpr CallRegion kCohere[] = {{"<|START_ACTION|>", "<|END_ACTION|>", CallSyntax::json}};
constexpr std::string_view kCohereIgnored[] = {"<|START_RESPONSE|>", "<|END_RESPONSE|>",
                                               "<|START_TEXT|>", "<|END_TEXT|>"};
constexpr CallRegion kCommandR[] = {{"Action:```json", "```", CallSyntax::json},
                                    {"Action: ```json", "```", CallSyntax::json},
                                    {"Action:\n```json", "```", CallSyntax::json}};
constexpr CallRegion kKimi[] = {{"<|tool_call_begin|>", "<|tool_call_end|>", CallSyntax::kimi}};
constexpr std::string_view kKimiIgnored[] = {"<|tool_calls_section_begin|>",
                                             "<|tool_calls_section_end|>"};
constexpr std::string_view kKimiInner[] = {"<|tool_call_argument_begin|>"};
constexpr CallRegion kInvoke[] = {{"<invoke name=\"", "</invoke>", CallSyntax::named}};
constexpr std::string_view kInvokeIgnored[] = {"<minimax:tool_call>", "</minimax:tool_call>"};
constexpr CallRegion kNemotron[] = {{"<TOOLCALL>", "</TOOLCALL>", CallSyntax::json}};
constexpr CallRegion kApriel[] = {{"<tool_calls>", "</tool_calls>", CallSyntax::json}};
constexpr CallRegion kFunctionTags[] = {{"<function=", "</function>", CallSyntax::named},
                                        {"<function name=\"", "</function>", CallSyntax::named},
                                        {"<|python_tag|>", "", CallSyntax::python_tag}};
constexpr CallRegion kFunctionCall[] = {{"<|function_call|>", "", CallSyntax::json}};
constexpr CallRegion kLfm2[] = {{"<|tool_call_start|>", "<|tool_call_end|>", CallSyntax::python}};

constexpr CallRegion kMinimaxM3[] = {
    {"]<]minimax[>[<invoke name=\"", "]<]minimax[>[</invoke>", CallSyntax::elements}};
constexpr std::string_view kMinimaxM3Ignored[] = {"]<]minimax[>[<tool_call>",
                                                  "]<]minimax[>[</tool_call>"};
constexpr CallRegion kGigachat3[] = {
    {"function call<|role_sep|>", "<|message_sep|>", CallSyntax::json}};
constexpr std::string_view kGigachat3Ignored[] = {"<|message_sep|>"};

/// A family is known by any of these texts in its template; the first row that fits holds.
struct Sign {
  std::string_view text;
  OutputFamily family;
};
constexpr Sign kSigns[] = {
    {"<|channel|>", OutputFamily::harmony},
    {"]<]minimax[>[", OutputFamily::minimax_m3},
    {"<|tool_call>", OutputFamily::gemma4},
    {"｜DSML｜", OutputFamily::dsml},
    {"<｜tool▁call▁begin｜>", OutputFamily::deepseek},
    {"<|tool_call_begin|>", OutputFamily::kimi},
    {"[TOOL_CALLS]", OutputFamily::mistral},
    {"<|START_ACTION|>", OutputFamily::cohere},
    {"<TOOLCALL>", OutputFamily::nemotron},
    {"<|function_call|>", OutputFamily::function_call},
    {"'function call'", OutputFamily::gigachat3},
    {"<|tool_call_start|>", OutputFamily::lfm2},
    {"<|tool_list_start|>", OutputFamily::lfm2},
    {"<minimax:tool_call>", OutputFamily::invoke},
    {"<tool_call{}>", OutputFamily::tool_call_tags},
    {"<tool_calls>", OutputFamily::apriel},
    {"<|tool_call|>", OutputFamily::tool_call_list},
    {"<|tool|>", OutputFamily::tool_call_list},
    {"<tool_call>", OutputFamily::tool_call_tags},
    {"<function name=", OutputFamily::function_tags},
    {"<function=", OutputFamily::function_tags},
    {"start_tag}={function_name}", OutputFamily::function_tags},
    {"Action:```json", OutputFamily::command_r},
    {"<|START_OF_TURN_TOKEN|>", OutputFamily::command_r},
    {"<|python_tag|>", OutputFamily::llama3},
    {"<|start_header_id|>", OutputFamily::llama3},
};

struct ThinkTags {
  std::string_view open;
  std::string_view close;
};
constexpr ThinkTags kThinkTags[] = {
    {"[THINK]", "[/THINK]"},       {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"<mm:think>", "</mm:think>"}, {"<seed:think>", "</seed:think>"},
    {"<think>", "</think>"},
};

bool splits_at_think(std::string_view source) {
  return source.contains("split('</think>')") || source.contains("split(\"</think>\")");
}

std::string_view trimmed_end(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  return text;
}

}  // namespace

FamilyMarks family_marks(OutputFamily family) {
  switch (family) {
    case OutputFamily::none:
      return {};
    case OutputFamily::generic:
      return {.regions = kTagged, .ignored = {}, .inner = {}, .bare_calls = true};
    case OutputFamily::tool_call_tags:
      return {.regions = kTagged, .ignored = kTaggedIgnored, .inner = {}};
    case OutputFamily::llama3:
      return {.regions = kLlama3, .ignored = {}, .inner = {}, .bare_calls = true};
    case OutputFamily::mistral:
      return {.regions = kMistral, .ignored = {}, .inner = kMistralInner};
    case OutputFamily::deepseek:
      return {.regions = kDeepseek, .ignored = kDeepseekIgnored, .inner = kDeepseekInner};
    case OutputFamily::dsml:
      return {.regions = kDsml, .ignored = kDsmlIgnored, .inner = kDsmlInner};
    case OutputFamily::harmony:
      return {.regions = {}, .ignored = {}, .inner = kHarmonyInner};
    case OutputFamily::gemma4:
      return {.regions = kGemma4, .ignored = {}, .inner = kGemma4Inner};
    case OutputFamily::tool_call_list:
      return {.regions = kToolCallList, .ignored = kToolCallListIgnored, .inner = {}};
    case OutputFamily::cohere:
      return {.regions = kCohere, .ignored = kCohereIgnored, .inner = {}};
    case OutputFamily::command_r:
      return {.regions = kCommandR, .ignored = {}, .inner = {}};
    case OutputFamily::kimi:
      return {.regions = kKimi, .ignored = kKimiIgnored, .inner = kKimiInner};
    case OutputFamily::invoke:
      return {.regions = kInvoke, .ignored = kInvokeIgnored, .inner = {}};
    case OutputFamily::nemotron:
      return {.regions = kNemotron, .ignored = {}, .inner = {}};
    case OutputFamily::apriel:
      return {.regions = kApriel, .ignored = {}, .inner = {}};
    case OutputFamily::function_tags:
      return {.regions = kFunctionTags, .ignored = {}, .inner = {}};
    case OutputFamily::function_call:
      return {.regions = kFunctionCall, .ignored = {}, .inner = {}};
    case OutputFamily::lfm2:
      return {.regions = kLfm2, .ignored = {}, .inner = {}, .bare_calls = true};
    case OutputFamily::minimax_m3:
      return {.regions = kMinimaxM3, .ignored = kMinimaxM3Ignored, .inner = {}};
    case OutputFamily::gigachat3:
      return {.regions = kGigachat3, .ignored = kGigachat3Ignored, .inner = {}};
  }
  return {};
}

namespace {

bool continues_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Names that the tags of a template hold outside strings, members of other values left out.
std::set<std::string_view> names_read(std::string_view source) {
  std::set<std::string_view> out;
  bool in_tag = false;
  char quote = 0;
  for (std::size_t at = 0; at + 1 < source.size(); ++at) {
    const std::string_view two = source.substr(at, 2);
    if (!in_tag) {
      in_tag = two == "{%" || two == "{{";
      if (two == "{#") {
        at = std::min(source.find("#}", at), source.size());
      }
    } else if (quote != 0) {
      at += source[at] == '\\' ? 1 : 0;
      quote = source[at] == quote ? '\0' : quote;
    } else if (two == "%}" || two == "}}") {
      in_tag = false;
    } else if (source[at] == '\'' || source[at] == '"') {
      quote = source[at];
    } else if (continues_name(source[at])) {
      const std::size_t begin = at;
      while (at + 1 < source.size() && continues_name(source[at + 1])) {
        ++at;
      }
      const std::size_t behind = std::min(source.find_first_not_of(" \n", at + 1), source.size());
      const bool is_set =
          source.substr(behind).starts_with('=') && !source.substr(behind).starts_with("==");
      if ((begin == 0 || source[begin - 1] != '.') && !is_set) {
        out.insert(source.substr(begin, at + 1 - begin));
      }
    }
  }
  return out;
}

/// Levels of thinking with one that means none.
bool has_no_think_level(std::string_view source, const std::set<std::string_view>& names) {
  return names.contains("reasoning_effort") && source.contains("'no_think'");
}

CallStyle detect_style(std::string_view source, OutputFamily family) {
  switch (family) {
    case OutputFamily::tool_call_tags:
      return source.contains("<arg_key")     ? CallStyle::arg_pairs
             : source.contains("<function=") ? CallStyle::parameters
                                             : CallStyle::json;
    case OutputFamily::function_tags:
      return source.contains("<function name=") ? CallStyle::parameters : CallStyle::named_json;
    case OutputFamily::mistral:
      return source.contains("[ARGS]") ? CallStyle::named_json : CallStyle::json;
    case OutputFamily::deepseek:
      return source.contains("```json") ? CallStyle::fenced : CallStyle::named_json;
    default:
      return CallStyle::json;
  }
}

}  // namespace

Dialect detect_dialect(std::string_view source) {
  Dialect dialect;
  const auto* sign =
      std::ranges::find_if(kSigns, [source](const Sign& s) { return source.contains(s.text); });
  dialect.family = sign == std::end(kSigns) ? OutputFamily::generic : sign->family;
  dialect.style = detect_style(source, dialect.family);
  if (dialect.family == OutputFamily::gemma4) {
    dialect.think_open = "<|channel>thought\n";
    dialect.think_close = "<channel|>";
    return dialect;
  }
  if (source.contains("[BEGIN FINAL RESPONSE]")) {
    // Answers begin with their thinking, without a tag.
    dialect.think_close = "[BEGIN FINAL RESPONSE]";
    dialect.starts_in_thinking = true;
    return dialect;
  }
  if (source.contains("<think{}>") && source.contains("':opensource'")) {
    dialect.think_open = "<think:opensource>";
    dialect.think_close = "</think:opensource>";
    return dialect;
  }
  for (const ThinkTags& tags : kThinkTags) {
    if ((source.contains(tags.open) && source.contains(tags.close)) ||
        (tags.open == "<think>" && splits_at_think(source))) {
      dialect.think_open = tags.open;
      dialect.think_close = tags.close;
      break;
    }
  }
  return dialect;
}

ThinkSwitch think_switch(std::string_view source) {
  const Dialect dialect = detect_dialect(source);
  ThinkSwitch out;
  out.thinks = dialect.family == OutputFamily::harmony || !dialect.think_close.empty();
  if (!out.thinks) {
    return out;
  }
  const std::set<std::string_view> names = names_read(source);
  out.has_levels = names.contains("reasoning_effort");
  out.can_stop = names.contains("enable_thinking") || names.contains("thinking") ||
                 names.contains("thinking_mode") || has_no_think_level(source, names);
  return out;
}

std::vector<std::pair<std::string, std::string>> think_variables(std::string_view source,
                                                                 std::string_view choice) {
  const bool on = choice != "false";
  std::vector<std::pair<std::string, std::string>> out = {
      {"enable_thinking", on ? "true" : "false"},
      {"thinking", on ? "true" : "false"},
      {"thinking_mode", on ? "\"enabled\"" : "\"disabled\""}};
  if (has_no_think_level(source, names_read(source))) {  // Hy3 knows low, high and no_think
    out.emplace_back("reasoning_effort", !on               ? "\"no_think\""
                                         : choice == "low" ? "\"low\""
                                                           : "\"high\"");
  } else if (on && choice != "true") {
    out.emplace_back("reasoning_effort", "\"" + std::string(choice) + "\"");
  }
  return out;
}

bool ends_in_thinking(const Prompt& prompt, const Dialect& dialect) {
  const std::string_view open = trimmed_end(dialect.think_open);
  if (open.empty()) {
    return dialect.starts_in_thinking;
  }
  std::string tail;
  for (auto segment = prompt.rbegin(); segment != prompt.rend() && tail.size() < 256; ++segment) {
    tail.insert(0,
                segment->kind == PromptSegment::Kind::text ? segment->text : std::string(256, ' '));
  }
  return trimmed_end(tail).ends_with(open);
}

bool is_mark(const Dialect& dialect, std::string_view token_text) {
  if (token_text.size() < 3) {
    return false;
  }
  const auto holds = [token_text](std::string_view mark) { return mark.contains(token_text); };
  if (holds(dialect.think_open) || holds(dialect.think_close)) {
    return true;
  }
  const FamilyMarks marks = family_marks(dialect.family);
  if (std::ranges::any_of(marks.ignored, holds)) {
    return true;
  }
  if (dialect.tools_json.empty() && dialect.family != OutputFamily::harmony) {
    return false;
  }
  return std::ranges::any_of(marks.inner, holds) ||
         std::ranges::any_of(marks.regions, [&](const CallRegion& region) {
           return holds(region.open) || holds(region.close);
         });
}

}  // namespace lm
