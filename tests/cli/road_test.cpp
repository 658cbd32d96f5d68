// The whole road against a hub on the loopback interface: pull, list, show, run, cp, rm.
#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

class Road : public CliTest {
 protected:
  /// A repository with one file of a real (or else golden) model.
  void SetUp() override {
    CliTest::SetUp();
    const fs::path real = shared_data() / "models" / "stories260K-q8_0.gguf";
    source_ = fs::exists(real) ? real : golden_data() / "quant" / "Q8_0.gguf";
    add("maker/tiny-GGUF", "tiny-Q8_0.gguf", source_);
  }

  void add(const std::string& repo, const std::string& name, const fs::path& source) {
    fs::create_directories(root() / repo);
    fs::copy_file(source, root() / repo / name);
  }
  fs::path root() const { return folder_ / "hub"; }

  fs::path source_;
};

TEST_F(Road, PullListShowRunCopyRemove) {
  start_hub(root());
  const Finished pulled = run({"pull", "hf.co/maker/tiny-GGUF:Q8_0"});
  ASSERT_CODE(pulled, 0);
  EXPECT_EQ(pulled.out, "");
  EXPECT_EQ(pulled.err.find('\x1b'), std::string::npos);
  EXPECT_NE(pulled.err.find("100%"), std::string::npos) << pulled.err;
  EXPECT_NE(pulled.err.find("success"), std::string::npos) << pulled.err;

  const json listed = json::parse(run({"list", "--json"}).out).at("models").at(0);
  EXPECT_EQ(listed.at("name"), "hf.co/maker/tiny-GGUF:Q8_0");
  EXPECT_EQ(listed.at("size"), fs::file_size(source_));
  EXPECT_EQ(listed.at("details").at("family"), "llama");
  EXPECT_EQ(listed.at("details").at("quantization_level"), "Q8_0");

  EXPECT_EQ(run({"show", "hf.co/maker/tiny-GGUF:Q8_0"}).out.find("Error"), std::string::npos);
  const std::vector<std::string> question{
      "run", "--temp", "0", "--predict", "16", "hf.co/maker/tiny-GGUF:Q8_0", "One day"};
  const Finished answered = run(question);
  ASSERT_CODE(answered, 0);
  std::vector<std::string> in_place = question;
  in_place[5] = source_.string();
  EXPECT_EQ(answered.out, run(in_place).out);

  ASSERT_CODE(run({"cp", "hf.co/maker/tiny-GGUF:Q8_0", "mine"}), 0);
  ASSERT_CODE(run({"rm", "hf.co/maker/tiny-GGUF:Q8_0"}), 0);
  EXPECT_EQ(run({"list", "-q"}).out, "mine:latest\n");
  std::vector<std::string> copied = question;
  copied[5] = "mine";
  EXPECT_EQ(run(copied).out, answered.out);
  ASSERT_CODE(run({"rm", "mine"}), 0);
  EXPECT_EQ(run({"list"}).out, "NAME    ID    SIZE    MODIFIED\n");
}

TEST_F(Road, RunPullsWhatIsNotHere) {
  start_hub(root());
  const Finished first =
      run({"run", "--temp", "0", "--predict", "4", "maker/tiny-GGUF:Q8_0", "One day"});
  ASSERT_CODE(first, 0);
  EXPECT_NE(first.err.find("success"), std::string::npos);
  const Finished second =
      run({"run", "--temp", "0", "--predict", "4", "maker/tiny-GGUF:Q8_0", "One day"});
  EXPECT_EQ(second.out, first.out);
  EXPECT_EQ(second.err, "");
  hub_.reset();
  EXPECT_CODE(run({"run", "--predict", "4", "maker/tiny-GGUF:Q8_0", "One day"}), 0)
      << "no hub is needed any more";
  EXPECT_CODE(run({"run", "--no-pull", "maker/other-GGUF", "One day"}), 1);
}

