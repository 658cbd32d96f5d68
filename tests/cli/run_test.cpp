// lm run, one answer at a time.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

class Run : public CliTest {
 protected:
  std::string greedy(const std::vector<std::string>& words, const RunOptions& options = {}) {
    std::vector<std::string> all{"run", "--temp", "0", "--predict", "12"};
    all.insert(all.end(), words.begin(), words.end());
    const Finished result = run(all, options);
    EXPECT_CODE(result, 0);
    return result.out;
  }
  std::string model_ = tiny_model().string();
};

TEST_F(Run, GreedyTextOfTheStoriesModelsIsGolden) {
  const fs::path folder = shared_data() / "models";
  if (!fs::exists(folder)) {
    GTEST_SKIP() << "no test data at " << folder;
  }
  std::size_t cases = 0;
  for (const char* type : {"f32", "f16", "q8_0", "q4_0"}) {
    const std::string model = (folder / fmt::format("stories260K-{}.gguf", type)).string();
    for (const json& c :
         json::parse(read_file(folder / fmt::format("stories260K-{}.golden.json", type)))) {
      // Activations of quantised types are rounded: texts are equal only where no two tokens are
      // close.
      const bool exact = std::string(type) == "f32";
      const std::string prompt = c.at("prompt");
      if (prompt.empty() || (!exact && c.at("greedy_min_margin").get<double>() < 0.2)) {
        continue;
      }
      const std::size_t n = c.at("greedy_tokens").size();
      const Finished result = run({"run", "--temp", "0", "--predict", std::to_string(n),
                                   "--kv-type", "f32", "--raw", model, "--", prompt});
      EXPECT_CODE(result, 0);
      EXPECT_EQ(result.out, c.at("greedy_text").get<std::string>() + "\n")
          << type << ": " << prompt;
      ++cases;
    }
  }
  EXPECT_GE(cases, 2u);
  std::fprintf(stderr, "[   cases  ] %zu golden texts\n", cases);
}

TEST_F(Run, ASplitModelRunsFromItsFirstPart) {
  const fs::path folder = shared_data() / "models" / "split";
  if (!fs::exists(folder)) {
    GTEST_SKIP() << "no test data at " << folder;
  }
  const std::string whole = (folder / ".." / "stories260K-q8_0.gguf").string();
  const std::string part = (folder / "stories260K-q8_0-00001-of-00003.gguf").string();
  EXPECT_EQ(greedy({part, "One day"}), greedy({whole, "One day"}));
}

TEST_F(Run, StdinComesBeforeTheArguments) {
  const std::string both = greedy({"--json", model_, "b", "c"}, {.input = "a"});
  const std::string one = greedy({"--json", model_, "a b c"});
  EXPECT_EQ(json::parse(both).at("response"), json::parse(one).at("response"));
  EXPECT_EQ(json::parse(both).at("prompt_eval_count"), json::parse(one).at("prompt_eval_count"));
  EXPECT_EQ(greedy({model_}, {.input = "a b c"}), greedy({model_, "a b c"}));
}

