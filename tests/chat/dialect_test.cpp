// Which dialect a template speaks, and the way back: what templates of real models write for a call
// is read as that call.
#include "runtime/chat/dialect.h"

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/chat/output_parser.h"
#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

TEST(Dialect, IsReadOffTheTemplate) {
  const std::pair<const char*, OutputFamily> cases[] = {
      {"plain {{ messages }}", OutputFamily::generic},
      {"<|start_header_id|>", OutputFamily::llama3},
      {"<tool_call>\n{\"name\"", OutputFamily::tool_call_tags},
      {"[TOOL_CALLS]", OutputFamily::mistral},
      {"<｜tool▁call▁begin｜>", OutputFamily::deepseek},
      {"<|start|>assistant<|channel|>final<|message|>", OutputFamily::harmony},
      {"<|tool_call|>", OutputFamily::tool_call_list},
      {"<|tool_call>call:", OutputFamily::gemma4},
      {"<|tool_list_start|>", OutputFamily::lfm2},
      {"<|tool_calls_section_begin|><|tool_call_begin|>", OutputFamily::kimi},
  };
  for (const auto& [source, family] : cases) {
    EXPECT_EQ(detect_dialect(source).family, family) << source;
    EXPECT_TRUE(detect_dialect(source).think_close.empty() || family == OutputFamily::gemma4);
  }
  EXPECT_EQ(detect_dialect("<think>x</think>").think_open, "<think>");
  EXPECT_EQ(detect_dialect("content.split('</think>')").think_close, "</think>");
  EXPECT_EQ(detect_dialect("[THINK][/THINK][TOOL_CALLS]").think_open, "[THINK]");
  EXPECT_TRUE(detect_dialect("").tools_json.empty());
}

TEST(Dialect, KnowsWhenThePromptBeganTheThinking) {
  const Dialect d = detect_dialect("<think></think>");
  const auto prompt = [](const std::string& a, const std::string& b) {
    Prompt p(2);
    p[0].text = a;
    p[1].text = b;
    return p;
  };
  EXPECT_TRUE(ends_in_thinking(prompt("hi<think>\n", ""), d));
  EXPECT_TRUE(ends_in_thinking(prompt("hi<thi", "nk>\n \n"), d));
  EXPECT_FALSE(ends_in_thinking(prompt("<think>", "</think>"), d));
  EXPECT_FALSE(ends_in_thinking({}, d));
  EXPECT_TRUE(ends_in_thinking(prompt("x", "y"), detect_dialect("[BEGIN FINAL RESPONSE]")));
}

TEST(Dialect, NamesTheTokensThatMustBeSpelt) {
  Dialect d = detect_dialect("<think></think>[TOOL_CALLS]");
  EXPECT_TRUE(is_mark(d, "<think>"));
  EXPECT_FALSE(is_mark(d, "[TOOL_CALLS]"));  // no tools
  d.tools_json = "[]";
  EXPECT_TRUE(is_mark(d, "[TOOL_CALLS]"));
  EXPECT_TRUE(is_mark(d, "[ARGS]"));
  for (const char* other : {"", "<", "</", "</s>", "<|im_end|>", "[INST]"}) {
    EXPECT_FALSE(is_mark(d, other)) << other;
  }
  EXPECT_TRUE(is_mark(detect_dialect("<|channel|>"), "<|message|>"));
  EXPECT_TRUE(is_mark(detect_dialect("<|tool_call>"), "<|channel>"));
  EXPECT_FALSE(is_mark(Dialect{}, "<think>"));
}

TEST(Dialect, SaysHowThinkingIsSwitched) {
  struct Case {
    const char* source;
    bool thinks, can_stop, has_levels;
  };
  for (const Case& c : {
           Case{"{{ messages }}", false, false, false},
           Case{"<think></think>", true, false, false},
           Case{"<think></think>{% if enable_thinking is false %}", true, true, false},
           Case{"<think></think>{%- elif thinking %}", true, true, false},
           Case{"<mm:think></mm:think>{% if thinking_mode == 'x' %}", true, true, false},
           Case{"<|channel|>analysis {{ reasoning_effort }}", true, false, true},
           Case{"{{ reasoning_effort }}{% if enable_thinking %}", false, false, false},
       }) {
    const ThinkSwitch s = think_switch(c.source);
    EXPECT_EQ(s.thinks, c.thinks) << c.source;
    EXPECT_EQ(s.can_stop, c.can_stop) << c.source;
    EXPECT_EQ(s.has_levels, c.has_levels) << c.source;
  }
}

/// What a template renders for one question with the variables of a choice.
std::string rendered(const ChatTemplate& compiled, const std::string& source, const char* choice) {
  RenderOptions options;
  options.now_unix = pinned_now();
  for (const auto& [name, value] : think_variables(source, choice)) {
    options.vars[name] = value;
  }
  const auto prompt = compiled.render({Message{"user", "How is it there?"}}, options);
  return prompt ? joined(*prompt) : std::string();
}

