// lm search and lm update against a hub on the loopback interface.
#include <set>

#include <nlohmann/json.hpp>

#include "tests/cli/cli_test.h"
#include "tests/support/test_hub.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

class UpdateTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    service_ = std::make_unique<TestHub>();
    environment_["HF_ENDPOINT"] = service_->endpoint();
    environment_["LM_OLLAMA_ENDPOINT"] = service_->endpoint();
    model_ = read_file(tiny_model());
    service_->add_file("maker/tiny-GGUF", "tiny-F32.gguf", model_);
  }
  /// The same model in another file: bytes behind the last tensor are allowed.
  std::string newer() const { return model_ + std::string(4096, '\x7f'); }
  json update(std::vector<std::string> arguments, int code = 0) {
    arguments.insert(arguments.begin(), {"update", "--json"});
    const Finished result = run(arguments);
    EXPECT_CODE(result, code);
    return json::parse(result.out, nullptr, false);
  }
  std::string state(const json& document, std::size_t i = 0) {
    return document.at("models").at(i).at("state");
  }
  std::unique_ptr<TestHub> service_;
  std::string model_;
};

TEST_F(UpdateTest, FetchesWhatIsNewer) {
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF"}), 0);
  EXPECT_EQ(state(update({})), "current");
  const std::string old_commit = service_->commit("maker/tiny-GGUF");

  // A commit that leaves the file as it is brings nothing to fetch.
  service_->add_file("maker/tiny-GGUF", "README.md", "hello");
  EXPECT_EQ(state(update({"--check"})), "current");

  service_->add_file("maker/tiny-GGUF", "tiny-F32.gguf", newer());
  service_->clear_log();
  const json checked = update({"--check", "maker/tiny-GGUF"});
  EXPECT_EQ(state(checked), "newer");
  EXPECT_EQ(checked["models"][0]["commit"], old_commit);
  EXPECT_EQ(checked["models"][0]["new_commit"], service_->commit("maker/tiny-GGUF"));
  EXPECT_EQ(checked["models"][0]["new_size"], newer().size());
  EXPECT_EQ(service_->weight_bytes(), 0u) << "--check fetches nothing";
  const Finished text = run({"update", "--check"});
  EXPECT_NE(text.out.find("newer"), std::string::npos) << text.out;

  EXPECT_EQ(state(update({})), "updated");
  EXPECT_EQ(service_->weight_bytes(), newer().size());
  EXPECT_EQ(state(update({})), "current");
  EXPECT_EQ(json::parse(run({"list", "--json"}).out)["models"][0]["size"], newer().size());
  EXPECT_CODE(run({"run", "--predict", "2", "maker/tiny-GGUF", "x"}), 0);
}

TEST_F(UpdateTest, KeepsNamesOfCopies) {
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF"}), 0);
  ASSERT_CODE(run({"cp", "maker/tiny-GGUF", "mine"}), 0);
  service_->add_file("maker/tiny-GGUF", "tiny-F32.gguf", newer());
  EXPECT_EQ(state(update({"mine"})), "updated");
  const json listed = json::parse(run({"list", "--json", "--sort", "name"}).out)["models"];
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0]["size"], model_.size());
  EXPECT_EQ(listed[1]["name"], "mine:latest");
  EXPECT_EQ(listed[1]["size"], newer().size());
}

TEST_F(UpdateTest, LeavesPinnedAndLocalModelsAlone) {
  ASSERT_CODE(run({"pull", "--revision", service_->commit("maker/tiny-GGUF"), "maker/tiny-GGUF"}),
              0);
  create("made-here");
  service_->add_file("maker/tiny-GGUF", "tiny-F32.gguf", newer());
  service_->clear_log();
  const json both = update({});
  ASSERT_EQ(both["models"].size(), 2u);
  EXPECT_EQ(std::set({state(both, 0), state(both, 1)}), std::set<std::string>({"local", "pinned"}));
  EXPECT_TRUE(service_->log().empty()) << "nobody was asked";
  const Finished local = run({"update", "made-here"});
  EXPECT_CODE(local, 1);
  EXPECT_EQ(error_lines(local.err).size(), 1u) << local.err;
  EXPECT_CODE(run({"update", "not-here"}), 1);
}

