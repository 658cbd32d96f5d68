// lm run at a terminal: what a person types and sees.
#include <chrono>
#include <csignal>

#include <fmt/format.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class Interactive : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    environment_["TERM"] = "xterm-256color";
  }
  std::unique_ptr<Terminal> start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"run", "--temp", "0", "--predict", "8", tiny_model().string()};
    words.insert(words.end(), more.begin(), more.end());
    return std::make_unique<Terminal>(command(words), environment_);
  }
  std::string history() const { return read_file(folder_ / "store" / "history"); }
};

constexpr std::string_view kEnter = "\r";
constexpr std::string_view kCtrlC = "\x03";
constexpr std::string_view kCtrlD = "\x04";
constexpr std::string_view kUp = "\x1b[A";

TEST_F(Interactive, PromptAnswerBye) {
  fs::create_directories(folder_ / "store");
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> ")) << terminal->screen();
  ASSERT_TRUE(terminal->see("/?")) << "the placeholder names the help";
  terminal->type("hello");
  ASSERT_TRUE(terminal->see("hello"));
  terminal->type(kEnter);
  ASSERT_TRUE(terminal->see("\x1b[?2004l")) << "bracketed paste is off while the model speaks";
  ASSERT_TRUE(terminal->see(">>> ")) << terminal->screen();
  terminal->type("/bye\r");
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_TRUE(terminal->modes_restored());
  EXPECT_EQ(history(), "hello\n/bye\n");
}

TEST_F(Interactive, CtrlDLeaves) {
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type(kCtrlD);
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_TRUE(terminal->modes_restored());
}

TEST_F(Interactive, CtrlCDropsTheLineAndHintsOnAnEmptyOne) {
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("half a line");
  ASSERT_TRUE(terminal->see("half a line"));
  terminal->type(kCtrlC);
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type(kCtrlC);
  ASSERT_TRUE(terminal->see("/bye to leave")) << terminal->screen();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("/bye\r");
  EXPECT_EQ(terminal->wait(), 0);
}

TEST_F(Interactive, CtrlCStopsAnAnswerAndStays) {
  const auto terminal =
      start({"--predict", "90000", "--ctx", "100000", "--backend", "reference", "--verbose"});
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("hello\r");
  ASSERT_TRUE(terminal->see("\x1b[?2004l"));
  ASSERT_TRUE(terminal->see_bytes(40)) << "the answer has begun";
  terminal->type(kCtrlC);
  ASSERT_TRUE(terminal->see("eval count:")) << terminal->screen();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("/context\r");
  ASSERT_TRUE(terminal->see("tokens used")) << "the session goes on";
  terminal->type("/bye\r");
  EXPECT_EQ(terminal->wait(), 0);
}

TEST_F(Interactive, TerminationRestoresTheTerminal) {
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->send(SIGTERM);
  EXPECT_EQ(terminal->wait(), 130);
  EXPECT_TRUE(terminal->modes_restored());
}

TEST_F(Interactive, HistoryComesBackAndIsSearched) {
  fs::create_directories(folder_ / "store");
  write_file(folder_ / "store" / "history", "first line\nsecond\\nof two\n");
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type(kUp);
  ASSERT_TRUE(terminal->see("of two"));
  terminal->type(kUp);
  ASSERT_TRUE(terminal->see("first line"));
  terminal->type("\x15");  // Ctrl+U
  terminal->type(
      "\x12"
      "seco");
  ASSERT_TRUE(terminal->see("(search 'seco')")) << terminal->screen();
  terminal->type("\x07");
  terminal->type("/bye\r");
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_EQ(history(), "first line\nsecond\\nof two\n/bye\n");
}

TEST_F(Interactive, ConsecutiveDuplicatesAreMergedAndHistoryCanBeOff) {
  fs::create_directories(folder_ / "store");
  const auto terminal = start();
  for (const char* line : {"/context\r", "/context\r", "/set nohistory\r", "/stats\r", "/bye\r"}) {
    ASSERT_TRUE(terminal->see(">>> "));
    terminal->type(line);
  }
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_EQ(history(), "/context\n/set nohistory\n");
  environment_["LM_NOHISTORY"] = "1";
  fs::remove(folder_ / "store" / "history");
  const auto silent = start();
  ASSERT_TRUE(silent->see(">>> "));
  silent->type("/bye\r");
  EXPECT_EQ(silent->wait(), 0);
  EXPECT_FALSE(fs::exists(folder_ / "store" / "history"));
}

