// Answers of every family: what comes out, and that no way of cutting the stream changes it.
#include "runtime/chat/output_parser.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

constexpr const char* kTools =
    R"([{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{
    "city":{"type":"string"},"days":{"type":"integer"}}}}},
    {"type":"function","function":{"name":"python","parameters":{}}},{"name":"now"}])";

Dialect dialect(OutputFamily family, bool thinks = false) {
  Dialect d;
  d.family = family;
  d.tools_json = kTools;
  if (thinks) {
    d.think_open = "<think>";
    d.think_close = "</think>";
  }
  return d;
}

/// Events as one text, neighbours of a kind joined: C(content) T(thinking) F(name arguments).
/// `ids`: with the ids of calls.
std::string shown(const Dialect& d, std::string_view text, std::size_t step, bool ids = false) {
  OutputParser parser(d, 7);
  std::string out;
  auto last = OutputEvent::Kind::tool_call;
  const auto take = [&](const std::vector<OutputEvent>& events) {
    for (const OutputEvent& event : events) {
      if (event.kind == OutputEvent::Kind::tool_call) {
        EXPECT_FALSE(event.call.id.empty());
        out += "F(" + (ids ? event.call.id + " " : "") + event.call.name + " " +
               event.call.arguments_json + ")";
      } else if (event.kind == last) {
        out.insert(out.size() - 1, event.text);
      } else {
        out += (event.kind == OutputEvent::Kind::content ? "C(" : "T(") + event.text + ")";
      }
      last = event.kind;
    }
  };
  for (std::size_t at = 0; at < text.size(); at += step) {
    take(parser.feed(text.substr(at, step)));
  }
  take(parser.finish());
  return out;
}

void expect(const Dialect& d, const std::string& text, const std::string& expected,
            bool ids = false) {
  for (std::size_t step = 1; step <= text.size() + 1; ++step) {
    ASSERT_EQ(shown(d, text, step, ids), expected) << text << "\nin pieces of " << step;
  }
}

const std::string kParis = R"(F(weather {"city":"Paris","days":3}))";
const std::string kParisJson = R"({"city": "Paris", "days": 3})";
const std::string kCallJson = R"({"name": "weather", "arguments": )" + kParisJson + "}";

TEST(Thinking, IsCutAtItsTags) {
  Dialect d = dialect(OutputFamily::none, true);
  expect(d, "\n<think>\nHmm < 3 </thin\n</think>\n\nThe answer <think> is 4.",
         "T(Hmm < 3 </thin\n)C(The answer <think> is 4.)");
  expect(d, "  no tags", "C(  no tags)");
  expect(d, "<thin", "C(<thin)");
  expect(d, "<think>a</thi", "T(a</thi)");
  expect(d, "<think></think>x", "C(x)");
  expect(d, " \n ", "C( \n )");
  d.starts_in_thinking = true;
  expect(d, "why\n</think>\nok", "T(why\n)C(ok)");
}

TEST(Thinking, HoldsNothingBackWithoutTags) {
  OutputParser parser(Dialect{});
  for (const std::string text : {" ", "<think>", "<", "{\"name\""}) {
    const auto events = parser.feed(text);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].text, text);
    EXPECT_EQ(events[0].kind, OutputEvent::Kind::content);
  }
  EXPECT_TRUE(parser.finish().empty());
}

TEST(ToolCalls, InTags) {
  const Dialect d = dialect(OutputFamily::tool_call_tags, true);
  expect(d, "<think>\nhm\n</think>\n\nI look.\n<tool_call>\n" + kCallJson + "\n</tool_call>",
         "T(hm\n)C(I look.\n)" + kParis);
  expect(d, "<tool_call>" + kCallJson + "</tool_call>\n<tool_call>{\"name\":\"now\"}</tool_call>",
         kParis + "F(now {})");
  // Qwen3-Coder; strings stay strings where the schema says so.
  expect(
      d,
      "<tool_call>\n<function=weather>\n<parameter=city>\n42\n</parameter>\n<parameter=days>\n3\n"
      "</parameter>\n</function>\n</tool_call>",
      R"(F(weather {"city":"42","days":3}))");
  // GLM.
  expect(d,
         "\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
         "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
         kParis);
  expect(d, "<tool_call>now</tool_call> ok", "F(now {})C(ok)");
  // The closing tag inside a string is text; the one that never came is not needed.
  expect(d, R"(<tool_call>{"name":"weather","arguments":{"city":"</tool_call>"}}</tool_call>)",
         R"(F(weather {"city":"</tool_call>"}))");
  expect(d, "<tool_call>" + kCallJson, kParis);
  expect(d, "<tool_call>" + kCallJson + " and so on</tool_call>", kParis + "C(and so on)");
}

