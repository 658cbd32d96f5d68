// The language, feature by feature, on cases of our own: what a clone of this repository can prove
// alone.
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

TEST(JinjaEngine, RendersOwnCasesAsTheReferenceDoes) {
  const Json table =
      Json::parse(read_file(std::filesystem::path(LM_SOURCE_DIR) / "tests/chat/jinja_cases.json"));
  const std::string context = table["context"].dump();
  int same = 0;
  int refused = 0;
  for (const Json& test : table["cases"]) {
    const std::string source = test["template"];
    const auto got = render(source, context);
    if (test.contains("expected")) {
      EXPECT_TRUE(got.has_value()) << source << "\n" << shown(got);
      if (got) {
        EXPECT_EQ(joined(*got), test["expected"]) << source;
      }
      ++same;
    } else {
      EXPECT_FALSE(got.has_value()) << source << " rendered " << shown(got)
                                    << ", the reference fails with " << test["reference_error"];
      ++refused;
    }
  }
  std::printf("own cases: %d renderings, %d errors\n", same, refused);
  EXPECT_GE(same + refused, 200);
}

TEST(JinjaEngine, MessagesOfErrorsNameLineAndReason) {
  struct Row {
    const char* source;
    const char* problem;
  };
  const Row rows[] = {
      {"a\n{{ x.y }}", "'x' is undefined at line 2"},
      {"\n\n{% if %}", "an expression is expected, not '%}' at line 3"},
      {"{% for x in y %}", "the template ends inside a 'for' block; 'endfor' is missing at line 1"},
      {"{{ 1 + 'a' }}", "unsupported operand types for +: 'int' and 'str' at line 1"},
      {"{{ 'a' + 1 }}",
       "can only concatenate str (not \"int\") to str; use ~ to join any values at line 1"},
      {"{{ 'x'|nosuch }}", "there is no filter named 'nosuch' at line 1"},
      {"{{ {}.x.y }}", "'dict object' has no attribute 'x' at line 1"},
      {"{{ 9223372036854775807 + 1 }}", "integer overflow in '+': the limit is 64 bits at line 1"},
      {"{{ 2 ** 64 }}", "integer overflow in '**': the limit is 64 bits at line 1"},
      {"{{ 9223372036854775808 }}",
       "the integer 9223372036854775808 does not fit 64 bits at line 1"},
      {"{% include 'x' %}", "'include' is refused: a chat template is one file at line 1"},
      {"{% import 'x' as y %}", "'import' is refused: a chat template is one file at line 1"},
      {"{% extends 'x' %}", "'extends' is refused: a chat template is one file at line 1"},
      {"{% from 'x' import y %}", "'from' is refused: a chat template is one file at line 1"},
  };
  for (const Row& row : rows) {
    const auto got = render(row.source);
    ASSERT_FALSE(got) << row.source;
    EXPECT_EQ(got.error().problem, row.problem) << row.source;
    EXPECT_EQ(got.error().code, ErrorCode::bad_template) << row.source;
  }
}

TEST(JinjaEngine, RaiseExceptionCarriesItsTextUnchanged) {
  const auto got = render("{{ raise_exception('roles must ' ~ \"alternate\\x1b[1m\") }}");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::template_refused);
  EXPECT_EQ(got.error().problem, "roles must alternate\x1b[1m");
}

TEST(JinjaEngine, WhiteSpaceOptionsCanBeTurnedOff) {
  const std::string source = "  {% if true %}\nx\n  {% endif %}\ny";
  EXPECT_EQ(shown(render(source, "{}", true, true)), "x\ny");
  EXPECT_EQ(shown(render(source, "{}", true, false)), "  x\n  y");
  EXPECT_EQ(shown(render(source, "{}", false, true)), "\nx\n\ny");
  EXPECT_EQ(shown(render(source, "{}", false, false)), "  \nx\n  \ny");
}

TEST(JinjaEngine, LineEndsOfAllSystemsAreOne) {
  EXPECT_EQ(shown(render("a\r\nb\rc\n{% if true %}\r\nd{% endif %}\r\n")), "a\nb\nc\nd");
}

