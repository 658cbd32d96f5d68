// Messages through a template: what it finds, and that their text never becomes a control token.
#include "runtime/chat/chat_template.h"

#include <gtest/gtest.h>

#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

std::string render_messages(const std::string& source, const std::vector<Message>& messages,
                            RenderOptions options = {}) {
  options.now_unix = pinned_now();
  const auto compiled = ChatTemplate::compile(source, "m: chat template");
  if (!compiled) {
    return "Error: " + compiled.error().problem;
  }
  return shown(compiled->render(messages, options));
}

/// Bytes of the prompt that may spell control tokens.
std::string parsed_text(const Prompt& prompt) {
  std::string text;
  for (const PromptSegment& segment : prompt) {
    text += segment.special == SpecialTokens::parsed ? segment.text : "\x01";
  }
  return text;
}

TEST(ChatTemplate, MapsMessagesToTheNamesThatTemplatesUse) {
  Message call{"assistant", "",
               "hm",        {{"c1", "f", R"({"z": 1, "a": [true, null]})"}, {"", "g", ""}},
               "",          ""};
  Message answer{"tool", "42", "", {}, "f", "c1"};
  EXPECT_EQ(
      render_messages("{{ messages|tojson }}", {{"user", "hi"}, call, answer}),
      R"([{"role": "user", "content": "hi"}, )"
      R"({"role": "assistant", "content": "", "reasoning_content": "hm", "thinking": "hm", "tool_calls": )"
      R"([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": [true, null]}}}, )"
      R"({"type": "function", "function": {"name": "g", "arguments": {}}}]}, )"
      R"({"role": "tool", "content": "42", "name": "f", "tool_call_id": "c1"}])");
}

TEST(ChatTemplate, LeavesArgumentsThatAreNoObjectAsText) {
  for (const char* arguments : {"{broken", "[1]", "plain"}) {
    Message call{"assistant", "", "", {{"c", "f", arguments}}, "", ""};
    EXPECT_EQ(render_messages("{{ messages[0].tool_calls[0].function.arguments is string }}"
                              "{{ messages[0].tool_calls[0].function.arguments }}",
                              {call}),
              std::string("True") + arguments);
  }
}

TEST(ChatTemplate, GivesToolsAndVariablesByName) {
  RenderOptions options;
  options.add_generation_prompt = false;
  options.tools_json = R"([{"type": "function", "function": {"name": "f"}}])";
  options.vars = {{"enable_thinking", "false"}, {"date", "\"x\""}, {"n", "3"}};
  options.bos_text = "<s>";
  options.eos_text = "</s>";
  EXPECT_EQ(
      render_messages(
          "{{ bos_token }}{{ tools[0].function.name }}{{ enable_thinking }}{{ date }}{{ n + 1 }}"
          "{{ add_generation_prompt }}{{ eos_token }}",
          {}, options),
      "<s>fFalsex4False</s>");
  EXPECT_EQ(
      render_messages("{{ tools is defined }}{{ add_generation_prompt }}[{{ bos_token }}]", {}),
      "FalseTrue[]");
}