TEST(ToolCalls, ThatAreNoneAreContent) {
  const Dialect d = dialect(OutputFamily::tool_call_tags);
  for (const std::string text :
       {"<tool_call>{\"name\": \"weather\", \"arguments\": {</tool_call> x", "<tool_call>",
        "a <tool_call> b </tool_call> c", "<tool_call>{\"name\": 3}</tool_call>", "</tool_call>",
        "<tool_call>{\"name\":\"weather\",\"arguments\":[1]}</tool_call>",
        "<tool_call>\"</tool_call>\"", "a <tool_call>{\"x\": \"", "<tool_cal"}) {
    expect(d, text, "C(" + text + ")");
  }
  expect(d, "<tool_call> <tool_call>" + kCallJson + "</tool_call>", "C(<tool_call> )" + kParis);
}

TEST(ToolCalls, StayTextWithoutTools) {
  Dialect d = dialect(OutputFamily::tool_call_tags);
  d.tools_json.clear();
  const std::string text = "<tool_call>" + kCallJson + "</tool_call>";
  expect(d, text, "C(" + text + ")");
  d.family = OutputFamily::llama3;
  expect(d, kCallJson, "C(" + kCallJson + ")");
}

TEST(ToolCalls, OfLlama3) {
  const Dialect d = dialect(OutputFamily::llama3);
  expect(d, R"({"name": "weather", "parameters": )" + kParisJson + "}", kParis);
  expect(d, "\n{\"type\": \"function\", \"name\": \"now\"}; " + kCallJson, "F(now {})" + kParis);
  expect(d, "<|python_tag|>" + kCallJson + "; " + kCallJson, kParis + kParis);
  expect(d, "<|python_tag|>brave_search.call(query=\"x y\")", R"(F(brave_search {"query":"x y"}))");
  expect(d, "<|python_tag|>print(1)\nx", R"(F(python {"code":"print(1)\nx"}))");
  expect(d, "<function=weather>" + kParisJson + "</function>", kParis);
  expect(d, "[weather(city='Paris', days=3)]", kParis);
  // JSON that is an answer.
  for (const std::string text :
       {R"({"name": "Bob", "age": 3})", R"({"city": 1})", "[1, 2]", "[x]", "{}", "{", "[",
        R"({"name")", R"({"name": "weather", "arguments": {)", R"([{"a": 1}])", "[weather]",
        R"({"name": "unknown", "parameters": {}} x)", "{\"name\": [[[}"}) {
    expect(d, text, "C(" + text + ")");
  }
}

TEST(ToolCalls, OfMistral) {
  Dialect d = dialect(OutputFamily::mistral);
  expect(d,
         "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": " + kParisJson +
             ", \"id\": \"abcdefghi\"}]",
         R"(F(abcdefghi weather {"city":"Paris","days":3}))", true);
  expect(d, "[TOOL_CALLS]weather[ARGS]" + kParisJson + "[TOOL_CALLS]now[ARGS]{}",
         kParis + "F(now {})");
  expect(d, "[TOOL_CALLS]weather[CALL_ID]123456789[ARGS]" + kParisJson,
         R"(F(123456789 weather {"city":"Paris","days":3}))", true);
  expect(d, "Well: [TOOL_CALLS]weather" + kParisJson, "C(Well: )" + kParis);
  expect(d, "[TOOL_CALLS] what is that", "C([TOOL_CALLS] what is that)");
  d.think_open = "[THINK]";
  d.think_close = "[/THINK]";
  expect(d, "[THINK]a[/THINK]b", "T(a)C(b)");
}

