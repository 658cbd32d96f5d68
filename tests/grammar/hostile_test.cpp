// Schemas, grammars and expressions that are made to hurt: each ends within its budgets, either
// compiled or refused with a message that names the place.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/grammar/grammar.h"

namespace lm {
namespace LM_FILE {

using grammar::Grammar;

std::string repeated(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) {
    out += text;
  }
  return out;
}

std::string nested(const std::string& open, const std::string& middle, const std::string& close,
                   int n) {
  return repeated(open, n) + middle + repeated(close, n);
}

/// {"KEY": [item 0, item 1, ...]}
template <class Item>
std::string listed(const std::string& key, int n, const Item& item) {
  std::string out = "{\"" + key + "\":[";
  for (int i = 0; i < n; ++i) {
    out += (i == 0 ? "" : ",") + item(i);
  }
  return out + "]}";
}

enum class Outcome : std::uint8_t { refused, compiled, either };
struct Case {
  const char* name;
  std::string schema;
  Outcome outcome;
};

std::string pattern(const std::string& text) {
  return R"({"type":"string","pattern":")" + text + "\"}";
}

std::vector<Case> hostile_schemas() {
  using enum Outcome;
  const auto property = [](int i) { return fmt::format(R"({{"const":{}}})", i); };
  const auto wide_object = [](int i) {
    return fmt::format(
        R"({{"properties":{{"a{0}":{{"minimum":{0}}},"b{0}":{{"type":"string"}}}}}})", i);
  };
  std::string chain = R"({"$ref":"#/$defs/d0","$defs":{)";
  for (int i = 0; i < 5000; ++i) {
    chain += fmt::format(R"("d{}":{{"$ref":"#/$defs/d{}"}},)", i, i + 1);
  }
  chain += R"("d5000":{"type":"null"}}})";
  std::string doubling = R"({"$ref":"#/$defs/d0","$defs":{)";
  for (int i = 0; i < 40; ++i) {
    doubling += fmt::format(
        R"("d{}":{{"properties":{{"l":{{"$ref":"#/$defs/d{}"}},"r":{{"$ref":"#/$defs/d{}"}}}}}},)",
        i, i + 1, i + 1);
  }
  doubling += R"("d40":{"type":"null"}}})";
  std::string many_properties = R"({"type":"object","additionalProperties":false,"properties":{)";
  for (int i = 0; i < 3000; ++i) {
    many_properties +=
        fmt::format(R"({}"property_number_{}":{{"type":"integer"}})", i == 0 ? "" : ",", i);
  }
  many_properties += "}}";
  std::string many_patterns = R"({"patternProperties":{)";
  for (int i = 0; i < 30; ++i) {
    many_patterns +=
        fmt::format(R"({}"a{{{}}}b*c.*{}":{{"minimum":{}}})", i == 0 ? "" : ",", i, i, i);
  }
  many_patterns += "},\"additionalProperties\":false}";
  return {
      {"text that is not JSON", "{", refused},
      {"nothing", "", refused},
      {"text after the value", "{} {}", refused},
      {"invalid UTF-8", "{\"const\":\"\xff\"}", refused},
      {"lone surrogate", R"({"const":"\ud800"})", refused},
      {"NaN", R"({"minimum":NaN})", refused},
      {"huge exponent", R"({"minimum":1e999999999})", refused},
      {"large exponent", R"({"minimum":1e308})", compiled},
      {"small exponent", R"({"type":"number","minimum":1e-300})", compiled},
      {"a megabyte of digits", R"({"minimum":1)" + std::string(1 << 19, '0') + "}", refused},
      {"nested lists", nested("[", "", "]", 100'000), refused},
      {"nested anyOf", nested(R"({"anyOf":[)", "{}", "]}", 1000), refused},
      {"nested anyOf within JSON's depth", nested(R"({"anyOf":[)", "{\"type\":\"null\"}", "]}", 62),
       either},
      {"nested not", nested(R"({"not":)", "{\"type\":\"null\"}", "}", 100), refused},
      {"nested items", nested(R"({"items":)", "{\"type\":\"null\"}", "}", 120), refused},
      {"a schema that is a number", "5", refused},
      {"a schema that is a list", "[]", refused},
      {"a property that is a number", R"({"properties":{"a":5}})", refused},
      {"properties that are a list", R"({"properties":[]})", refused},
      {"a type that is none", R"({"type":"kaboom"})", refused},
      {"a type that is an object", R"({"type":{}})", refused},
      {"required that is a number", R"({"required":5})", refused},
      {"enum that is an object", R"({"enum":{}})", refused},
      {"anyOf without schemas", R"({"anyOf":[]})", refused},
      {"negative length", R"({"minLength":-1})", refused},
      {"half a length", R"({"maxLength":1.5})", refused},
      {"multipleOf 0", R"({"multipleOf":0})", refused},
      {"reference to itself", R"({"$ref":"#"})", refused},
      {"reference in a ring",
       R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})",
       refused},
      {"allOf of itself", R"({"allOf":[{"$ref":"#"}]})", refused},
      {"not itself", R"({"not":{"$ref":"#"}})", refused},
      {"remote reference", R"({"$ref":"http://127.0.0.1/x.json"})", refused},
      {"file reference", R"({"$ref":"file:///etc/passwd"})", refused},
      {"dangling reference", R"({"$ref":"#/$defs/nowhere"})", refused},
      {"dangling anchor", R"({"$ref":"#nowhere"})", refused},
      {"reference into text", R"({"title":"x","$ref":"#/title"})", refused},
      {"chain of references", chain, refused},
      {"doubling references", doubling, compiled},
      {"minItems 1e9", R"({"minItems":1000000000})", refused},
      {"minLength 1e9", R"({"type":"string","minLength":1000000000})", refused},
      {"minProperties 1e9", R"({"minProperties":1000000000})", refused},
      {"minContains 1e9", R"({"contains":{},"minContains":1000000000})", refused},
      {"maxItems 1e18", R"({"type":"array","maxItems":1000000000000000000})", compiled},
      {"maxLength 1e300", R"({"type":"string","maxLength":1e300})", compiled},
      {"100,000 strings",
       listed("enum", 60'000, [](int i) { return fmt::format("\"w{}\"", i * 7919); }), either},
      {"50,000 numbers", listed("enum", 50'000, [](int i) { return fmt::format("{}", i); }),
       either},
      {"3,000 lists in an enum",
       listed("enum", 3'000, [](int i) { return fmt::format("[{}]", i); }), either},
      {"anyOf of 2,000", listed("anyOf", 2'000, property), either},
      {"oneOf of 300", listed("oneOf", 300, property), either},
      {"oneOf of 40 overlapping objects", listed("oneOf", 40, wide_object), either},
      {"allOf of 40 alternatives",
       listed("allOf", 40,
              [&](int i) {
                return fmt::format(
                    R"({{"anyOf":[{{"required":["a{0}"]}},{{"required":["b{0}"]}}]}})", i);
              }),
       either},
      {"not of 40 alternatives", "{\"not\":" + listed("anyOf", 40, wide_object) + "}", either},
      {"allOf of 60 patterns",
       listed("allOf", 60,
              [](int i) { return fmt::format(R"({{"pattern":"^(.{{{}}})*$"}})", i + 2); }),
       either},
      {"3,000 properties", many_properties, either},
      {"30 patterns of names", many_patterns, either},
      {"exponential expression", pattern("^(a+)+$"), compiled},
      {"exponential expression, unanchored", pattern("(a|aa)+b(a|aa)+c"), compiled},
      {"many states", pattern("^(.*a){30}.{30}$"), either},
      {"subset blow-up with a length", R"({"pattern":".*a.{24}$","maxLength":60,"type":"string"})",
       either},
      {"60,000 parentheses", pattern(std::string(60'000, '(')), refused},
      {"3,000 matched parentheses", pattern(nested("(", "a", ")", 3'000)), refused},
      {"many optional characters", pattern(repeated("a?", 5'000)), either},
      {"repetition of repetitions", pattern("^((((a{999}){999}){999}){999})$"), either},
      {"repetition above the limit", pattern("^a{100000000}$"), refused},
      {"look-behind", pattern("(?<=x)*"), compiled},
      {"unclosed set", pattern("[a-"), refused},
      {"set backwards", pattern("[z-a]"), refused},
      {"nothing to repeat", pattern("*a"), refused},
      {"contains that counts in eight ways",
       listed("allOf", 8,
              [](int i) {
                return fmt::format(R"({{"type":"array","contains":{{"multipleOf":{}}},)"
                                   R"("minContains":2,"maxContains":4}})",
                                   i + 2);
              }),
       either},
      {"a value that can't be", R"({"type":"string","minLength":5,"maxLength":4})", compiled},
  };
}

TEST(Hostile, SchemasEndWithinTheirBudgets) {
  int ended = 0, compiled = 0;
  const std::vector<Case> cases = hostile_schemas();
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto begin = std::chrono::steady_clock::now();
    const auto g = Grammar::from_schema(c.schema);
    if (g) {
      ++compiled;
      EXPECT_NE(c.outcome, Outcome::refused) << "should not compile";
      // Using it must end as well.
      for (const char* text : {R"("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")",
                               R"({"a1":5,"b1":"x","l":{"r":{}}})", "[6,12,18,24]", "7", "[[[[["}) {
        const auto result = (*g)->accepts(text);
        if (!result) {
          EXPECT_EQ(result.error().code, ErrorCode::limit_exceeded);
        }
      }
    } else {
      EXPECT_NE(c.outcome, Outcome::compiled) << g.error().subject << " " << g.error().problem;
      EXPECT_TRUE(g.error().subject.starts_with("schema") ||
                  g.error().subject.starts_with("grammar"))
          << g.error().subject;
      EXPECT_FALSE(g.error().problem.empty());
    }
    if (c.outcome == Outcome::either) {
      fmt::print("{}: {}\n", c.name, g ? "compiled" : g.error().problem);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    // Far above the budget of a second a step: a machine under load, never a hang.
    EXPECT_LT(took.count(), 20);
    ++ended;
  }
  fmt::print("{} of {} hostile schemas ended, {} of them compiled\n", ended, cases.size(),
             compiled);
  EXPECT_GE(cases.size(), 60u);
}

TEST(Hostile, RefusalsNameTheJsonPointer) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"properties":{"a":{"type":"kaboom"}}})", "schema at '#/properties/a/type'"},
      {R"({"items":{"minItems":1000000000}})", "schema at '#/items/minItems'"},
      {R"({"anyOf":[{},{"$ref":"#/$defs/x~y"}]})", "schema at '#/anyOf/1/$ref'"},
      {R"({"properties":{"p/q":{"pattern":"("}}})", "schema at '#/properties/p~1q/pattern'"},
      {R"({"$defs":{"r":{"allOf":[{"$ref":"#/$defs/r"}]}},"$ref":"#/$defs/r"})",
       "schema at '#/$defs/r'"},
  };
  for (const auto& [schema, subject] : cases) {
    const auto g = Grammar::from_schema(schema);
    ASSERT_FALSE(g) << schema;
    EXPECT_EQ(g.error().subject, subject) << g.error().problem;
  }
}

TEST(Hostile, GrammarsEndWithinTheirBudgets) {
  using enum Outcome;
  std::string rules = "root ::= r0\n";
  for (int i = 0; i < 20'000; ++i) {
    rules += fmt::format("r{} ::= \"a\" r{}\n", i, i + 1);
  }
  rules += "r20000 ::= \"b\"\n";
  const std::vector<Case> cases = {
      {"left recursion", "root ::= root \"a\" | \"b\"", refused},
      {"left recursion through others", "root ::= x\nx ::= y \"1\"\ny ::= x | \"2\"", refused},
      {"left recursion behind what may be empty", "root ::= e root \"a\"\ne ::= \"x\"?", refused},
      {"a rule that is itself", "root ::= root", refused},
      {"a loop of nothing", "root ::= (\"a\"?)*", compiled},
      {"a loop of nothing, recursive", "root ::= (x?)*\nx ::= \"(\" x? \")\"", compiled},
      {"loops in loops", "root ::= (((\"a\"*)*)*)*", compiled},
      {"repeat of nothing", "root ::= (x{0,60000}){0,60000}\nx ::= (\"(\" x \")\")?", either},
      {"repeat above the limit", "root ::= \"a\"{0,100000000}", refused},
      {"repeat backwards", "root ::= \"a\"{5,2}", refused},
      {"repeat of repeats", "root ::= (((\"a\"{999}){999}){999}){999}", compiled},
      {"repeat of a recursive rule", "root ::= (x{999}){999}\nx ::= \"a\" x | \"b\"", either},
      {"no end", "root ::= \"a\" root", refused},
      {"a rule that is missing", "root ::= nowhere", refused},
      {"no root", "start ::= \"a\"", refused},
      {"nothing", "", refused},
      {"twice", "root ::= \"a\"\nroot ::= \"b\"", refused},
      {"an open string", "root ::= \"abc", refused},
      {"an open set", "root ::= [a-z", refused},
      {"an open group", "root ::= (\"a\"", refused},
      {"a stray bracket", "root ::= \"a\" )", refused},
      {"a bad escape", "root ::= \"\\q\"", refused},
      {"no code point", "root ::= \"\\U00110000\"", refused},
      {"nested groups", "root ::= " + nested("(", "\"a\"", ")", 100'000), refused},
      {"many rules", rules, either},
      {"many optionals", "root ::= " + repeated("\"a\"? ", 20'000), either},
      {"ambiguous", "root ::= s\ns ::= \"a\" s \"b\" s | \"a\" s | \"a\"", compiled},
      {"palindromes", "root ::= \"a\" root \"a\" | \"b\" root \"b\" | [ab]", compiled},
      {"NUL and binary", std::string("root ::= \"a\0b\"", 14) + "\xff\xfe", refused},
  };
  int ended = 0;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto g = Grammar::from_gbnf(c.schema);
    if (g) {
      EXPECT_NE(c.outcome, refused);
      const auto result = (*g)->accepts(std::string(200, 'a'));
      if (!result) {
        EXPECT_EQ(result.error().code, ErrorCode::limit_exceeded);
      }
    } else {
      EXPECT_NE(c.outcome, compiled) << g.error().subject << " " << g.error().problem;
      EXPECT_TRUE(g.error().subject.starts_with("grammar")) << g.error().subject;
    }
    ++ended;
  }
  fmt::print("{} of {} hostile grammars ended\n", ended, cases.size());
}

}  // namespace LM_FILE
}  // namespace lm