TEST_F(Interactive, SeveralLines) {
  fs::create_directories(folder_ / "store");
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("\"\"\"one\r");
  ASSERT_TRUE(terminal->see("... ")) << terminal->screen();
  terminal->type("two\"\"\"\r");
  ASSERT_TRUE(terminal->see("\x1b[?2004l"));
  ASSERT_TRUE(terminal->see(">>> "));
  // A paste does not submit, Ctrl+J makes a line end.
  terminal->type("\x1b[200~pasted\nlines\x1b[201~");
  ASSERT_TRUE(terminal->see("lines"));
  terminal->type("\nmore\r");
  ASSERT_TRUE(terminal->see("\x1b[?2004l"));
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("\"\"\"left open\r");
  ASSERT_TRUE(terminal->see("... "));
  terminal->type(kCtrlD);
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_EQ(history(), "\"\"\"one\\ntwo\"\"\"\npasted\\nlines\\nmore\n");
}

TEST_F(Interactive, EditingKeys) {
  fs::create_directories(folder_ / "store");
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  // "bcd", Home, "a", End, "e f", Ctrl+W, Backspace, left twice, Del, word back, Alt+F, "!"
  terminal->type(
      "bcd\x1b[Ha\x1b[F"
      "e f\x17\x7f\x1b[D\x1b[D\x1b[3~\x1b"
      "b\x1b"
      "f!\x01\x0b/set verbose\r");
  ASSERT_TRUE(terminal->see("Statistics are shown.")) << terminal->screen();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("x\x1b[Dy \xc3\xa9\x7fz\r");
  ASSERT_TRUE(terminal->see("eval count:"));
  terminal->type("/bye\r");
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_EQ(history(), "/set verbose\ny zx\n/bye\n");
}

TEST_F(Interactive, TabCompletesCommands) {
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("/cont\t\r");
  ASSERT_TRUE(terminal->see("tokens used")) << terminal->screen();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("/set verb\t\r");
  ASSERT_TRUE(terminal->see("Statistics are shown."));
  terminal->type("/bye\r");
  EXPECT_EQ(terminal->wait(), 0);
}

TEST_F(Interactive, SlashCommands) {
  create("other", "SYSTEM I am the other\n");
  const auto terminal = start();
  struct Step {
    std::string line;
    std::string answer;
  };
  const std::vector<Step> steps{
      {"/?", "/bye"},
      {"/? set", "/set parameter"},
      {"/? shortcuts", "Ctrl+R"},
      {"/nonsense", "Unknown command '/nonsense'. Type /? for help"},
      {"/retry", "Error: /retry: there is no answer"},
      {"/undo", "Error: /undo: there is nothing"},
      {"/stats", "Error: /stats"},
      {"/set system be brief", "The system message is set."},
      {"/show system", "be brief"},
      {"/set parameter temperature 9999x", "Error: "},
      {"/set parameter temperature 0.5", "Set parameter 'temperature' to '0.5'."},
      {"/set parameter stop a \"b c\"", "Set parameter 'stop'"},
      {"/set parameter num_ctx 128", "Set parameter 'num_ctx' to '128'."},
      {"/show parameters", "num_ctx                        128"},
      {"/set colour blue", "Error: /set: 'colour'"},
      {"/show info", "architecture"},
      {"/show nothing", "Error: /show"},
      {"hello", ">>> "},
      {"/stats", "eval count:"},
      {"/context", "/128 tokens used"},
      {"/retry", ">>> "},
      {"/undo", "taken back"},
      {"/save saved", "Saved as 'saved:latest'."},
      {"/list", "saved:latest"},
      {"/load nobody", "Error: nobody"},
      {"/load other", "Now talking to other:latest."},
      {"/show system", "I am the other"},
      {"/export " + (folder_ / "chat.json").string(), "Wrote 1 messages"},
      {"/clear", "empty again"},
  };
  for (const Step& step : steps) {
    ASSERT_TRUE(terminal->see(">>> ")) << step.line << "\n" << terminal->screen();
    terminal->type(step.line + "\r");
    ASSERT_TRUE(terminal->see("\x1b[?2004l")) << step.line;
    if (step.answer != ">>> ") {
      ASSERT_TRUE(terminal->see(step.answer)) << step.line << "\n" << terminal->screen();
    }
  }
  terminal->type("/bye\r");
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_EQ(run({"show", "saved", "--system"}).out, "be brief\n");
  EXPECT_NE(run({"show", "saved", "--parameters"}).out.find("num_ctx                        128"),
            std::string::npos);
  EXPECT_EQ(
      nlohmann::json::parse(read_file(folder_ / "chat.json")).at("messages").at(0).at("content"),
      "I am the other");
}