TEST_F(Run, NothingToSayLoadsTheModel) {
  const Finished result = run({"run", model_});
  EXPECT_CODE(result, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(json::parse(run({"run", "--json", model_}).out).at("done_reason"), "load");
}

TEST_F(Run, SameSeedSameText) {
  const std::vector<std::string> words{"run",       "--seed", "7",    "--temp", "1.5",
                                       "--predict", "16",     model_, "hello"};
  const std::string first = run(words).out;
  EXPECT_EQ(run(words).out, first);
  std::vector<std::string> other = words;
  other[2] = "8";
  EXPECT_NE(run(other).out, first);
}

TEST_F(Run, PipedOutputIsPlain) {
  const Finished result =
      run({"run", "--predict", "20", "--temp", "0", "--verbose", model_, "hello"});
  EXPECT_CODE(result, 0);
  EXPECT_EQ(result.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos);
  for (const char* label :
       {"total duration:       ", "load duration:        ", "prompt eval count:    ",
        "prompt eval duration: ", "prompt eval rate:     ", "eval count:           20 token(s)",
        "eval duration:        ", "eval rate:            ", "backend:              cpu",
        "context:              "}) {
    EXPECT_NE(result.err.find(label), std::string::npos) << label << "\n" << result.err;
  }
}

TEST_F(Run, JsonIsOneDocument) {
  const Finished result = run({"run", "--json", "--predict", "5", "--temp", "0", model_, "hello"});
  EXPECT_CODE(result, 0);
  const json object = json::parse(result.out);
  EXPECT_EQ(object.at("done"), true);
  EXPECT_EQ(object.at("eval_count"), 5);
  EXPECT_EQ(object.at("done_reason"), "length");
  for (const char* name : {"total_duration", "load_duration", "prompt_eval_count",
                           "prompt_eval_duration", "eval_duration"}) {
    EXPECT_TRUE(object.at(name).is_number_integer()) << name;
  }
  EXPECT_EQ(line_count(result.out), 1u);
}

TEST_F(Run, StopStringsEndTheAnswer) {
  const json whole =
      json::parse(run({"run", "--json", "--predict", "40", "--temp", "0", model_, "hello"}).out);
  const std::string text = whole.at("response");
  ASSERT_GE(text.size(), 8u);
  // Any piece of ASCII from the middle will do.
  std::size_t at = text.size() / 2;
  while (at + 2 < text.size() && ((text[at] & 0x80) != 0 || (text[at + 1] & 0x80) != 0)) {
    ++at;
  }
  const std::string stop = text.substr(at, 2);
  const json cut = json::parse(
      run({"run", "--json", "--predict", "40", "--temp", "0", "--stop", stop, model_, "hello"})
          .out);
  EXPECT_EQ(cut.at("response"), text.substr(0, text.find(stop)));
  EXPECT_EQ(cut.at("done_reason"), "stop");
}

TEST_F(Run, ParametersOfTheModelLieUnderTheFlags) {
  create("short", "PARAMETER num_predict 3\nPARAMETER temperature 0\n");
  EXPECT_EQ(json::parse(run({"run", "--json", "short", "x"}).out).at("eval_count"), 3);
  EXPECT_EQ(
      json::parse(run({"run", "--json", "--predict", "5", "short", "x"}).out).at("eval_count"), 5);
  EXPECT_EQ(json::parse(run({"run", "--json", "--set", "num_predict=6", "short", "x"}).out)
                .at("eval_count"),
            6);
  EXPECT_EQ(json::parse(run({"run", "--json", "--predict", "0", "short", "x"}).out).at("response"),
            "");
}

TEST_F(Run, SystemAndMessagesReachThePrompt) {
  const std::string chat =
      "TEMPLATE \"{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]\"\n";
  create("chat", chat + "SYSTEM sys\nMESSAGE user u\nMESSAGE assistant a\n");
  const std::string prompt = "[system]sys[user]u[assistant]a[user]hello[assistant]";
  EXPECT_EQ(greedy({"chat", "hello"}), greedy({"--raw", "chat", prompt}));
  EXPECT_EQ(greedy({"--system", "new", "chat", "hello"}),
            greedy({"--raw", "chat", "[system]new[user]u[assistant]a[user]hello[assistant]"}));
  EXPECT_NE(greedy({"chat", "hello"}), greedy({"--raw", "chat", "hello"}));
}

TEST_F(Run, MessageTextNeverBecomesAControlToken) {
  const std::string model = tiny_model_with_bos().string();
  const json as_text = json::parse(greedy({"--json", model, "</s>"}));
  const json raw = json::parse(greedy({"--json", "--raw", model, "</s>"}));
  EXPECT_EQ(raw.at("prompt_eval_count"), 2) << "BOS and the control token";
  EXPECT_GT(as_text.at("prompt_eval_count"), 3);
}

TEST_F(Run, PromptsThatAreTooLong) {
  std::string long_prompt;
  for (int i = 0; i < 400; ++i) {
    long_prompt += "word ";
  }
  const Finished refused = run({"run", "--ctx", "64", model_, long_prompt});
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("64"), std::string::npos) << refused.err;
  EXPECT_EQ(error_lines(refused.err).size(), 1u);
  const Finished cut =
      run({"run", "--ctx", "64", "--truncate", "--predict", "4", model_, long_prompt});
  EXPECT_CODE(cut, 0);
  EXPECT_NE(cut.err.find("Warning: "), std::string::npos) << cut.err;
  EXPECT_EQ(greedy({"--truncate=false", model_, "x"}), greedy({model_, "x"}));
}

TEST_F(Run, AFullContextEndsTheAnswerWithALine) {
  const Finished result = run({"run", "--ctx", "32", "--temp", "0", model_, "a b c d e f"});
  EXPECT_CODE(result, 0);
  EXPECT_NE(result.err.find("context of 32 tokens is full"), std::string::npos) << result.err;
  EXPECT_EQ(line_count(result.err), 1u);
}

