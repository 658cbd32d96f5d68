// Go templates of Modelfiles, by what they render once translated.
#include "runtime/chat/go_template.h"

#include <gtest/gtest.h>

#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

std::string render_go(const std::string& source, const std::vector<Message>& messages) {
  const auto jinja = translate_go_template(source);
  if (!jinja) {
    return "Error: " + jinja.error().problem;
  }
  const auto compiled = ChatTemplate::compile(*jinja);
  if (!compiled) {
    return "Not compiled: " + compiled.error().problem + "\n" + *jinja;
  }
  return shown(compiled->render(messages, {}));
}

const std::vector<Message> kOne = {{"user", "hi"}};
const std::vector<Message> kThree = {
    {"system", "S"}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}};

TEST(GoTemplate, RendersOneTurnTemplates) {
  const std::string chatml =
      "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ if .Prompt "
      "}}<|im_start|>user\n"
      "{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n";
  EXPECT_EQ(render_go(chatml, kOne), "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render_go(chatml, kThree),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>"
            "assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
}

TEST(GoTemplate, AddsTheResponseWhereItIsMissing) {
  EXPECT_EQ(render_go("[INST] {{ .System }} {{ .Prompt }} [/INST]", kThree),
            "[INST] S a [/INST]b[INST]  c [/INST]");
}

TEST(GoTemplate, LeavesOutWhatFollowsTheResponseInTheLastTurn) {
  EXPECT_EQ(render_go("U{{ .Prompt }}A{{ .Response }}{{ if .Response }}!{{ end }}.", kThree),
            "UaAb!.UcA");
}

TEST(GoTemplate, JoinsMessagesOfOneRole) {
  EXPECT_EQ(render_go("[{{ .Prompt }}]", {{"user", "a"}, {"user", "b"}}), "[a\n\nb]");
  EXPECT_EQ(render_go("{{ range .Messages }}<{{ .Role }}:{{ .Content }}>{{ end }}",
                      {{"user", "a"}, {"user", "b"}}),
            "<user:a\n\nb>");
  EXPECT_EQ(
      render_go("{{ range .Messages }}<{{ .Content }}>{{ end }}", {{"tool", "a"}, {"tool", "b"}}),
      "<a><b>");
}

TEST(GoTemplate, RendersRangesOverMessages) {
  EXPECT_EQ(render_go("{{ range .Messages }}{{ if eq .Role \"user\" }}U:{{ .Content }}\n{{ else if "
                      "eq .Role \"assistant\" }}A:"
                      "{{ .Content }}\n{{ else }}S:{{ .Content }}\n{{ end }}{{ end }}A:",
                      kThree),
            "S:S\nU:a\nA:b\nU:c\nA:");
  EXPECT_EQ(render_go("{{ if .System }}<{{ .System }}>{{ end }}{{ range $i, $m := .Messages }}{{ "
                      "if ne $m.Role \"system\" }}"
                      "{{ $last := eq (len (slice $.Messages $i)) 1 }}{{ $m.Content }}{{ if and "
                      "$last (eq .Role \"user\") }}!{{ end }}"
                      "{{ end }}{{ end }}",
                      kThree),
            "<S>abc!");
  EXPECT_EQ(
      render_go("{{ range $i, $_ := .Messages }}{{ if gt $i 0 }},{{ end }}{{ .Role }}{{ end }}",
                kThree),
      "system,user,assistant,user");
  EXPECT_EQ(render_go("{{ range .Messages }}{{ if eq .Role \"assistant\" }}{{ break }}{{ end }}{{ "
                      ".Content }}{{ end }}",
                      kThree),
            "Sa");
  EXPECT_EQ(render_go("{{ range .Messages }}x{{ else }}none{{ end }}", {}), "none");
}

TEST(GoTemplate, TakesTheMessagesBranchOfTemplatesWithBoth) {
  EXPECT_EQ(render_go("{{ if .Messages }}{{ range .Messages }}{{ .Content }};{{ end }}{{ else }}{{ "
                      ".Prompt }}{{ .Response }}{{ end }}",
                      kThree),
            "S;a;b;c;");
}

TEST(GoTemplate, TrimsAsGoDoes) {
  EXPECT_EQ(render_go("a \n {{- /* gone */ -}} \n b{{ \"\\n \" }}{{- \"c\" -}}  d {{`e`}}", kOne),
            "ab\n cd e");
  EXPECT_EQ(render_go("a {{-1 }}", kOne),
            "Error: printing what is no text is not supported at line 1");
}

TEST(GoTemplate, KeepsTextThatWouldBeJinja) {
  EXPECT_EQ(render_go("{% if %}{# x #}'\\n'{{ .Prompt }}{{ \"}} {% x %}\" }}", kOne),
            "{% if %}{# x #}'\\n'hi}} {% x %}");
}

TEST(GoTemplate, MessagesStayData) {
  const auto jinja = translate_go_template("<s>{{ .Prompt }}</s>");
  ASSERT_TRUE(jinja);
  const auto compiled = ChatTemplate::compile(*jinja);
  ASSERT_TRUE(compiled);
  const auto prompt = compiled->render({{"user", "<s>"}}, {});
  ASSERT_TRUE(prompt);
  ASSERT_EQ(prompt->size(), 3u);
  EXPECT_EQ((*prompt)[0].special, SpecialTokens::parsed);
  EXPECT_EQ((*prompt)[1].special, SpecialTokens::as_text);
  EXPECT_EQ((*prompt)[1].text, "<s>");
}

TEST(GoTemplate, RefusesWhatItWouldMisrender) {
  struct Row {
    const char* source;
    ErrorCode code;
    const char* problem;
  };
  const Row rows[] = {
      {"{{ .Tools }}", ErrorCode::unsupported, "'.Tools' is not supported at line 1"},
      {"a\n{{ if .Tools }}x{{ end }}", ErrorCode::unsupported,
       "'.Tools' is not supported at line 2"},
      {"{{ range .Tools }}{{ end }}", ErrorCode::unsupported,
       "'.Tools' is not supported at line 1"},
      {"{{ range .Messages }}{{ .ToolCalls }}{{ end }}", ErrorCode::unsupported,
       "'.ToolCalls' is not supported at line 1"},
      {"{{ range .Messages }}{{ .System }}{{ end }}", ErrorCode::unsupported,
       "'.System' is not supported at line 1"},
      {"{{ . }}", ErrorCode::unsupported, "'.' is not supported at line 1"},
      {"{{ json .Prompt }}", ErrorCode::unsupported,
       "'json' with 1 arguments is not supported at line 1"},
      {"{{ printf \"%s\" .Prompt }}", ErrorCode::unsupported,
       "'printf' with 2 arguments is not supported at line 1"},
      {"{{ .Prompt | len }}", ErrorCode::unsupported,
       "pipelines with '|' are not supported at line 1"},
      {"{{ with .Prompt }}{{ end }}", ErrorCode::unsupported,
       "'with' with 1 arguments is not supported at line 1"},
      {"{{ define \"x\" }}{{ end }}", ErrorCode::unsupported,
       "'define' with 1 arguments is not supported at line 1"},
      {"{{ template \"x\" }}", ErrorCode::unsupported,
       "'template' with 1 arguments is not supported at line 1"},
      {"{{ $x = 1 }}", ErrorCode::bad_template, "undefined variable '$x' at line 1"},
      {"{{ $x }}", ErrorCode::bad_template, "undefined variable '$x' at line 1"},
      {"{{ if .Prompt }}", ErrorCode::bad_template,
       "a block is not closed; '{{ end }}' is missing at line 1"},
      {"{{ end }}", ErrorCode::bad_template, "'end' without a block at line 1"},
      {"{{ else }}", ErrorCode::bad_template, "'else' without a block at line 1"},
      {"{{ .Prompt", ErrorCode::bad_template, "an action is not closed; '}}' is missing at line 1"},
      {"{{ \"x }}", ErrorCode::bad_template, "an action is not closed; '}}' is missing at line 1"},
      {"{{ (.Prompt }}", ErrorCode::bad_template, "')' is missing at line 1"},
      {"{{ .Prompt .System }}", ErrorCode::unsupported, "'' is not understood here at line 1"},
      {"{{ eq }}", ErrorCode::unsupported, "'eq' with 0 arguments is not supported at line 1"},
      {"{{ true }}", ErrorCode::unsupported, "printing what is no text is not supported at line 1"},
      {"{{ }}", ErrorCode::bad_template, "a value is expected at line 1"},
  };
  for (const Row& row : rows) {
    const auto got = translate_go_template(row.source);
    ASSERT_FALSE(got) << row.source << "\n" << *got;
    EXPECT_EQ(got.error().problem, row.problem) << row.source;
    EXPECT_EQ(got.error().code, row.code) << row.source;
    EXPECT_FALSE(got.error().hint.empty());
  }
}

TEST(GoTemplate, EndsOnHostileSources) {
  std::string parens = "{{ if ";
  for (int i = 0; i < 100'000; ++i) {
    parens += '(';
  }
  EXPECT_FALSE(translate_go_template(parens + "}}"));
  std::string eqs = "{{ if ";
  for (int i = 0; i < 60; ++i) {
    eqs += "(eq ";
  }
  eqs += "1 2 3";
  for (int i = 0; i < 60; ++i) {
    eqs += ") 2 3";
  }
  EXPECT_FALSE(translate_go_template(eqs + " }}{{ end }}"));
  EXPECT_FALSE(translate_go_template(std::string((1 << 20) + 1, 'x')));
}

}  // namespace LM_FILE
}  // namespace lm::test
