// Every keyword by cases of our own: texts that are allowed, texts that are not, and the keywords
// that are refused by name. The same schemas go to an independent validator
// (scripts/check-grammar).
#include <fstream>
#include <set>
#include <string>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/grammar/grammar.h"
#include "tests/grammar/refusals.h"

namespace lm {
namespace LM_FILE {

using grammar::Grammar;
using nlohmann::json;

TEST(SchemaCases, EveryKeywordIsEnforcedOrRefusedByName) {
  std::ifstream in(std::string(LM_SOURCE_DIR) + "/tests/grammar/schema_cases.json");
  const json cases = json::parse(in);
  const auto listed = test::listed_refusals();
  std::set<std::string> refused;
  int texts = 0;
  for (const json& c : cases) {
    const std::string name = c["name"];
    const auto g = Grammar::from_schema(c["schema"].dump());
    ASSERT_TRUE(g) << name << ": " << g.error().subject << " " << g.error().problem;
    const auto& warnings = (*g)->warnings();
    if (c.contains("refused")) {
      ASSERT_EQ(warnings.size(), 1u) << name;
      EXPECT_EQ(warnings[0].pointer, c["pointer"].get<std::string>()) << name;
      EXPECT_EQ(test::refused_keyword(c["schema"], warnings[0].pointer),
                c["refused"].get<std::string>());
      EXPECT_TRUE(listed.contains(c["refused"].get<std::string>()))
          << name << ": the README does not name it";
      refused.insert(c["refused"].get<std::string>());
      continue;
    }
    EXPECT_TRUE(warnings.empty()) << name << ": " << warnings[0].pointer << " "
                                  << warnings[0].problem;
    for (const bool wanted : {true, false}) {
      for (const json& text : c[wanted ? "accepts" : "rejects"]) {
        ++texts;
        const auto got = (*g)->accepts(text.get<std::string>());
        ASSERT_TRUE(got) << name << ": " << got.error().problem;
        EXPECT_EQ(*got, wanted) << name << ": " << text;
      }
    }
  }
  for (const auto& [keyword, schemas] : listed) {
    EXPECT_TRUE(refused.contains(keyword)) << keyword << " is in the README and has no case";
  }
  fmt::print("{} schemas, {} texts, {} keywords refused by name\n", cases.size(), texts,
             refused.size());
}

}  // namespace LM_FILE
}  // namespace lm