TEST(ToolCalls, OfDeepseek) {
  const Dialect d = dialect(OutputFamily::deepseek, true);
  const std::string r1 = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n" +
                         kParisJson + "\n```<｜tool▁call▁end｜>";
  const std::string v31 =
      "<｜tool▁call▁begin｜>weather<｜tool▁sep｜>" + kParisJson + "<｜tool▁call▁end｜>";
  expect(d, "<｜tool▁calls▁begin｜>" + r1 + "\n" + r1 + "<｜tool▁calls▁end｜>", kParis + kParis);
  expect(d, "<think>x</think>so<｜tool▁calls▁begin｜>" + v31 + "<｜tool▁calls▁end｜>",
         "T(x)C(so)" + kParis);
  expect(d, "<｜tool▁call▁begin｜>bad<｜tool▁call▁end｜>",
         "C(<｜tool▁call▁begin｜>bad<｜tool▁call▁end｜>)");
  expect(dialect(OutputFamily::dsml),
         "ok\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter "
         "name=\"city\" "
         "string=\"true\">Paris</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" "
         "string=\"false\">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
         "C(ok\n\n)" + kParis);
}

TEST(ToolCalls, OfHarmony) {
  const Dialect d = dialect(OutputFamily::harmony);
  expect(
      d,
      "<|channel|>analysis<|message|>let me<|end|><|start|>assistant<|channel|>final<|message|>4!",
      "T(let me)C(4!)");
  expect(d,
         "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>commentary "
         "to=functions.weather <|constrain|>json<|message|>" +
             kParisJson + "<|call|>",
         "T(x)" + kParis);
  expect(d, " to=functions.now<|channel|>commentary json<|message|>{}", "F(now {})");
  expect(d, "<|channel|>commentary<|message|>I look it up.<|end|>", "C(I look it up.)");
  expect(d, "plain text <| is fine", "C(plain text <| is fine)");
  expect(d, "<|channel|>ana", "");
  expect(d, "<|channel|>commentary to=functions.weather<|message|>no JSON<|call|>", "C(no JSON)");
}

