// What schemas mean, told by texts that are allowed and texts that are not.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/grammar/grammar.h"

namespace lm {
namespace LM_FILE {

using grammar::Grammar;

struct Case {
  const char* schema;
  std::vector<const char*> accepts, rejects;
};

void check(const Case& c) {
  const auto g = Grammar::from_schema(c.schema);
  ASSERT_TRUE(g) << c.schema << ": " << g.error().subject << " " << g.error().problem;
  for (const char* text : c.accepts) {
    const auto result = (*g)->accepts(text);
    ASSERT_TRUE(result) << result.error().problem;
    EXPECT_TRUE(*result) << c.schema << " can't reach " << text;
  }
  for (const char* text : c.rejects) {
    const auto result = (*g)->accepts(text);
    ASSERT_TRUE(result) << result.error().problem;
    EXPECT_FALSE(*result) << c.schema << " lets through " << text;
  }
}

TEST(Schema, Numbers) {
  check({R"({"type":"integer"})", {"0", "-7", "12", "5.0"}, {"01", "1.5", "1e2", "--1", "5."}});
  check({R"({"type":"number"})", {"0.25", "-1e-7", "6.02E+23"}, {".5", "1.", "+1", "NaN", "0x1"}});
  check({R"({"minimum":-1.5,"exclusiveMaximum":10})",
         {"-1.5", "-1.25", "0", "9.99", "\"text\""},
         {"-1.51", "10", "10.0", "100", "-2"}});
  check({R"({"type":"integer","multipleOf":7,"minimum":20,"maximum":36})",
         {"21", "28", "35"},
         {"14", "20", "42", "36"}});
  check({R"({"type":"number","multipleOf":0.05,"maximum":1})",
         {"0.15", "0.95", "1", "-3.05"},
         {"0.151", "0.12", "1.05"}});
  check({R"({"const":1.5})", {"1.5", "1.50"}, {"1.05", "15", "-1.5"}});
  check({R"({"type":"integer","minimum":5,"exclusiveMinimum":true})", {"6"}, {"5"}});
}

TEST(Schema, Strings) {
  check({R"({"type":"string","maxLength":3})",
         {R"("")", R"("äöü")", R"("\u00e4\ud83d\ude00")", R"("a\nb")"},
         {R"("abcd")", R"("\ud83d")", R"("\ude00")", "\"a\nb\"", R"("\x")", "\"\xff\""}});
  check({R"({"type":"string","pattern":"^(?!admin)[a-z]+(-[0-9]{2,3})?$"})",
         {R"("user")", R"("adm-12")", R"("\u0075ser")"},
         {R"("admin")", R"("administrator")", R"("user-1")", R"("")"}});
  check({R"({"type":"string","pattern":"b$","minLength":3,"maxLength":4})",
         {R"("aab")", R"("xyzb")"},
         {R"("ab")", R"("aaaab")", R"("aaba")"}});
  check({R"({"type":"string","format":"ipv6"})",
         {R"("::1")", R"("2001:db8::8:800:200c:417a")", R"("::ffff:192.0.2.1")", R"("::")"},
         {R"("12345::")", R"("1::2::3")", R"(":")", R"("1:2:3:4:5:6:7:8:9")"}});
  check({R"({"type":"string","format":"date-time"})",
         {R"("2024-02-29T23:59:60Z")", R"("1985-04-12t23:20:50.52+01:30")"},
         {R"("2023-02-29T00:00:00Z")", R"("2024-01-01 00:00:00Z")", R"("2024-01-01T24:00:00Z")"}});
  check({R"({"enum":["a\"b","né",3,null]})",
         {R"("a\"b")", R"("né")", R"("n\u00e9")", "3", "null"},
         {R"("a")", R"("")", "4"}});
}

TEST(Schema, MembersComeInAnyOrderAndOnce) {
  check({R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},
            "required":["a"],"additionalProperties":false})",
         {R"({"a":1})", R"({"b":"x","a":2})", "{ \"a\": 1,\n  \"b\": \"\"\n}\n"},
         {"{}", R"({"b":"x"})", R"({"a":1,"a":2})", R"({"a":1,"c":2})", R"({"a":1,})",
          "{   \"a\":1}", R"({"a":"1"})"}});
  check({R"({"minProperties":2,"maxProperties":3})",
         {R"({"x":1,"y":2})", R"({"x":1,"y":2,"z":3})", "[]"},
         {R"({"x":1})", R"({"x":1,"x":2})", R"({"x":1,"\u0078":2})",
          R"({"a":1,"b":2,"c":3,"d":4})"}});
  check({R"({"type":"object","properties":{"kind":{"const":"n"}},"required":["kind","q"],
            "maxProperties":2})",
         {R"({"q":0,"kind":"n"})"},
         {R"({"kind":"n","z":1,"q":0})", R"({"z":1,"q":0})"}});
}

