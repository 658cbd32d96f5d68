// Cases from outside: the JSON schema test suite and llama.cpp's grammars, through the automaton
// that masks decoding. Each text is judged as the data says, or its schema is refused by a keyword
// that the README names: at most one schema in ten.
#include <fstream>
#include <map>
#include <optional>
#include <string>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/grammar/grammar.h"
#include "tests/grammar/refusals.h"
#include "tests/support/test_data.h"

namespace lm {
namespace LM_FILE {

using grammar::Grammar;
using nlohmann::json;

std::optional<json> load_json(const char* name) {
  std::ifstream in(test::shared_data() / "json-schema" / name);
  return in ? std::optional(json::parse(in)) : std::nullopt;
}

std::string name_of(const json& c) {
  const auto name = c.find("name");
  return name == c.end() ? "?" : name->get<std::string>();
}

bool accepted(Grammar& g, const std::string& text) {
  const Result<bool> result = g.accepts(text);
  EXPECT_TRUE(result) << text << ": " << (result ? "" : result.error().problem);
  return result && *result;
}

TEST(GrammarData, SchemaSuite) {
  const auto cases = load_json("schemas.json");
  if (!cases) {
    GTEST_SKIP() << "no test data";
  }
  std::map<std::string, int> refused;
  int refusals = 0, accepts = 0, reached = 0, given_up = 0, rejects = 0, kept_out = 0;
  for (const json& c : *cases) {
    const auto g = Grammar::from_schema(c["schema"].dump());
    ASSERT_TRUE(g) << name_of(c) << ": " << g.error().subject << " " << g.error().problem;
    const bool enforced = (*g)->warnings().empty();
    if (!enforced) {
      ++refusals;
      ++refused[test::refused_keyword(c["schema"], (*g)->warnings()[0].pointer)];
    }
    for (const json& text : c["accepts"]) {
      ++accepts;
      const bool is_reached = enforced && accepted(**g, text.get<std::string>());
      reached += is_reached ? 1 : 0;
      given_up += enforced ? 0 : 1;
      EXPECT_TRUE(is_reached || !enforced) << name_of(c) << ": can't reach " << text;
    }
    for (const json& text : c["rejects"]) {
      ++rejects;
      const bool out = !accepted(**g, text.get<std::string>());
      kept_out += out ? 1 : 0;
      EXPECT_TRUE(out) << name_of(c) << ": lets through " << text;
    }
  }
  fmt::print(
      "{} schemas, {} refused by a keyword that the README names; {} of {} texts to accept "
      "reached, {} under refused schemas; {} of {} texts to reject kept out\n",
      cases->size(), refusals, reached, accepts, given_up, kept_out, rejects);
  EXPECT_EQ(reached + given_up, accepts);
  EXPECT_EQ(kept_out, rejects);
  EXPECT_LE(static_cast<std::size_t>(refusals) * 10, cases->size());
  std::map<std::string, int> listed = test::listed_refusals();
  std::erase_if(listed, [](const auto& row) { return row.second == 0; });
  EXPECT_EQ(refused, listed) << "the README of runtime/grammar lists other refusals";
}

TEST(GrammarData, SchemasThatCompile) {
  const auto cases = load_json("compile.json");
  if (!cases) {
    GTEST_SKIP() << "no test data";
  }
  int right = 0;
  for (const json& c : *cases) {
    const std::string text =
        c.contains("schema") ? c["schema"].dump() : c["schema_text"].get<std::string>();
    const auto g = Grammar::from_schema(text);
    const bool compiles = g.has_value();
    EXPECT_EQ(compiles, c["compiles"].get<bool>())
        << name_of(c) << (g ? "" : g.error().subject + g.error().problem);
    right += compiles == c["compiles"].get<bool>() ? 1 : 0;
  }
  fmt::print("{} of {} schemas compile or not as they should\n", right, cases->size());
}

TEST(GrammarData, Gbnf) {
  const auto cases = load_json("gbnf.json");
  if (!cases) {
    GTEST_SKIP() << "no test data";
  }
  int right = 0, all = 0;
  for (const json& c : *cases) {
    const auto g = Grammar::from_gbnf(c["grammar"].get<std::string>());
    ASSERT_TRUE(g) << name_of(c) << ": " << g.error().subject << " " << g.error().problem;
    for (const bool wanted : {true, false}) {
      for (const json& text : c[wanted ? "accepts" : "rejects"]) {
        ++all;
        const bool got = accepted(**g, text.get<std::string>());
        right += got == wanted ? 1 : 0;
        EXPECT_EQ(got, wanted) << name_of(c) << ": " << text;
      }
    }
  }
  fmt::print("{} of {} texts in {} grammars\n", right, all, cases->size());
}

}  // namespace LM_FILE
}  // namespace lm
