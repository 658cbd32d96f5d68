// lm debug grammar: 0 allowed, 1 not, 2 not compilable; lm run --format.
#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class DebugGrammar : public CliTest {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    write_file(path, text);
    return path.string();
  }
};

TEST_F(DebugGrammar, ExitCodesOfASchema) {
  const std::string schema = file("s.json", R"({"type":"integer","minimum":3})");
  EXPECT_CODE(run({"debug", "grammar", "--schema", schema, "5"}), 0);
  EXPECT_CODE(run({"debug", "grammar", "--schema", schema, "2"}), 1);
  EXPECT_CODE(run({"debug", "grammar", "--schema", schema, ""}), 1);
  EXPECT_CODE(run({"debug", "grammar", "--schema", schema, "-"}, {.input = "7"}), 0);
  EXPECT_CODE(run({"debug", "grammar", "--schema", schema}), 0);
}

TEST_F(DebugGrammar, ExitCodesOfAGrammar) {
  const std::string gbnf = file("g.gbnf", "root ::= \"a\"+");
  EXPECT_CODE(run({"debug", "grammar", "--gbnf", gbnf, "aaa"}), 0);
  EXPECT_CODE(run({"debug", "grammar", "--gbnf", gbnf, "ab"}), 1);
  const Finished bad =
      run({"debug", "grammar", "--gbnf", file("b.gbnf", "root ::= root \"a\""), "a"});
  EXPECT_CODE(bad, 2);
  EXPECT_NE(bad.err.find("left-recursive"), std::string::npos) << bad.err;
}

TEST_F(DebugGrammar, WhatCanNotBeCompiledIsNamed) {
  for (const auto& [text, pointer] : std::vector<std::pair<std::string, std::string>>{
           {R"({"properties":{"a":{"extends":{}}}})", "#/properties/a/extends"},
           {R"({"items":{"type":"kaboom"}})", "#/items/type"},
           {R"({"$ref":"https://example.com/x"})", "#/$ref"}}) {
    const Finished result = run({"debug", "grammar", "--schema", file("s.json", text), "1"});
    EXPECT_CODE(result, 2);
    EXPECT_NE(result.err.find(pointer), std::string::npos) << result.err;
  }
  EXPECT_CODE(run({"debug", "grammar", "--schema", "/nowhere/s.json", "1"}), 2);
  EXPECT_CODE(run({"debug", "grammar", "1"}), 2);
}

TEST_F(DebugGrammar, RunKeepsToAFormat) {
  const std::string model = (golden_data() / "arch" / "llama-gqa.gguf").string();
  const std::vector<std::string> common = {"run",    model, "--raw",     "--temp", "2",
                                           "--seed", "3",   "--predict", "200",    "--format"};
  auto words = common;
  words.insert(words.end(), {R"({"enum":["left","right"]})", "x"});
  const Finished answer = run(words);
  EXPECT_CODE(answer, 0);
  const nlohmann::json word = nlohmann::json::parse(answer.out, nullptr, false);
  EXPECT_TRUE(word == "left" || word == "right") << answer.out;
  words = common;
  words.insert(words.end(), {file("s.json", R"({"const":[true]})"), "x"});
  const Finished from_file = run(words);
  EXPECT_CODE(from_file, 0);
  EXPECT_EQ(nlohmann::json::parse(from_file.out), nlohmann::json::parse("[true]"));
  words = common;
  words.insert(words.end(), {R"({"type":"kaboom"})", "x"});
  const Finished refused = run(words);
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("#/type"), std::string::npos) << refused.err;
}

}  // namespace LM_FILE
}  // namespace lm::test