TEST(Schema, Arrays) {
  check({R"({"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"string"},
            "minItems":2,"maxItems":3})",
         {R"([1,"a"])", R"([ 1, "a", "b" ])"},
         {"[1]", R"(["a","a"])", R"([1,"a","b","c"])", R"([1,2])", R"([1,"a",])"}});
  check({R"({"type":"array","contains":{"type":"integer"},"minContains":2,"maxContains":3,
            "maxItems":4})",
         {R"([1,"a",2])", "[1,2,3]", R"([1,2,3,"x"])"},
         {"[1]", "[1,2,3,4]", R"(["a","b","c",1])"}});
  check({R"({"type":"array","items":{"not":{}},"minItems":0})", {"[]"}, {"[1]", "[null]"}});
}

TEST(Schema, Combinations) {
  check({R"({"oneOf":[{"type":"object","properties":{"t":{"const":"a"},"x":{"type":"integer"}},
                       "required":["t"]},
                      {"type":"object","properties":{"t":{"const":"b"},"y":{"type":"string"}},
                       "required":["t"]}]})",
         {R"({"t":"a","x":1})", R"({"y":"q","t":"b"})", R"({"t":"b","x":"free"})"},
         {R"({"t":"a","x":"1"})", R"({"t":"c"})", R"({"t":"b","y":1})"}});
  check({R"({"if":{"properties":{"n":{"minimum":10}},"required":["n"]},
            "then":{"required":["big"]},"else":{"required":["small"]}})",
         {R"({"n":11,"big":1})", R"({"n":3,"small":0})", R"({"small":0})", "7"},
         {R"({"n":11})", R"({"n":3,"big":1})", "{}"}});
  check({R"({"not":{"properties":{"a":{"type":"string"}},"required":["a"]}})",
         {R"({"a":1})", "{}"},
         {R"({"a":"x"})", R"("x")"}});
  check({R"({"not":{"additionalProperties":{"type":"integer"}}})",
         {R"({"a":"x"})", R"({"a":1,"b":null})"},
         {"{}", R"({"a":1})", R"({"a":1,"b":2})", R"({"a":"x","a":1})"}});
  check({R"({"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},
             "next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},
             "required":["v","next"],"additionalProperties":false}},"$ref":"#/$defs/node"})",
         {R"({"v":1,"next":{"next":null,"v":2}})"},
         {R"({"v":1})", R"({"v":1,"next":{"v":2}})", R"({"v":1,"next":[]})"}});
}

TEST(Schema, AValueThatCanNotBeIsNotBegun) {
  // Every way in that leads nowhere is closed at once: after each allowed prefix some text follows.
  const auto g = Grammar::from_schema(
      R"({"type":"object","properties":{"a":{"allOf":[{"minimum":3},{"maximum":2}],
         "type":"number"},"bc":{"type":"string","pattern":"^x","maxLength":0}}})");
  ASSERT_TRUE(g);
  grammar::Machine& m = (*g)->machine();
  const auto at = m.step((*g)->start(), R"({"b)");
  EXPECT_NE(at, grammar::kStuck);
  EXPECT_NE(m.step(at, "\":"), grammar::kStuck);
  EXPECT_EQ(m.step(at, "c\""), grammar::kStuck);
  EXPECT_EQ(m.step((*g)->start(), R"({"a")"), grammar::kStuck);
  // A list that holds itself has no finite value.
  const auto endless =
      Grammar::from_schema(R"({"type":"array","items":{"$ref":"#"},"minItems":1})");
  ASSERT_TRUE(endless);
  EXPECT_EQ((*endless)->start(), grammar::kStuck);
}

TEST(Schema, WhatIsNotEnforcedIsNamed) {
  const auto g = Grammar::from_schema(
      R"({"properties":{"a/b":{"multipleOf":12345678},"c":{"format":"regex"},
         "d":{"pattern":"(a)\\1"},"e":{"unevaluatedProperties":false,"anyOf":[{"type":"null"}]}}})");
  ASSERT_TRUE(g);
  std::vector<std::string> pointers;
  for (const grammar::Warning& warning : (*g)->warnings()) {
    pointers.push_back(warning.pointer);
  }
  std::sort(pointers.begin(), pointers.end());
  EXPECT_EQ(pointers, (std::vector<std::string>{"/properties/a~1b/multipleOf",
                                                "/properties/c/format", "/properties/d/pattern",
                                                "/properties/e/unevaluatedProperties"}));
}

TEST(Schema, JsonModeIsAnObjectWithoutEndlessWhiteSpace) {
  const auto g = Grammar::any_object();
  ASSERT_TRUE(g);
  const auto accepts = [&](std::string text) {
    const auto result = (*g)->accepts(text);
    return result && *result;
  };
  EXPECT_TRUE(accepts("{}"));
  EXPECT_TRUE(accepts("{\n  \"a\": [1, 2.5e3, {\"b\": \"c\"}],\n  \"d\": null\n}"));
  EXPECT_FALSE(accepts("[]"));
  EXPECT_FALSE(accepts("{" + std::string(200, ' ') + "}"));
  EXPECT_FALSE(accepts("{" + std::string(5, '\n') + "}"));
  std::string deep;
  for (int i = 0; i < 5000; ++i) {
    deep += "{\"a\":[";
  }
  EXPECT_NE((*g)->machine().step((*g)->start(), deep), grammar::kStuck);
}

}  // namespace LM_FILE
}  // namespace lm