TEST_F(Interactive, TheEditorWritesAMessage) {
  fs::create_directories(folder_ / "store");
  write_file(folder_ / "edit.sh", "#!/bin/sh\nprintf 'written outside\\n' > \"$1\"\n");
  fs::permissions(folder_ / "edit.sh", fs::perms::owner_all);
  environment_["LM_EDITOR"] = (folder_ / "edit.sh").string();
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("\x07");
  ASSERT_TRUE(terminal->see("written outside")) << terminal->screen();
  terminal->type("\r");
  ASSERT_TRUE(terminal->see("\x1b[?2004l"));
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type(kCtrlD);
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_EQ(history(), "written outside\n");
}

TEST_F(Interactive, LongAnswersAreWrappedBetweenWords) {
  const fs::path model = shared_data() / "models" / "stories260K-f32.gguf";
  if (!fs::exists(model)) {
    GTEST_SKIP() << "no test data at " << model;
  }
  const std::vector<std::string> words{"run", "--temp",       "0",      "--predict",
                                       "150", model.string(), "One day"};
  const std::string plain = run(words).out;
  ASSERT_GT(plain.size(), 200u);
  Terminal terminal(command(words), environment_);
  EXPECT_EQ(terminal.wait(), 0);
  // What a terminal would show: a word that moved is erased where it began.
  std::vector<std::string> lines{""};
  const std::string& screen = terminal.screen();
  for (std::size_t i = 0; i < screen.size(); ++i) {
    if (screen[i] == '\n') {
      lines.emplace_back();
    } else if (screen[i] == '\x1b') {
      const std::size_t end = screen.find_first_of("DK", i);
      ASSERT_NE(end, std::string::npos);
      if (screen[end] == 'D') {
        const std::size_t n = std::stoul(screen.substr(i + 2));
        ASSERT_LE(n, lines.back().size());
        lines.back().resize(lines.back().size() - n);
      }
      i = end;
    } else if (screen[i] != '\r') {
      lines.back() += screen[i];
    }
  }
  std::string joined;
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), 96u) << line;
    joined += line + " ";
  }
  const auto squeezed = [](const std::string& text) {
    std::istringstream in(text);
    std::string out;
    for (std::string word; in >> word;) {
      out += word + " ";
    }
    return out;
  };
  EXPECT_EQ(squeezed(joined), squeezed(plain));
  EXPECT_GE(lines.size(), 4u);
}

TEST_F(Interactive, NoColourButStillAnEditor) {
  environment_["NO_COLOR"] = "1";
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("/cont\t\r");
  ASSERT_TRUE(terminal->see("tokens used")) << terminal->screen();
  terminal->type(kCtrlD);
  EXPECT_EQ(terminal->wait(), 0);
  for (const char* colour : {"\x1b[90m", "\x1b[0m", "\x1b[3"}) {
    EXPECT_EQ(terminal->screen().find(colour), std::string::npos) << colour;
  }
}

TEST_F(Interactive, PlainTerminalsGetNoEscapes) {
  environment_["TERM"] = "dumb";
  const auto terminal = start();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type("hello\n");
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type(kCtrlD);
  EXPECT_EQ(terminal->wait(), 0);
  EXPECT_EQ(terminal->screen().find('\x1b'), std::string::npos) << terminal->screen();
}

TEST_F(Interactive, TheOldestTurnsGoWhenTheContextIsFull) {
  const auto terminal = start({"--ctx", "64"});
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(terminal->see(">>> ")) << terminal->screen();
    terminal->type("a b c d e f g h i j k l m n\r");
    ASSERT_TRUE(terminal->see("\x1b[?2004l"));
  }
  ASSERT_TRUE(terminal->see("oldest")) << terminal->screen();
  ASSERT_TRUE(terminal->see(">>> "));
  terminal->type(kCtrlD);
  EXPECT_EQ(terminal->wait(), 0);
}

}  // namespace LM_FILE
}  // namespace lm::test