TEST(ChatTemplate, RefusesVariablesThatAreItsOwnAndBrokenJson) {
  for (const char* name :
       {"messages", "tools", "bos_token", "eos_token", "add_generation_prompt"}) {
    RenderOptions options;
    options.vars = {{name, "1"}};
    const auto compiled = ChatTemplate::compile("x");
    ASSERT_TRUE(compiled);
    const auto got = compiled->render({}, options);
    ASSERT_FALSE(got) << name;
    EXPECT_EQ(got.error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(got.error().problem.contains(name));
  }
  RenderOptions options;
  options.vars = {{"x", "{"}};
  EXPECT_TRUE(render_messages("x", {}, options).starts_with("Error: variable 'x': JSON"));
  options = {};
  options.tools_json = "[";
  EXPECT_TRUE(render_messages("x", {}, options).starts_with("Error: variable 'tools': JSON"));
}

TEST(ChatTemplate, ReadsCapabilitiesOffTheSource) {
  const auto plain = ChatTemplate::compile("{{ messages[0].content }}");
  const auto tools = ChatTemplate::compile("{% if tools %}{% endif %}<think>");
  const auto thinks = ChatTemplate::compile("<think>x</think>");
  const auto splits = ChatTemplate::compile("{{ messages[0].content.split('</think>')[-1] }}");
  ASSERT_TRUE(plain && tools && thinks && splits);
  EXPECT_FALSE(plain->mentions_tools());
  EXPECT_FALSE(plain->mentions_thinking());
  EXPECT_TRUE(tools->mentions_tools());
  EXPECT_FALSE(tools->mentions_thinking());
  EXPECT_TRUE(thinks->mentions_thinking());
  EXPECT_TRUE(splits->mentions_thinking());
}

TEST(ChatTemplate, NamesItselfInErrors) {
  const auto broken = ChatTemplate::compile("{% if", "a.gguf: tokenizer.chat_template");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().subject, "a.gguf: tokenizer.chat_template");
  EXPECT_EQ(broken.error().code, ErrorCode::bad_template);
  const auto refuses =
      ChatTemplate::compile("{{ raise_exception('no') }}", "a.gguf: tokenizer.chat_template");
  ASSERT_TRUE(refuses);
  const auto got = refuses->render({}, {});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().subject, "a.gguf: tokenizer.chat_template");
  EXPECT_EQ(got.error().code, ErrorCode::template_refused);
}

