// Help, version, exit codes, the table of commands.
#include <fmt/format.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class Basics : public CliTest {};

const std::vector<std::vector<std::string>> kCommands{{"run"},
                                                      {"pull"},
                                                      {"list"},
                                                      {"ls"},
                                                      {"show"},
                                                      {"rm"},
                                                      {"cp"},
                                                      {"create"},
                                                      {"env"},
                                                      {"bench"},
                                                      {"debug"},
                                                      {"version"},
                                                      {"help"},
                                                      {"debug", "tokenize"},
                                                      {"debug", "detokenize"},
                                                      {"debug", "render"},
                                                      {"debug", "logits"},
                                                      {"debug", "tensor"}};

TEST_F(Basics, VersionHasThreeSpellings) {
  for (const char* spelling : {"version", "-v", "--version"}) {
    const Finished result = run({spelling});
    EXPECT_CODE(result, 0);
    EXPECT_TRUE(result.out.starts_with("lm version ")) << result.out;
    EXPECT_EQ(line_count(result.out), 1u);
    EXPECT_EQ(result.err, "");
  }
  const auto json = nlohmann::json::parse(run({"version", "--json"}).out);
  EXPECT_EQ("lm version " + json.at("version").get<std::string>() + "\n", run({"version"}).out);
}

TEST_F(Basics, EveryCommandHasHelpOnStdout) {
  for (std::vector<std::string> words : kCommands) {
    const std::string name = words.back();
    words.emplace_back("--help");
    const Finished result = run(words);
    EXPECT_CODE(result, 0);
    EXPECT_NE(result.out.find("Usage: lm "), std::string::npos) << name;
    EXPECT_EQ(result.err, "") << name;
    EXPECT_FALSE(has_control_bytes(result.out)) << name;
  }
}

TEST_F(Basics, OverviewListsEveryCommandOfTheTable) {
  const std::string overview = run({"--help"}).out;
  EXPECT_EQ(run({}).out, overview);
  EXPECT_EQ(run({"help"}).out, overview);
  std::istringstream rows(run({"help", "--markdown"}).out);
  std::size_t n = 0;
  for (std::string row; std::getline(rows, row);) {
    if (!row.starts_with("| `lm ")) {
      continue;
    }
    ++n;
    const std::string name = row.substr(6, row.find_first_of(" `", 6) - 6);
    EXPECT_NE(overview.find("\n  " + name), std::string::npos) << name;
    EXPECT_EQ(run({"help", name}).out, run({name, "--help"}).out) << name;
  }
  EXPECT_GE(n, 12u);
}

TEST_F(Basics, ReadmeShowsTheTableOfCommands) {
  const fs::path readme = fs::path(LM_SOURCE_DIR) / "README.md";
  EXPECT_NE(read_file(readme).find(run({"help", "--markdown"}).out), std::string::npos)
      << "README.md must hold the output of: lm help --markdown";
}

TEST_F(Basics, WrongUsageEndsWithTwoAndOneLine) {
  const std::vector<std::vector<std::string>> cases{
      {"frobnicate"},
      {"--frobnicate"},
      {"push", "x"},
      {"help", "frobnicate"},
      {"run"},
      {"run", "--temp"},
      {"run", "m", "--temp", "warm"},
      {"run", "m", "--temp", "-3"},
      {"run", "m", "--top-p", "7"},
      {"run", "m", "--seed", "1.5"},
      {"run", "m", "--ctx", "-1"},
      {"run", "m", "--ctx", "99999999999"},
      {"run", "m", "--set", "temperature"},
      {"run", "m", "--set", "warmth=3"},
      {"run", "m", "--think=deep", "x"},
      {"run", "m", "--truncate=perhaps", "x"},
      {"run", "m", "--keepalive", "soon", "x"},
      {"run", "m", "--kv-type", "q3", "x"},
      {"run", "m", "--backend", "gpu", "x"},
      {"run", "m", "--backend", "cuda:x", "x"},
      {"pull"},
      {"pull", "m", "--connections", "17"},
      {"pull", "m", "--limit-rate", "fast"},
      {"list", "a", "b"},
      {"list", "--sort", "colour"},
      {"show"},
      {"show", "m", "--license", "--system"},
      {"show", "m", "--json=perhaps"},
      {"rm"},
      {"cp", "a"},
      {"cp", "a", "b", "c"},
      {"create"},
      {"bench"},
      {"bench", "m", "-r", "0"},
      {"debug"},
      {"debug", "frobnicate"},
      {"debug", "logits", "m"},
      {"debug", "logits", "m", "--ids", "1", "--kv-type", "float"},
      {"debug", "render"},
      {"debug", "render", "m", "--template", "t"},
      {"debug", "tensor", "m"},
  };
  for (const auto& words : cases) {
    const Finished result = run(words);
    EXPECT_CODE(result, 2);
    EXPECT_EQ(result.out, "") << fmt::format("{}", fmt::join(words, " "));
    EXPECT_EQ(line_count(result.err), 1u) << result.err;
    EXPECT_EQ(error_lines(result.err).size(), 1u) << result.err;
  }
}