TEST(Dialect, SwitchesTheThinkingOfRealModels) {
  const auto folder = data_folder() / "templates";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << "no test data: " << folder << " (41 templates)";
  }
  int n = 0, think = 0, switched = 0, levels = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jinja") {
      continue;
    }
    ++n;
    const std::string source = read_file(entry.path());
    const auto compiled = ChatTemplate::compile(source, "t");
    ASSERT_TRUE(compiled);
    const ThinkSwitch s = think_switch(source);
    think += s.thinks ? 1 : 0;
    switched += s.can_stop ? 1 : 0;
    levels += s.has_levels ? 1 : 0;
    const std::string on = rendered(*compiled, source, "true"),
                      off = rendered(*compiled, source, "false");
    std::printf("%s: %s%s%s\n", entry.path().stem().c_str(), s.thinks ? "thinks" : "-",
                s.can_stop ? ", can be switched" : "", s.has_levels ? ", has levels" : "");
    EXPECT_EQ(s.can_stop, on != off) << entry.path().stem();
  }
  std::printf("%d templates: %d think, %d can be switched, %d have levels\n", n, think, switched,
              levels);
}

/// Text of `prompt` behind what `before` has in common with it, up to the end of the turn.
std::string turn_of(const std::string& before, const std::string& prompt) {
  std::size_t at = 0;
  while (at < before.size() && at < prompt.size() && before[at] == prompt[at]) {
    ++at;
  }
  // Both may begin with a mark, as <think> and <tool_call> do: then the mark is part of the turn.
  const std::size_t mark = prompt.rfind('<', at);
  if (mark != std::string::npos && mark < at && prompt.find('>', mark) >= at) {
    at = mark;
  }
  std::string turn = prompt.substr(at);
  for (const char* end : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>", "<｜end▁of▁sentence｜>",
                          "<|end_of_text|>", "<turn|>", "<|END_OF_TURN_TOKEN|>", "<|tool_response>",
                          "[EOS]", "<|user|>", "<|end|>\n", "<｜hy_eos:opensource｜>",
                          "<|message_sep|>", "[e~[", "</assistant>", "<|observation|>"}) {
    // GigaChat 3 writes a call as a message of another role, behind the end of the answer.
    std::size_t from = 0;
    while (turn.find(end, from) != std::string::npos &&
           turn.substr(turn.find(end, from)).starts_with("<|message_sep|>\n\nfunction call")) {
      from = turn.find(end, from) + 1;
    }
    turn = turn.substr(0, turn.find(end, from));
  }
  return turn;
}

TEST(Dialect, ReadsWhatTemplatesOfRealModelsWrite) {
  const auto folder = data_folder() / "templates";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << "no test data: " << folder << " (41 templates)";
  }
  const std::string tools =
      R"([{"type":"function","function":{"name":"get_weather","description":"d","parameters":
      {"type":"object","properties":{"city":{"type":"string","description":"c"},
      "days":{"type":"integer","description":"n"}},"required":["city"]}}}])";
  // Arguments are written in the order of keys, which some templates impose.
  const std::string arguments = R"({"city":"São \"P\"","days":3})";
  int n_templates = 0;
  std::set<std::string> read, unreadable, without;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jinja") {
      continue;
    }
    ++n_templates;
    const std::string name = entry.path().stem();
    const std::string source = read_file(entry.path());
    const auto compiled = ChatTemplate::compile(source, name);
    ASSERT_TRUE(compiled) << name;
    RenderOptions options;
    options.tools_json = tools;
    options.now_unix = pinned_now();
    const Message question{"user", "How is it there?"};
    Message answer{"assistant", ""};
    answer.tool_calls.push_back({"abcdefgh1", "get_weather", arguments});
    const auto before = compiled->render({question}, options);
    options.add_generation_prompt = false;
    const auto after = compiled->render({question, answer}, options);
    if (!before || !after || !joined(*after).substr(joined(*before).size() / 2).contains("São")) {
      without.insert(name);
      continue;
    }
    Dialect dialect = detect_dialect(source);
    dialect.tools_json = tools;
    dialect.starts_in_thinking = false;
    const std::string turn = turn_of(joined(*before), joined(*after));
    for (const std::size_t step : {turn.size(), std::size_t{1}}) {
      OutputParser parser(dialect);
      std::vector<OutputEvent> events;
      for (std::size_t at = 0; at < turn.size(); at += step) {
        auto some = parser.feed(std::string_view(turn).substr(at, step));
        events.insert(events.end(), some.begin(), some.end());
      }
      auto rest = parser.finish();
      events.insert(events.end(), rest.begin(), rest.end());
      int n_calls = 0;
      for (const OutputEvent& event : events) {
        n_calls += event.kind == OutputEvent::Kind::tool_call && event.call.name == "get_weather" &&
                           event.call.arguments_json == arguments
                       ? 1
                       : 0;
      }
      if (n_calls != 1) {
        unreadable.insert(name);
        std::printf("not read: %s: %s\n", name.c_str(), turn.c_str());
      } else {
        read.insert(name);
      }
    }
  }
  std::printf("templates: %d; calls read back: %zu of %zu; writing no calls: %zu\n", n_templates,
              read.size(), read.size() + unreadable.size(), without.size());
  for (const std::string& name : without) {
    std::printf("  no calls: %s\n", name.c_str());
  }
  EXPECT_EQ(unreadable, std::set<std::string>());
  EXPECT_EQ(read.size(), 33u);
}

}  // namespace LM_FILE
}  // namespace lm::test