TEST_F(Run, SaysWhenAConversationHasNoTemplate) {
  const Finished one = run({"run", "--predict", "1", model_, "a b"});
  EXPECT_CODE(one, 0);
  EXPECT_EQ(one.err.find("chat template"), std::string::npos) << one.err;
  const Finished two = run({"run", "--predict", "1", "--system", "c", model_, "a b"});
  EXPECT_CODE(two, 0);
  EXPECT_NE(two.err.find("has no chat template"), std::string::npos) << two.err;
  EXPECT_EQ(line_count(two.err), 1u);
}

TEST_F(Run, GoTemplatesOfTheSimpleKindAreUnderstood) {
  create("jinja",
         "SYSTEM s\nTEMPLATE \"{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor "
         "%}[assistant]\"\n");
  create("go",
         "SYSTEM s\nTEMPLATE \"\"\"{{ range .Messages }}[{{ .Role }}]{{ .Content }}{{ end "
         "}}[assistant]\"\"\"\n");
  EXPECT_EQ(greedy({"go", "hello"}), greedy({"jinja", "hello"}));
  EXPECT_EQ(run({"show", "go", "--template"}).out,
            "{{ range .Messages }}[{{ .Role }}]{{ .Content }}{{ end }}[assistant]\n");
  write_file(folder_ / "Bad", "FROM " + model_ + "\nTEMPLATE \"{{ .Frobnicate }}\"\n");
  const Finished refused = run({"create", "bad", "-f", (folder_ / "Bad").string()});
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("Bad: TEMPLATE"), std::string::npos) << refused.err;
  EXPECT_EQ(line_count(refused.err), 1u) << refused.err;
}

TEST_F(Run, ThinkingIsKeptApart) {
  // The template opens the thinking part itself, so everything the model says before </think> is
  // thinking.
  create(
      "thinker",
      "TEMPLATE \"{% for m in messages %}{{ m.content }}{% endfor %}<think>\n{# </think> #}\"\n");
  const Finished shown = run({"run", "--temp", "0", "--predict", "8", "thinker", "hello"});
  EXPECT_CODE(shown, 0);
  EXPECT_TRUE(shown.out.starts_with("Thinking...\n")) << shown.out;
  EXPECT_NE(shown.out.find("\n...done thinking.\n\n"), std::string::npos) << shown.out;
  EXPECT_EQ(shown.out.find('\x1b'), std::string::npos);
  const Finished hidden =
      run({"run", "--temp", "0", "--predict", "8", "--hidethinking", "thinker", "hello"});
  EXPECT_EQ(hidden.out, "\n");
  const json object =
      json::parse(run({"run", "--json", "--temp", "0", "--predict", "8", "thinker", "hello"}).out);
  EXPECT_EQ(object.at("response"), "");
  EXPECT_FALSE(object.at("thinking").get<std::string>().empty());
  EXPECT_CODE(run({"run", "--think", model_, "hello"}), 1) << "this model does not think";
  EXPECT_CODE(run({"run", "--think=false", "--predict", "2", model_, "hello"}), 0);
}

TEST_F(Run, AnInterruptEndsWith130AndKeepsTheText) {
  const std::string out = (folder_ / "out.txt").string();
  const std::string line = fmt::format(
      "exec {} run --temp 0 --ctx 100000 --predict 90000 --backend reference {} hello > {}",
      std::string(LM_BINARY_DIR) + "/lm", model_, out);
  for (const int signal : {SIGINT, SIGTERM}) {
    Background running({"/bin/bash", "-c", line}, environment_);
    for (int i = 0; i < 2000 && (!fs::exists(out) || fs::file_size(out) < 20); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_GE(fs::file_size(out), 20u);
    running.send(signal);
    EXPECT_EQ(running.wait(std::chrono::seconds(20)), 130);
    EXPECT_GE(fs::file_size(out), 20u);
    fs::remove(out);
  }
}

TEST_F(Run, AReaderThatLeavesEndsQuietly) {
  const std::string lm = std::string(LM_BINARY_DIR) + "/lm";
  const Finished result =
      run_process({"/bin/bash", "-c",
                   fmt::format("( {} run --temp 0 --ctx 100000 --predict 90000 {} hello; echo code "
                               "$? >&2 ) | head -c 10 > /dev/null",
                               lm, model_)},
                  environment_);
  EXPECT_EQ(result.err, "code 0\n");
}

TEST_F(Run, RunsAlsoWhenTheStoreCannotBeMade) {
  environment_["LM_HOME"] = "/proc/nowhere";
  EXPECT_CODE(run({"run", "--predict", "1", model_, "x"}), 0) << "a file needs no store";
  const Finished result = run({"run", "--no-pull", "m", "x"});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(error_lines(result.err).size(), 1u);
}

}  // namespace LM_FILE
}  // namespace lm::test