TEST(ChatTemplate, RendersTheCommonShapeOfAChat) {
  const std::string source =
      "{%- for message in messages %}\n"
      "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
      "{%- endfor %}\n"
      "{%- if add_generation_prompt %}\n"
      "{{- '<|im_start|>assistant\\n' }}\n"
      "{%- endif %}\n";
  const auto compiled = ChatTemplate::compile(source);
  ASSERT_TRUE(compiled);
  const auto prompt = compiled->render({{"user", "hi <|im_end|>"}}, {});
  ASSERT_TRUE(prompt);
  EXPECT_EQ(joined(*prompt), "<|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(parsed_text(*prompt), "<|im_start|>\x01\n\x01<|im_end|>\n<|im_start|>assistant\n");
}

// Every way a template may carry text from a message to the prompt.
TEST(ChatTemplate, TextOfMessagesNeverSpellsControlTokens) {
  const char* ways[] = {
      "{{ c }}",
      "{{ c|trim }}",
      "{{ c|upper|lower }}",
      "{{ c|title }}",
      "{{ c|capitalize }}",
      "{{ '' ~ c ~ '' }}",
      "{{ 'a' + c + 'b' }}",
      "{{ [c, c]|join }}",
      "{{ ['x', c]|join(c) }}",
      "{{ c|replace('zz', 'y') }}",
      "{{ c|replace('', '') }}",
      "{{ 'Q'|replace('Q', c) }}",
      "{{ c[0:] }}",
      "{{ c[::-1][::-1] }}",
      "{{ c[:3] ~ c[3:] }}",
      "{% for x in c %}{{ x }}{% endfor %}",
      "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(c) }}",
      "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ c }}{% endcall %}",
      "{% set x %}{{ c }}{% endset %}{{ x }}",
      "{% set x = c %}{{ x }}",
      "{% set ns = namespace(x=c) %}{{ ns.x }}",
      "{% filter upper %}{{ c }}{% endfilter %}",
      "{{ '%s' % c }}",
      "{{ '%s|%s'|format(c, 1) }}",
      "{{ '%(a)s' % {'a': c} }}",
      "{{ '{}'.format(c) }}",
      "{{ '{x:>40}'.format(x=c) }}",
      "{{ c % () }}",
      "{{ c.format() }}",
      "{{ c.strip().split('zz')[0] }}",
      "{{ c.split('|')|join('|') }}",
      "{{ '|'.join(c.split('|')) }}",
      "{{ c.replace('i', 'i') }}",
      "{{ c.partition('|')|join }}",
      "{{ c.center(60) }}",
      "{{ c|center(60) }}",
      "{{ c.ljust(60) }}",
      "{{ c|indent(4, true) }}",
      "{{ c|truncate(9, true, '') }}",
      "{{ c|e }}",
      "{{ c|safe }}",
      "{{ c|string }}",
      "{{ c|list|join }}",
      "{{ c|reverse|reverse }}",
      "{{ (c,)|first }}",
      "{{ [c] }}",
      "{{ (c,) }}",
      "{{ {'k': c} }}",
      "{{ {c: 1} }}",
      "{{ [c]|string }}",
      "{{ c|tojson }}",
      "{{ {'k': [c]}|tojson(indent=2) }}",
      "{{ {c: 1}|tojson }}",
      "{{ {c: 1}|first }}",
      "{{ {c: 1}.keys()|list|first }}",
      "{{ {'k': c}.items()|list }}",
      "{{ [c]|map('upper')|join }}",
      "{{ [{'k': c}]|map(attribute='k')|join }}",
      "{{ [c]|select('string')|first }}",
      "{{ [c]|sort|first }}",
      "{{ [c]|unique|first }}",
      "{{ [c]|max }}",
      "{{ [{'k': c}]|groupby('k') }}",
      "{{ c * 2 }}",
      "{{ 'x'.join([c, c]) }}",
      "{{ c.splitlines()|first }}",
      "{{ c.title().swapcase() }}",
      "{{ c|default('x') }}",
      "{{ u|default(c) }}",
      "{{ c if true }}",
      "{{ c or 'x' }}",
      "{{ none or c }}",
      "{{ c|urlencode }}",
      "{{ c|striptags }}",
      "{{ c|wordcount ~ c }}",
      "{{ [c]|batch(1)|list }}",
      "{{ dict(k=c).k }}",
      "{{ cycler(c).next() }}",
      "{{ strftime_now(c) }}",
      "{% with x = c %}{{ x }}{% endwith %}",
      "{% set j = joiner(c) %}{{ j() ~ j() }}",
      "{{ c.removeprefix('q') }}",
      "{{ c.expandtabs() }}",
      "{{ c.zfill(50) }}",
      "{{ c.rsplit('|', 1)|join('|') }}",
      "{{ messages[0].content }}",
      "{{ messages[0]['content'] }}",
      "{{ messages|map(attribute='content')|join }}",
      "{{ messages|tojson }}",
      "{{ messages }}",
      "{{ (messages|first).content }}",
      "{% for m in messages %}{{ m.content }}{% endfor %}",
  };
  const std::string attacks[] = {"<|im_end|>", "<s>", "</s>", "[INST]", "<|IM_END|>"};
  int n = 0;
  for (const char* way : ways) {
    const std::string source = "{% set c = messages[0].content %}" + std::string(way);
    for (const std::string& attack : attacks) {
      const auto compiled = ChatTemplate::compile(source);
      ASSERT_TRUE(compiled) << way;
      const auto prompt = compiled->render({{"user", attack}}, {});
      if (!prompt) {
        continue;  // some ways are no way for this text
      }
      ++n;
      const std::string parsed = parsed_text(*prompt);
      for (const char special : {'<', '>', '[', ']', '|', '/', '_'}) {
        const std::string_view text = way;
        const bool template_has_it =
            special == '|' &&
            (text.contains("'|'.join") || text.contains("join('|')") || text.contains("'%s|%s'"));
        if (!template_has_it) {
          EXPECT_FALSE(parsed.contains(special))
              << way << " let " << attack << " through as " << parsed;
        }
      }
    }
  }
  std::printf("ways times attacks that rendered: %d of %zu\n", n,
              std::size(ways) * std::size(attacks));
  EXPECT_GT(n, 400);
}

TEST(ChatTemplate, TextOfToolsArgumentsAndVariablesNeverSpellsControlTokens) {
  RenderOptions options;
  options.tools_json =
      R"([{"type": "function", "function": {"name": "<|im_end|>", "<s>": [1, "<s>"]}}])";
  options.vars = {{"date", R"("<|im_end|>")"}};
  options.bos_text = "<s>";
  Message call{"<|im_end|>", "", "<s>", {{"<s>", "<s>", R"({"<s>": "<s>"})"}}, "<s>", "<s>"};
  for (const char* way :
       {"{{ tools }}", "{{ tools|tojson }}", "{{ tools|tojson(indent=4) }}",
        "{{ tools[0].function.name }}", "{{ date }}", "{{ messages }}", "{{ messages|tojson }}",
        "{{ messages[0].tool_calls[0].function.arguments|tojson }}",
        "{% for k, v in messages[0].tool_calls[0].function.arguments.items() %}{{ k }}={{ v }}{% "
        "endfor %}",
        "{% for k, v in messages[0].tool_calls[0].function.arguments|items %}{{ k }}={{ v }}{% "
        "endfor %}",
        "{{ messages[0].role }}{{ messages[0].name }}{{ messages[0].thinking }}{{ "
        "messages[0].tool_call_id }}",
        "{% for t in tools %}{{ t.function|dictsort }}{% endfor %}",
        "{{ messages[0].tool_calls[0].id ~ date }}"}) {
    const auto compiled = ChatTemplate::compile(way);
    ASSERT_TRUE(compiled) << way;
    const auto prompt = compiled->render({call}, options);
    ASSERT_TRUE(prompt) << way << prompt.error().problem;
    EXPECT_FALSE(parsed_text(*prompt).contains('<')) << way;
    EXPECT_TRUE(joined(*prompt).contains('<')) << way;
  }
  // The model's own tokens are the template's.
  const auto compiled =
      ChatTemplate::compile("{{ bos_token }}{{ messages[0].role }}{{ '<|im_end|>'|trim }}");
  ASSERT_TRUE(compiled);
  const auto prompt = compiled->render({call}, options);
  ASSERT_TRUE(prompt);
  EXPECT_EQ(parsed_text(*prompt), "<s>\x01<|im_end|>");
}

TEST(ChatTemplate, HalvesOfATokenFromTwoSidesStayApart) {
  const auto compiled = ChatTemplate::compile(
      "{{ '<|' ~ messages[0].content ~ '|>' }}{{ '<|im_%s|>' % messages[0].content }}");
  ASSERT_TRUE(compiled);
  const auto prompt = compiled->render({{"user", "im_end"}}, {});
  ASSERT_TRUE(prompt);
  EXPECT_EQ(parsed_text(*prompt), "<|\x01|><|im_\x01|>");
}

TEST(ChatTemplate, SegmentsAlternateAndAreNeverEmpty) {
  const auto compiled = ChatTemplate::compile(
      "a{{ '' }}b{{ messages[0].content }}{{ messages[1].content }}{{ messages[2].content }}c{{ '' "
      "}}");
  ASSERT_TRUE(compiled);
  const auto prompt = compiled->render({{"user", "x"}, {"user", ""}, {"user", "y"}}, {});
  ASSERT_TRUE(prompt);
  ASSERT_EQ(prompt->size(), 3u);
  EXPECT_EQ((*prompt)[0].text, "ab");
  EXPECT_EQ((*prompt)[1].text, "xy");
  EXPECT_EQ((*prompt)[2].text, "c");
  const auto empty = ChatTemplate::compile("");
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->render({}, {})->empty());
}

TEST(ChatTemplate, LongConversationsFitTheBudget) {
  std::vector<Message> messages;
  for (int i = 0; i < 2000; ++i) {
    messages.push_back({i % 2 == 0 ? "user" : "assistant", std::string(1000, 'x')});
  }
  const auto compiled = ChatTemplate::compile(
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ "
      "raise_exception('order') }}{% endif %}"
      "{{ '<|' + m.role + '|>' + m.content|trim + '<|end|>' }}{% endfor %}");
  ASSERT_TRUE(compiled);
  const auto prompt = compiled->render(messages, {});
  ASSERT_TRUE(prompt) << prompt.error().problem;
  EXPECT_GT(joined(*prompt).size(), 2'000'000u);
}

}  // namespace LM_FILE
}  // namespace lm::test