TEST(ToolCalls, OfOtherFamilies) {
  Dialect gemma = dialect(OutputFamily::gemma4);
  gemma.think_open = "<|channel>thought\n";
  gemma.think_close = "<channel|>";
  expect(gemma,
         "<|channel>thought\nhm<channel|><|tool_call>call:weather{city:<|\"|>Paris<|\"|>,days:3}"
         "<tool_call|>",
         "T(hm)" + kParis);
  expect(gemma, "<|tool_call>call:now{x:[1,{y:true}]}<tool_call|>",
         R"(F(now {"x":[1,{"y":true}]}))");
  expect(dialect(OutputFamily::tool_call_list), "<|tool_call|>[" + kCallJson + "]", kParis);
  expect(dialect(OutputFamily::tool_call_list), "<|tool_call|>[" + kCallJson + "]<|/tool_call|>",
         kParis + "C(<|/tool_call|>)");
  expect(dialect(OutputFamily::tool_call_list), "<|tool_call|> no", "C(<|tool_call|> no)");
  expect(
      dialect(OutputFamily::cohere),
      "<|START_ACTION|>[\n {\"tool_call_id\": \"0\", \"tool_name\": \"weather\", \"parameters\": " +
          kParisJson + "}\n]<|END_ACTION|>",
      R"(F(0 weather {"city":"Paris","days":3}))", true);
  expect(dialect(OutputFamily::cohere), "<|START_RESPONSE|>hi<|END_RESPONSE|>", "C(hi)");
  expect(dialect(OutputFamily::command_r),
         "Action: ```json\n[{\"tool_name\": \"weather\", \"parameters\": " + kParisJson + "}]\n```",
         kParis);
  expect(dialect(OutputFamily::kimi),
         "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
         "<|tool_call_argument_begin|>" +
             kParisJson + "<|tool_call_end|><|tool_calls_section_end|>",
         R"(F(functions.weather:0 weather {"city":"Paris","days":3}))", true);
  expect(
      dialect(OutputFamily::invoke),
      "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Paris</parameter>\n"
      "<parameter name=\"days\">3</parameter>\n</invoke>\n</minimax:tool_call>",
      kParis);
  expect(dialect(OutputFamily::nemotron), "<TOOLCALL>[" + kCallJson + "]</TOOLCALL>", kParis);
  expect(dialect(OutputFamily::apriel), "<tool_calls>[" + kCallJson + "]</tool_calls>", kParis);
  expect(dialect(OutputFamily::function_tags),
         "<function name=\"weather\"><param name=\"city\"><![CDATA[Paris]]></param>"
         "<param name=\"days\">3</param></function>",
         kParis);
  expect(dialect(OutputFamily::function_call), "<|function_call|>" + kCallJson, kParis);
  expect(dialect(OutputFamily::lfm2),
         "<|tool_call_start|>[weather(city=\"Paris\", days=3), now()]<|tool_call_end|>Done",
         kParis + "F(now {})C(Done)");
  expect(dialect(OutputFamily::lfm2),
         "<|tool_call_start|>[now(a='it\\'s', b=None, c=(1, 2.5), d={'k': True})]<|tool_call_end|>",
         R"(F(now {"a":"it's","b":null,"c":[1,2.5],"d":{"k":true}}))");
  const std::string ns = "]<]minimax[>[";
  expect(dialect(OutputFamily::minimax_m3),
         ns + "<tool_call>\n" + ns + "<invoke name=\"weather\">" + ns + "<city>Paris" + ns +
             "</city>" + ns + "<days>3" + ns + "</days>" + ns + "</invoke>\n" + ns + "</tool_call>",
         kParis);
  expect(dialect(OutputFamily::minimax_m3),
         ns + "<invoke name=\"now\">" + ns + "<a>" + ns + "<item>1" + ns + "</item>" + ns +
             "<item>" + ns + "<b>x y" + ns + "</b>" + ns + "</item>" + ns + "</a>" + ns +
             "<c>true" + ns + "</c>" + ns + "</invoke>",
         R"(F(now {"a":[1,{"b":"x y"}],"c":true}))");
  expect(dialect(OutputFamily::minimax_m3), ns + "<invoke name=\"now\">text" + ns + "</invoke>",
         "C(" + ns + "<invoke name=\"now\">text" + ns + "</invoke>)");
  expect(dialect(OutputFamily::gigachat3),
         "Look.<|message_sep|>\n\nfunction call<|role_sep|>\n" + kCallJson + "<|message_sep|>\n\n",
         "C(Look.)" + kParis);
  expect(dialect(OutputFamily::gigachat3), "function call<|role_sep|>\n" + kCallJson, kParis);
  expect(dialect(OutputFamily::lfm2),
         "<|tool_call_start|>[weather(**" + kParisJson + ")]<|tool_call_end|>", kParis);
  expect(dialect(OutputFamily::generic), "[" + kCallJson + "]", kParis);
  expect(dialect(OutputFamily::generic), "<tool_call>" + kCallJson + "</tool_call>", kParis);
}

TEST(ToolCalls, GetIdsThatFollowFromTheSeed) {
  const Dialect d = dialect(OutputFamily::tool_call_tags);
  const std::string two = "<tool_call>" + kCallJson + "</tool_call><tool_call>" + kCallJson;
  OutputParser a(d, 1), b(d, 1), c(d, 2);
  const auto ids = [&](OutputParser& parser) {
    std::vector<std::string> found;
    for (auto* events : {new auto(parser.feed(two)), new auto(parser.finish())}) {
      for (const OutputEvent& event : *events) {
        found.push_back(event.call.id);
      }
      delete events;
    }
    return found;
  };
  const auto first = ids(a);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].size(), 13u);
  EXPECT_TRUE(first[0].starts_with("call_"));
  EXPECT_NE(first[0], first[1]);
  EXPECT_EQ(ids(b), first);
  EXPECT_NE(ids(c)[0], first[0]);
}

TEST(ToolCalls, CrossAsJson) {
  const ToolCall call{"call_1", "f\"x", R"({"b":1.0,"a":[2]})"};
  const auto back = parse_tool_call_json(tool_call_json(call));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->id, call.id);
  EXPECT_EQ(back->name, call.name);
  EXPECT_EQ(back->arguments_json, call.arguments_json);
  for (const char* bad : {"", "[]", "{}", R"({"id":"","name":"f","arguments":3})", "{\"id\":"}) {
    EXPECT_FALSE(parse_tool_call_json(bad)) << bad;
  }
}