TEST_F(Basics, ModelNamesThatBreakTheGrammarAreWrongUsage) {
  const std::vector<std::string> names{
      "a b",  "m:",      "/m", "a//b", "..",          "../x",    "a:b:c",   "m@main",
      "a\\b", "a%2fb",   "-",  "m\n",  "\x1b[31mred", "ünïcode", ".hidden", std::string(300, 'a'),
      "",     "a/../b:c"};
  for (const std::string& name : names) {
    for (const std::vector<std::string>& head :
         {std::vector<std::string>{"show"}, {"rm"}, {"pull"}, {"cp", "x"}, {"run", "--no-pull"}}) {
      std::vector<std::string> words = head;
      words.emplace_back("--");
      words.push_back(name);
      const Finished result = run(words);
      EXPECT_CODE(result, 2);
      EXPECT_EQ(line_count(result.err), 1u) << result.err;
      EXPECT_FALSE(has_control_bytes(result.err)) << result.err;
    }
  }
}

TEST_F(Basics, FullDiskOnStdoutIsAnError) {
  const Finished result = run({"env"}, {.stdout_path = "/dev/full"});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(error_lines(result.err).size(), 1u) << result.err;
  EXPECT_NE(result.err.find("standard output"), std::string::npos);
}

TEST_F(Basics, ClosedReaderEndsQuietly) {
  const std::string lm = std::string(LM_BINARY_DIR) + "/lm";
  // The reader is gone before the first byte is written; bash gives the exit code of the left side.
  const Finished result = run_process(
      {"/bin/bash", "-c", "( sleep 0.3; " + lm + " env; echo code $? >&2 ) | true"}, environment_);
  EXPECT_EQ(result.err, "code 0\n");
}

TEST_F(Basics, EnvNamesValueAndSource) {
  environment_["LM_CONTEXT_LENGTH"] = " '2048' ";
  environment_["OLLAMA_CONTEXT_LENGTH"] = "1024";
  environment_["OLLAMA_KV_CACHE_TYPE"] = "q8_0";
  environment_["HF_TOKEN"] = "hf_secretsecretsecretsecretsecretsecret";
  const Finished result = run({"env", "--json"});
  ASSERT_CODE(result, 0);
  std::map<std::string, std::pair<std::string, std::string>> settings;
  const auto document = nlohmann::json::parse(result.out);
  for (const auto& row : document.at("settings")) {
    settings[row.at("name")] = {row.at("value"), row.at("source")};
  }
  EXPECT_EQ(settings.at("LM_CONTEXT_LENGTH"),
            std::make_pair(std::string("2048"), std::string("LM_CONTEXT_LENGTH")));
  EXPECT_EQ(settings.at("LM_KV_CACHE_TYPE"),
            std::make_pair(std::string("q8_0"), std::string("OLLAMA_KV_CACHE_TYPE")));
  EXPECT_EQ(settings.at("LM_BACKEND").second, "default");
  EXPECT_EQ(settings.at("HF_TOKEN").first, "***");
  EXPECT_EQ((result.out + run({"env"}).out).find("secretsecret"), std::string::npos);
}

TEST_F(Basics, MalformedVariablesAreNamed) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"LM_CONTEXT_LENGTH", "many"}, {"OLLAMA_CONTEXT_LENGTH", "-4"}, {"LM_KV_CACHE_TYPE", "f8"},
      {"LM_BACKEND", "gpu"},         {"LM_CPU_ISA", "sse"},           {"LM_HOME", "relative/path"},
      {"LM_NOHISTORY", "maybe"}};
  for (const auto& [name, value] : cases) {
    const Environment before = environment_;
    environment_[name] = value;
    const Finished result = run({"env"});
    EXPECT_CODE(result, 1);
    EXPECT_NE(result.err.find(name), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(value), std::string::npos) << result.err;
    EXPECT_EQ(line_count(result.err), 1u) << result.err;
    environment_ = before;
  }
}

TEST_F(Basics, ASettingThatACommandNeedsStopsIt) {
  environment_["LM_CONTEXT_LENGTH"] = "many";
  EXPECT_CODE(run({"list"}), 0);  // does not need it
  const Finished result = run({"run", tiny_model().string(), "x"});
  EXPECT_CODE(result, 1);
  EXPECT_NE(result.err.find("LM_CONTEXT_LENGTH"), std::string::npos) << result.err;
}

TEST_F(Basics, NoHomeAtAllIsAnError) {
  environment_.erase("LM_HOME");
  for (const char* home : {"", "not/absolute"}) {
    environment_["HOME"] = home;
    const Finished result = run({"list"});
    EXPECT_CODE(result, 1);
    EXPECT_EQ(error_lines(result.err).size(), 1u) << result.err;
  }
}

TEST_F(Basics, ErrorsAreJsonToo) {
  const Finished result = run({"show", "--json", "nothing:here"});
  EXPECT_CODE(result, 1);
  const auto error = nlohmann::json::parse(result.out).at("error");
  EXPECT_EQ(error.at("code"), "not_found");
  EXPECT_EQ(result.err, "Error: " + error.at("message").get<std::string>() + "\n");
}

}  // namespace LM_FILE
}  // namespace lm::test