TEST(JinjaEngine, ContextKeepsIntegersAndFloatsApart) {
  EXPECT_EQ(shown(render("{{ a }} {{ b }} {{ c|tojson }}",
                         R"({"a": 1, "b": 1.0, "c": {"x": 1e3, "y": -0.0, "z": 10}})")),
            R"(1 1.0 {"x": 1000.0, "y": -0.0, "z": 10})");
}

TEST(JinjaEngine, LastOfDuplicateKeysWinsAtThePlaceOfTheFirst) {
  EXPECT_EQ(shown(render("{{ d }}", R"({"d": {"a": 1, "b": 2, "a": 3}})")), "{'a': 3, 'b': 2}");
}

TEST(JinjaEngine, ContextMustBeAnObjectOfSoundJson) {
  for (const char* context : {"", "[]", "1", "{", "{\"a\":}", "{\"a\": 1} x", "{\"a\": NaN}"}) {
    const auto got = render("x", context);
    ASSERT_FALSE(got) << context;
    EXPECT_EQ(got.error().code, ErrorCode::bad_template) << context;
  }
  std::string deep = "{\"a\":";
  deep += std::string(200'000, '[');
  EXPECT_EQ(shown(render("x", deep)),
            "Error: variable 'context': JSON: nested deeper than 128 at line 1");
}

TEST(JinjaEngine, InvalidUtf8InTheTemplateIsCarriedThrough) {
  EXPECT_EQ(shown(render("a\xff{{ '\xc3' ~ 'b\xe2\x82' }}{{ 'x\xffy'|upper }}{{ '\xff\xfe'[1] }}{{ "
                         "'\xf0'|length }}")),
            "a\xff\xc3"
            "b\xe2\x82X\xffY\xfe"
            "1");
}

TEST(JinjaEngine, NamesWithTwoUnderscoresAreUndefinedFromOutside) {
  const std::string context = R"({"__secret": "x", "d": {"__class__": 1}})";
  EXPECT_EQ(shown(render("[{{ __secret }}][{{ d.__class__ }}][{{ ''.__class__ }}]", context)),
            "[][][]");
  // Templates may use such names for macros of their own.
  EXPECT_EQ(shown(render("{% macro __part(x) %}<{{ x }}>{% endmacro %}{{ __part(1) }}")), "<1>");
}

TEST(JinjaEngine, LazyListsAreTrueAndWalkedOnce) {
  EXPECT_EQ(shown(render("{% set g = [1]|select('gt', 5) %}{{ 'yes' if g }}{{ g|list }}{{ "
                         "[3,4]|map('string')|length }}")),
            "yes[]2");
}

TEST(JinjaEngine, FromJsonReadsWhatToJsonWrote) {
  EXPECT_EQ(shown(render("{% for k, v in ('{\"b\": [1, 2.5], \"a\": null}'|from_json).items() %}{{ "
                         "k }}={{ v }};{% endfor %}")),
            "b=[1, 2.5];a=None;");
  EXPECT_FALSE(render("{{ '{'|from_json }}"));
}

TEST(JinjaEngine, ClockIsPinnedByTheCaller) {
  EXPECT_EQ(shown(render("{{ strftime_now('%d %b %Y %H:%M:%S %-d') }}")),
            "10 Jul 2025 12:00:00 10");
  EXPECT_EQ(parse_now("2025-07-10"), std::nullopt);
  EXPECT_EQ(parse_now("2025-07-10T12:00:00Z"), std::nullopt);
  EXPECT_EQ(parse_now("x"), std::nullopt);
}

TEST(JinjaEngine, OneCompiledTemplateRendersInManyThreads) {
  const auto compiled = ChatTemplate::compile(
      "{% macro m(x) %}[{{ x|upper }}]{% endmacro %}{% for x in messages %}{{ m(x.content) }}{{ "
      "'lit' }}{% endfor %}");
  ASSERT_TRUE(compiled);
  std::vector<std::string> got(8);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < got.size(); ++i) {
      threads.emplace_back([&, i] {
        for (int round = 0; round < 50; ++round) {
          const auto prompt = compiled->render({{"user", "a" + std::to_string(i)}}, {});
          got[i] = prompt ? joined(*prompt) : prompt.error().problem;
        }
      });
    }
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i], "[A" + std::to_string(i) + "]lit");
  }
}

}  // namespace LM_FILE
}  // namespace lm::test
