// Cases from outside: the JSON schema test suite and llama.cpp's grammars, through the automaton
// that masks decoding. A text may be refused by a schema that lm does not enforce in full (its
// warning says which keyword), for at most one schema in ten; texts to reject are never accepted
// by a schema that is enforced.
#include <fstream>
#include <optional>
#include <string>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/grammar/grammar.h"
#include "tests/support/test_data.h"

namespace lm {
namespace {

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

struct Counts {
  int schemas = 0, refused = 0, accepts = 0, reached = 0, rejects = 0, kept_out = 0;
};

TEST(GrammarData, SchemaSuite) {
  const auto cases = load_json("schemas.json");
  if (!cases) {
    GTEST_SKIP() << "no test data";
  }
  Counts n;
  // The suite's format.json wants formats not to be checked, its format/ folder wants them checked:
  // lm checks. These texts are the former's, and invalid for their format.
  int contradicted = 0;
  for (const json& c : *cases) {
    ++n.schemas;
    const auto g = Grammar::from_schema(c["schema"].dump());
    ASSERT_TRUE(g) << name_of(c) << ": " << g.error().subject << " " << g.error().problem;
    const bool enforced = (*g)->warnings().empty();
    n.refused += enforced ? 0 : 1;
    if (!enforced) {
      fmt::print("not enforced: {}: {} {}\n", name_of(c), (*g)->warnings()[0].pointer,
                 (*g)->warnings()[0].problem);
    }
    for (const json& text : c["accepts"]) {
      ++n.accepts;
      const bool reached = accepted(**g, text.get<std::string>());
      n.reached += reached ? 1 : 0;
      if (!reached && name_of(c).starts_with("format: ")) {
        ++contradicted;
      } else {
        EXPECT_TRUE(reached || !enforced) << name_of(c) << ": can't reach " << text;
      }
    }
    for (const json& text : c["rejects"]) {
      ++n.rejects;
      const bool out = !accepted(**g, text.get<std::string>());
      n.kept_out += out ? 1 : 0;
      EXPECT_TRUE(out || !enforced) << name_of(c) << ": lets through " << text;
    }
  }
  fmt::print(
      "{} schemas, {} not fully enforced; accepts {} of {} ({} contradicted by format/); "
      "rejects {} of {}\n",
      n.schemas, n.refused, n.reached, n.accepts, contradicted, n.kept_out, n.rejects);
  EXPECT_LE(n.refused * 10, n.schemas);
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

}  // namespace
}  // namespace lm