TEST_F(Road, ARepositoryThatIsHereIsRunWithoutTheHub) {
  add("maker/tiny-GGUF", "tiny-F32.gguf", tiny_model());
  start_hub(root());
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF:F32"}), 0);
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF:Q8_0"}), 0);
  const std::string so_far = read_file(hub_log());
  const auto ask = [this](const std::string& name) {
    return run({"run", "--temp", "0", "--predict", "4", name, "One day"});
  };
  const Finished q8 = ask("hf.co/maker/tiny-GGUF:Q8_0");
  for (const char* name : {"hf.co/maker/tiny-GGUF", "maker/tiny-GGUF", "hf.co/Maker/Tiny-gguf",
                           "hf.co/maker/tiny-GGUF:latest"}) {
    SCOPED_TRACE(name);
    const Finished answered = ask(name);
    EXPECT_CODE(answered, 0);
    EXPECT_EQ(answered.out, q8.out) << "the quant that a pull without a tag would have taken";
    EXPECT_EQ(answered.err, "");
  }
  EXPECT_EQ(read_file(hub_log()), so_far) << "nobody asked the hub";
  // Which of several is to go must be said.
  EXPECT_CODE(run({"rm", "maker/tiny-GGUF"}), 1);
  EXPECT_EQ(line_count(run({"list", "-q"}).out), 2u);
}

TEST_F(Road, ARepositoryWithoutATagMeansItsOnlyQuantHere) {
  start_hub(root());
  ASSERT_CODE(run({"pull", "hf.co/maker/tiny-GGUF"}), 0);
  EXPECT_CODE(run({"show", "hf.co/maker/tiny-GGUF"}), 0);
  EXPECT_CODE(run({"show", "maker/tiny-GGUF"}), 0);
  ASSERT_CODE(run({"cp", "hf.co/maker/tiny-GGUF", "mine"}), 0);
  ASSERT_CODE(run({"rm", "hf.co/maker/tiny-GGUF"}), 0);
  EXPECT_EQ(run({"list", "-q"}).out, "mine:latest\n");
  EXPECT_CODE(run({"rm", "hf.co/maker/tiny-GGUF"}), 1);
}

TEST_F(Road, PullAgainSaysThatItIsCurrent) {
  start_hub(root());
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF"}), 0);
  const Finished again = run({"pull", "maker/tiny-GGUF"});
  EXPECT_CODE(again, 0);
  EXPECT_NE(again.err.find("up to date"), std::string::npos) << again.err;
}

TEST_F(Road, DryRunFetchesNothing) {
  start_hub(root());
  const Finished text = run({"pull", "--dry-run", "maker/tiny-GGUF"});
  EXPECT_CODE(text, 0);
  EXPECT_NE(text.out.find("tiny-Q8_0.gguf"), std::string::npos) << text.out;
  const json object = json::parse(
      run({"pull", "--dry-run", "--json", "maker/tiny-GGUF"})
          .out.substr(
              run({"pull", "--dry-run", "--json", "maker/tiny-GGUF"}).out.rfind("{\"name\"")));
  EXPECT_EQ(object.at("total"), fs::file_size(source_));
  EXPECT_EQ(object.at("files"), json({"tiny-Q8_0.gguf"}));
  EXPECT_EQ(run({"list", "-q"}).out, "");
}

TEST_F(Road, JsonFramesEndWithSuccess) {
  start_hub(root());
  const Finished result = run({"pull", "--json", "maker/tiny-GGUF"});
  ASSERT_CODE(result, 0);
  std::istringstream lines(result.out);
  std::vector<json> frames;
  for (std::string line; std::getline(lines, line);) {
    frames.push_back(json::parse(line));
  }
  ASSERT_GE(frames.size(), 3u);
  EXPECT_EQ(frames.back().at("status"), "success");
  std::uint64_t before = 0;
  for (const json& frame : frames) {
    if (frame.contains("completed")) {
      EXPECT_GE(frame.at("completed").get<std::uint64_t>(), before);
      before = frame.at("completed");
      EXPECT_EQ(frame.at("total"), fs::file_size(source_));
      EXPECT_TRUE(frame.at("digest").get<std::string>().starts_with("sha256:"));
    }
  }
  EXPECT_EQ(before, fs::file_size(source_));
}

