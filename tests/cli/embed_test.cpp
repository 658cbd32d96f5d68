// lm embed, and lm run with an embedding model.
#include <cmath>

#include <nlohmann/json.hpp>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

std::string golden_model(const std::string& name) {
  return std::string(LM_SOURCE_DIR) + "/tests/data/golden/arch/" + name + ".gguf";
}

class EmbedCli : public CliTest {};

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> values;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    values.push_back(json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  return values;
}

TEST_F(EmbedCli, OneVectorALineAndOneObjectWithJson) {
  const Finished lines = run({"embed", golden_model("bert"), "first text", "second"});
  EXPECT_CODE(lines, 0);
  const std::vector<json> vectors = lines_of(lines.out);
  ASSERT_EQ(vectors.size(), 2u);
  for (const json& vector : vectors) {
    double squares = 0.0;
    for (const double value : vector.get<std::vector<double>>()) {
      squares += value * value;
    }
    EXPECT_NEAR(squares, 1.0, 1e-4);
  }
  const Finished object = run({"embed", "--json", golden_model("bert"), "first text", "second"});
  EXPECT_CODE(object, 0);
  const json document = json::parse(object.out);
  EXPECT_EQ(document.at("embeddings").at(0), vectors[0]);
  EXPECT_EQ(document.at("embeddings").at(1), vectors[1]);
  for (const char* counter : {"total_duration", "load_duration", "prompt_eval_count"}) {
    EXPECT_GT(document.at(counter).get<std::int64_t>(), 0) << counter;
  }
}

TEST_F(EmbedCli, RunGivesOneArrayAndDimensionsCut) {
  const Finished whole = run({"run", golden_model("bert"), "some words"});
  EXPECT_CODE(whole, 0);
  EXPECT_GT(json::parse(whole.out).size(), 8u);
  const Finished cut = run({"run", "--dimensions", "8", golden_model("bert"), "some words"});
  EXPECT_EQ(json::parse(cut.out).size(), 8u);
}

TEST_F(EmbedCli, LongTextsAreCutWithAWarningOrRefused) {
  const std::string text(2000, 'x');
  const Finished cut = run({"embed", "--ctx", "64", golden_model("bert"), text});
  EXPECT_CODE(cut, 0);
  EXPECT_NE(cut.err.find("Warning: "), std::string::npos) << cut.err;
  const Finished refused =
      run({"embed", "--ctx", "64", "--truncate=false", golden_model("bert"), text});
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("input length exceeds"), std::string::npos) << refused.err;
}

TEST_F(EmbedCli, AModelThatWritesTextIsRefused) {
  const Finished refused = run({"embed", golden_model("llama-gqa"), "x"});
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("no embedding model"), std::string::npos) << refused.err;
  EXPECT_TRUE(refused.out.empty());
}

TEST_F(EmbedCli, ADraftModelChangesNothingInTheAnswer) {
  const std::vector<std::string> tail = {
      "--temp", "0", "--predict", "20", "--plain", golden_model("llama-gqa"), "abc abc"};
  std::vector<std::string> with = {"run", "--draft", golden_model("llama-gqa")};
  with.insert(with.end(), tail.begin(), tail.end());
  std::vector<std::string> without = {"run", "--set", "draft_num_predict=0"};
  without.insert(without.end(), tail.begin(), tail.end());
  environment_["LM_CPU_ISA"] = "baseline";  // the same bits whatever the rows of a step
  const Finished a = run(with);
  const Finished b = run(without);
  EXPECT_CODE(a, 0);
  EXPECT_CODE(b, 0);
  EXPECT_EQ(a.out, b.out);
}

}  // namespace LM_FILE
}  // namespace lm::test
