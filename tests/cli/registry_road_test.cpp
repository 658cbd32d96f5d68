// From a registry's tag to an answer, as a user sees it.
#include <nlohmann/json.hpp>

#include "tests/cli/cli_test.h"
#include "tests/support/test_hub.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

/// The model with a chat template of its own as first key; as long as whole blocks of alignment, so
/// that the tensors stay where they are.
std::string with_template(std::string model, std::string source) {
  const auto number = [](std::uint64_t value, std::size_t bytes) {
    return std::string(reinterpret_cast<const char*>(&value), bytes);
  };
  const std::string key = "tokenizer.chat_template";
  constexpr std::size_t kHeader = 24, kAlignment = 32;
  const std::size_t fixed = 8 + key.size() + 4 + 8;
  source.resize((fixed + source.size() + kAlignment - 1) / kAlignment * kAlignment - fixed, ' ');
  ++model[kHeader - 8];
  model.insert(kHeader,
               number(key.size(), 8) + key + number(8, 4) + number(source.size(), 8) + source);
  return model;
}

class RegistryRoad : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    registry_ = std::make_unique<TestHub>(TestHub::Options{.registry_token = "t"});
    environment_["LM_OLLAMA_ENDPOINT"] = registry_->endpoint();
  }
  std::unique_ptr<TestHub> registry_;
};

TEST_F(RegistryRoad, PullShowRun) {
  registry_->add_registry_model(
      "library/tiny", "latest",
      {{"model", read_file(tiny_model())},
       {"template", "{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}"},
       {"system", "Once upon a time"},
       {"params", R"({"temperature":0,"num_predict":4,"stop":["<end>"],"num_gqa":8})"},
       {"license", "do what you like"}});
  const Finished pulled = run({"pull", "ollama.com/library/tiny"});
  ASSERT_CODE(pulled, 0);
  EXPECT_NE(pulled.err.find("success"), std::string::npos) << pulled.err;
  EXPECT_NE(pulled.err.find("num_gqa"), std::string::npos) << pulled.err;
  EXPECT_EQ(run({"list", "-q"}).out, "ollama.com/library/tiny:latest\n");

  const json shown = json::parse(run({"show", "--json", "ollama.com/library/tiny"}).out);
  EXPECT_EQ(shown.at("system"), "Once upon a time");
  EXPECT_EQ(shown.at("license"), "do what you like");
  EXPECT_NE(shown.at("template").get<std::string>().find(".Prompt"), std::string::npos);
  EXPECT_NE(shown.at("parameters").get<std::string>().find("num_predict"), std::string::npos);

  // The parameters are the model's defaults, the template and the system message its prompt.
  const Finished answer = run({"run", "ollama.com/library/tiny", "there was"});
  ASSERT_CODE(answer, 0);
  const Finished by_hand = run({"run", "--raw", "--temp", "0", "--predict", "4", "--stop", "<end>",
                                tiny_model().string(), "Once upon a time there was"});
  ASSERT_CODE(by_hand, 0);
  EXPECT_EQ(answer.out, by_hand.out);
  EXPECT_NE(answer.out, run({"run", "--predict", "9", "ollama.com/library/tiny", "there was"}).out);

  const Finished again = run({"pull", "ollama.com/library/tiny:latest"});
  EXPECT_CODE(again, 0);
  EXPECT_NE(again.err.find("up to date"), std::string::npos) << again.err;
  ASSERT_CODE(run({"rm", "ollama.com/library/tiny"}), 0);
  EXPECT_EQ(run({"list", "-q"}).out, "");
}

TEST_F(RegistryRoad, ShowSaysWhichTemplateIsUsed) {
  registry_->add_registry_model(
      "library/own", "latest",
      {{"model", with_template(read_file(tiny_model()), "JINJA {{ messages[0].content }}")},
       {"template", "GO {{ .Prompt }}"}});
  ASSERT_CODE(run({"pull", "ollama.com/library/own"}), 0);
  const Finished shown = run({"show", "ollama.com/library/own"});
  EXPECT_NE(shown.out.find("Go template is kept, not used"), std::string::npos) << shown.out;
  EXPECT_TRUE(run({"show", "--template", "ollama.com/library/own"}).out.starts_with("JINJA {{"));
  EXPECT_EQ(
      json::parse(run({"show", "--json", "ollama.com/library/own"}).out).at("registry_template"),
      "GO {{ .Prompt }}");
}

TEST_F(RegistryRoad, FailuresAreOneLineAndLeaveNothing) {
  const Finished missing = run({"pull", "ollama.com/library/none:7b"});
  EXPECT_CODE(missing, 1);
  EXPECT_EQ(error_lines(missing.err).size(), 1u) << missing.err;
  EXPECT_NE(missing.err.find("library/none:7b"), std::string::npos) << missing.err;
  registry_->add_registry_model("library/bad", "latest",
                                {{"model", "GGUF" + std::string(2000, 'x')}});
  const Finished bad = run({"pull", "ollama.com/library/bad"});
  EXPECT_CODE(bad, 1);
  EXPECT_EQ(error_lines(bad.err).size(), 1u) << bad.err;
  EXPECT_EQ(run({"list", "-q"}).out, "");
  EXPECT_CODE(run({"pull", "ollama.com/library"}), 2);
}

}  // namespace LM_FILE
}  // namespace lm::test