TEST_F(UpdateTest, OneThatFailsDoesNotStopTheOthers) {
  service_->add_file("maker/second-GGUF", "second-F32.gguf", newer());
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF", "maker/second-GGUF"}), 0);
  service_->set_private("maker/second-GGUF");
  service_->add_file("maker/tiny-GGUF", "tiny-F32.gguf", newer());
  const Finished result = run({"update", "--json"});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(error_lines(result.err).size(), 1u) << result.err;
  std::set<std::string> states;
  const json document = json::parse(result.out);
  for (const json& entry : document["models"]) {
    states.insert(entry["state"].get<std::string>());
  }
  EXPECT_EQ(states, std::set<std::string>({"failed", "updated"}));
}

TEST_F(UpdateTest, AsksRegistriesAndNobodyWhenOffline) {
  service_->add_registry_model("library/tiny", "1b", {{"model", model_}, {"system", "one"}});
  ASSERT_CODE(run({"pull", "ollama.com/library/tiny:1b"}), 0);
  EXPECT_EQ(state(update({})), "current");
  service_->add_registry_model("library/tiny", "1b", {{"model", model_}, {"system", "two"}});
  EXPECT_EQ(state(update({"--check"})), "newer");
  EXPECT_EQ(state(update({})), "updated");
  EXPECT_EQ(run({"show", "--system", "ollama.com/library/tiny:1b"}).out, "two\n");
  environment_["LM_OFFLINE"] = "1";
  service_->clear_log();
  const Finished offline = run({"update"});
  EXPECT_CODE(offline, 1);
  EXPECT_NE(offline.err.find("LM_OFFLINE"), std::string::npos) << offline.err;
  EXPECT_TRUE(service_->log().empty());
}

TEST_F(UpdateTest, SearchPrintsWhatCanBePulled) {
  service_->add_file("other/tiny-big-GGUF", "x-Q4_0.gguf", "x");
  service_->set_downloads("other/tiny-big-GGUF", 12345);
  const Finished text = run({"search", "tiny"});
  ASSERT_CODE(text, 0);
  EXPECT_LT(text.out.find("hf.co/other/tiny-big-GGUF"), text.out.find("hf.co/maker/tiny-GGUF"));
  EXPECT_NE(text.out.find("12345"), std::string::npos);
  const json found = json::parse(run({"search", "--json", "--limit", "1", "tiny"}).out);
  ASSERT_EQ(found["models"].size(), 1u);
  EXPECT_EQ(found["models"][0]["name"], "hf.co/other/tiny-big-GGUF");
  ASSERT_CODE(run({"pull", "hf.co/maker/tiny-GGUF"}), 0);
  const Finished none = run({"search", "nothing", "like", "it"});
  EXPECT_CODE(none, 0);
  EXPECT_EQ(line_count(none.out), 1u) << "the header";
  EXPECT_CODE(run({"search"}), 2);
  EXPECT_CODE(run({"search", "--limit", "0", "x"}), 2);
  EXPECT_CODE(run({"search", "--limit", "1000", "x"}), 2);
  service_->add_fault({.kind = Fault::Kind::status,
                       .times = 1,
                       .cdn = false,
                       .status = 200,
                       .body = R"([{"id":"a/b\u001b]0;x"},{"id":"a/c","lastModified":"\u001b"}])"});
  const Finished hostile = run({"search", "x"});
  ASSERT_CODE(hostile, 0);
  EXPECT_FALSE(has_control_bytes(hostile.out)) << hostile.out;
  environment_["LM_OFFLINE"] = "1";
  EXPECT_CODE(run({"search", "x"}), 1);
}

}  // namespace LM_FILE
}  // namespace lm::test