TEST(ToolCalls, NestedDeeplyEndWell) {
  const std::string deep(100'000, '[');
  for (const OutputFamily family : {OutputFamily::tool_call_tags, OutputFamily::lfm2,
                                    OutputFamily::gemma4, OutputFamily::invoke}) {
    const Dialect d = dialect(family);
    for (const CallRegion& region : family_marks(family).regions) {
      for (const std::string& body : std::vector<std::string>{
               deep, "{\"name\":" + deep, "f(x=" + deep + ")", "call:f{x:" + deep + "}",
               "f\"><parameter name=\"x\">" + deep + "</parameter>",
               "<function=f><parameter=x>" + deep + "</parameter></function>",
               "f<arg_key>x</arg_key><arg_value>" + deep + "</arg_value>"}) {
        const std::string text = std::string(region.open) + body + std::string(region.close);
        EXPECT_GE(shown(d, text, text.size()).size(), deep.size());
      }
    }
  }
  Dialect hostile_tools = dialect(OutputFamily::generic);
  hostile_tools.tools_json = deep;
  expect(hostile_tools, "hi", "C(hi)");
}

/// Words in the order in which they stand in a text: w0w, w1w …
std::vector<int> words_of(const std::string& text) {
  std::vector<int> found;
  for (std::size_t at = text.find('w'); at != std::string::npos; at = text.find('w', at + 1)) {
    std::size_t end = at + 1;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') {
      ++end;
    }
    if (end > at + 1 && end < text.size() && text[end] == 'w') {
      found.push_back(std::stoi(text.substr(at + 1, end - at - 1)));
      at = end;
    }
  }
  return found;
}

// Texts made of marks, parts of marks, JSON and numbered words: no word is lost, whatever is a call
// and whatever is none, and no way of cutting changes anything.
TEST(ToolCalls, LoseNothingInRandomTexts) {
  std::mt19937 random(5);
  int n_texts = 0;
  int n_with_calls = 0;
  for (int f = 0; f <= static_cast<int>(OutputFamily::last); ++f) {
    const auto family = static_cast<OutputFamily>(f);
    Dialect d = dialect(family, true);
    std::vector<std::string> pieces = {" ",  "\n", "{",       "}",        "[",        "]",
                                       "\"", "<",  "<think>", "</think>", "a=",       "(",
                                       ")",  "'",  ">",       ";",        "function", "</"};
    const FamilyMarks marks = family_marks(family);
    for (const CallRegion& region : marks.regions) {
      for (int copies = 0; copies < 3; ++copies) {
        pieces.emplace_back(region.open);
        pieces.emplace_back(region.close);
      }
      pieces.emplace_back(region.open.substr(0, region.open.size() / 2));
    }
    for (const auto& list : {marks.ignored, marks.inner}) {
      pieces.insert(pieces.end(), list.begin(), list.end());
    }
    for (int round = 0; round < 300; ++round) {
      std::string text;
      int n_words = 0;
      const auto word = [&] { return "w" + std::to_string(n_words++) + "w"; };
      for (std::size_t n = random() % 14; n > 0; --n) {
        switch (random() % 6) {
          case 0:
            text += word();
            break;
          case 1: {
            const std::string name = word();
            text += "{\"name\":\"" + name + "\",\"arguments\":{\"x\":\"" + word() + "\"}}";
            break;
          }
          case 2: {
            const std::string name = word();
            text += name + "(x='" + word() + "')";
            break;
          }
          default:
            text += pieces[random() % pieces.size()];
        }
      }
      const std::string whole = shown(d, text, text.size() + 1, true);
      for (const std::size_t step : {1u, 2u, 3u, 5u, 7u}) {
        ASSERT_EQ(shown(d, text, step, true), whole) << f << ": " << text;
      }
      n_with_calls += whole.find("F(") != std::string::npos ? 1 : 0;
      ++n_texts;
      if (family == OutputFamily::harmony) {
        continue;  // the words of a header name its channel
      }
      std::vector<int> expected(static_cast<std::size_t>(n_words));
      for (int i = 0; i < n_words; ++i) {
        expected[static_cast<std::size_t>(i)] = i;
      }
      ASSERT_EQ(words_of(whole), expected) << f << ": " << text << "\n" << whole;
    }
  }
  std::printf("random answers: %d, with calls: %d\n", n_texts, n_with_calls);
  EXPECT_GT(n_with_calls, 100);
}

}  // namespace LM_FILE
}  // namespace lm::test