TEST_F(Road, TheBarNeverGoesBackwards) {
  start_hub(root(), {"--throttle", "300000"});
  environment_["TERM"] = "xterm-256color";
  Terminal terminal(command({"pull", "maker/tiny-GGUF"}), environment_);
  EXPECT_EQ(terminal.wait(), 0);
  int before = 0, drawn = 0;
  const std::string& screen = terminal.screen();
  for (std::size_t at = screen.find("%"); at != std::string::npos; at = screen.find("%", at + 1)) {
    const int percent = std::stoi(screen.substr(at - 3, 3));
    EXPECT_GE(percent, before);
    before = percent;
    ++drawn;
  }
  EXPECT_EQ(before, 100);
  EXPECT_GE(drawn, 2);
  EXPECT_NE(screen.find("▕"), std::string::npos);
  environment_["NO_COLOR"] = "1";
  ASSERT_CODE(run({"rm", "maker/tiny-GGUF:Q8_0"}), 0);
  Terminal plain(command({"pull", "maker/tiny-GGUF"}), environment_);
  EXPECT_EQ(plain.wait(), 0);
  EXPECT_EQ(plain.screen().find('\x1b'), std::string::npos) << plain.screen();
}

TEST_F(Road, SeveralModelsAtOnce) {
  add("maker/second-GGUF", "second-F32.gguf", tiny_model());
  start_hub(root());
  EXPECT_CODE(run({"pull", "maker/tiny-GGUF", "maker/second-GGUF"}), 0);
  EXPECT_EQ(line_count(run({"list", "-q"}).out), 2u);
  const Finished half = run({"pull", "maker/tiny-GGUF", "maker/nothing-GGUF"});
  EXPECT_CODE(half, 1);
  EXPECT_NE(half.err.find("maker/nothing-GGUF"), std::string::npos) << half.err;
  EXPECT_EQ(line_count(run({"list", "-q"}).out), 2u);
}

TEST_F(Road, AGatedRepositoryWantsTheToken) {
  start_hub(root(),
            {"--gated", "maker/tiny-GGUF", "--token", "hf_goodgoodgoodgoodgoodgoodgoodgoodgood"});
  const Finished without = run({"pull", "maker/tiny-GGUF"});
  EXPECT_CODE(without, 1);
  EXPECT_EQ(error_lines(without.err).size(), 1u) << without.err;
  EXPECT_NE(without.err.find("HF_TOKEN"), std::string::npos) << without.err;
  environment_["HF_TOKEN"] = "hf_badbadbadbadbadbadbadbadbadbadbadbadbad";
  const Finished wrong = run({"pull", "maker/tiny-GGUF"});
  EXPECT_CODE(wrong, 1);
  EXPECT_EQ(wrong.err.find("hf_badbad"), std::string::npos) << "the token itself is never shown";
  environment_["HF_TOKEN"] = "hf_goodgoodgoodgoodgoodgoodgoodgoodgood";
  EXPECT_CODE(run({"pull", "maker/tiny-GGUF"}), 0);
}

TEST_F(Road, OfflineOpensNoConnection) {
  start_hub(root());
  environment_["LM_OFFLINE"] = "1";
  const Finished result = run({"pull", "maker/tiny-GGUF"});
  EXPECT_CODE(result, 1);
  EXPECT_NE(result.err.find("LM_OFFLINE"), std::string::npos) << result.err;
  EXPECT_EQ(read_file(hub_log()), "");
}

TEST_F(Road, ABadModelIsRefusedBeforeItIsListed) {
  write_file(root() / "maker/bad-GGUF/bad-Q8_0.gguf", "GGUF" + std::string(2000, 'x'));
  start_hub(root());
  const Finished result = run({"pull", "maker/bad-GGUF"});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(error_lines(result.err).size(), 1u) << result.err;
  EXPECT_EQ(run({"list", "-q"}).out, "");
}

TEST_F(Road, UnknownShortNamesGetThreeNearOnes) {
  start_hub(root());
  const Finished result = run({"pull", "lama3.1:8b"});
  EXPECT_CODE(result, 1);
  EXPECT_NE(result.err.find("llama3.1:8b"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("hf.co/"), std::string::npos) << result.err;
}

}  // namespace LM_FILE
}  // namespace lm::test
