// Modelfiles: every instruction, and files that are meant to hurt.
#include <random>

#include <fmt/format.h>
#include <sys/stat.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class Modelfiles : public CliTest {
 protected:
  Finished make(const std::string& text, const std::vector<std::string>& more = {}) {
    write_file(folder_ / "Modelfile", text);
    std::vector<std::string> words{"create", "m", "-f", (folder_ / "Modelfile").string()};
    words.insert(words.end(), more.begin(), more.end());
    return run(words, {.timeout = std::chrono::seconds(30)});
  }
  static std::string from() { return "FROM " + tiny_model().string() + "\n"; }
};

TEST_F(Modelfiles, TakeEveryInstructionInAnyCaseAndOrder) {
  const Finished made = make(
      "# a comment\nsystem be brief\nPARAMETER stop a\nparameter STOP b\nLICENSE x\n"
      "MESSAGE user hi\nmessage assistant \"hello\"\nREQUIRES v0.14.0\nrequires 0.5\n"
      "RENDERER qwen3-coder\nPARSER Harmony\nDRAFT small\nPARAMETER low_vram true\n" +
      from());
  ASSERT_CODE(made, 0);
  for (const char* word : {"RENDERER", "PARSER", "lm run --draft small", "low_vram"}) {
    EXPECT_NE(made.err.find(word), std::string::npos) << word << "\n" << made.err;
  }
  const std::string printed = run({"show", "m", "--modelfile"}).out;
  EXPECT_NE(printed.find("PARAMETER stop a\nPARAMETER stop b\n"), std::string::npos) << printed;
  EXPECT_NE(printed.find("MESSAGE assistant hello"), std::string::npos) << printed;
}

TEST_F(Modelfiles, TakeTheNamesOfFormsThatOthersWrite) {
  const std::vector<std::string> names{
      "qwen3-vl-instruct", "qwen3-vl-thinking", "olmo3.1", "olmo3-32b-think", "lfm2-thinking",
      "qwen3-thinking",    "glm-ocr",           "gemma4",  "gemma4-small",    "gemma4-no-thinking",
      "nemotron-3.5-nano", "deepseek3.1",       "Cogito",  "\"passthrough\"", "poolside-v1"};
  std::string text = from();
  for (const std::string& name : names) {
    text += "RENDERER " + name + "\nPARSER " + name + "\n";
  }
  const Finished made = make(text);
  ASSERT_CODE(made, 0);
  std::size_t warnings = 0;
  for (std::size_t at = 0; (at = made.err.find("has no effect", at)) != std::string::npos; ++at) {
    ++warnings;
  }
  EXPECT_EQ(warnings, 2 * names.size()) << made.err;
}

TEST_F(Modelfiles, RefuseByNameAndLine) {
  struct Case {
    std::string text;
    std::string said;
  };
  const std::vector<Case> cases{
      {"", "no FROM"},
      {"\n\n# FROM x\n", "no FROM"},
      {"FROM\n", "line 1: FROM needs"},
      {"FROM \"\"\n", "line 1: FROM needs"},
      {from() + "ADAPTER ./lora.gguf\n", "line 2: ADAPTER"},
      {from() + "\nadapter\n", "line 3: ADAPTER"},
      {from() + "REQUIRES\n", "line 2: REQUIRES needs a version"},
      {from() + "REQUIRES banana\n", "line 2: REQUIRES needs a version"},
      {from() + "REQUIRES 1.2.3.4\n", "line 2: REQUIRES needs a version"},
      {from() + "REQUIRES 99999999999999999999999\n", "line 2: REQUIRES needs a version"},
      {from() + "REQUIRES -1.0\n", "line 2: REQUIRES needs a version"},
      {from() + "REQUIRES 99.0.0\n", "line 2: the model requires version 99.0.0"},
      {from() + "RENDERER nobody\n", "line 2: RENDERER: unknown name 'nobody'"},
      {from() + "PARSER\n", "line 2: PARSER: unknown name"},
      {from() + "RENDERER qwen3 coder\n", "line 2: RENDERER: unknown name"},
      {from() + "PARSER \"qwen3\n\"\n", "line 2: PARSER: unknown name"},
      {from() + "PARSER " + std::string(9000, 'p') + "\n", "line 2: PARSER: unknown name"},
      {from() + "DRAFT\n", "line 2: DRAFT needs"},
      {from() + "INCLUDE other\n", "line 2: unknown instruction 'INCLUDE'"},
      {from() + "\x1b[2J x\n", "line 2: unknown instruction"},
      {from() + std::string(100'000, 'X') + "\n", "line 2: unknown instruction"},
      {from() + "SYSTEM \"\"\"never closed\n\n\n", "line 2: unexpected EOF"},
      {from() + "SYSTEM \"never closed\n", "line 2: unexpected EOF"},
      {from() + "SYSTEM \"\"\"a\"\"\" b\n", "line 2: text after"},
      {from() + "SYSTEM \"\"\"a\nb\"\"\" c\n", "line 3: text after"},
      {from() + "PARAMETER\n", "line 2: PARAMETER needs"},
      {from() + "PARAMETER temperature\n", "line 2: PARAMETER needs"},
      {from() + "PARAMETER temperature hot\n", "line 2: PARAMETER temperature"},
      {from() + "PARAMETER temperature nan\n", "line 2: PARAMETER temperature"},
      {from() + "PARAMETER temperature 1e999\n", "line 2: PARAMETER temperature"},
      {from() + "PARAMETER top_p -1\n", "line 2: PARAMETER top_p"},
      {from() + "PARAMETER num_ctx 4611686018427387904\n", "line 2: PARAMETER num_ctx"},
      {from() + "PARAMETER num_keep -7\n", "line 2: PARAMETER num_keep"},
      {from() + "PARAMETER surprise 1\n", "line 2: PARAMETER surprise"},
      {from() + "MESSAGE\n", "line 2: MESSAGE needs a role"},
      {from() + "MESSAGE robot hi\n", "line 2: MESSAGE needs a role"},
      {from() + "TEMPLATE \"\"\"{% for %}\"\"\"\n", "TEMPLATE"},
      {from() + "TEMPLATE {{ .Unheard.Of | printf }}\n", "TEMPLATE"},
      {from() + std::string("SYSTEM a\0b\n", 11), "line 2: has a NUL byte"},
      {std::string("\xff\xfe", 2) + std::string("F\0R\0O\0M\0", 8), "line 1: FROM needs"},
      {"FROM /dev/zero\n", "/dev/zero"},
      {"FROM /etc\n", "/etc"},
      {"FROM ./missing.gguf\n", "missing.gguf"},
      {"FROM a\nFROM b\n", "'a' is no file"},
      {"FROM ../../../../../../etc/passwd\n", "passwd"}};
  for (const Case& hostile : cases) {
    const Finished refused = make(hostile.text);
    EXPECT_CODE(refused, 1);
    EXPECT_NE(refused.err.find(hostile.said), std::string::npos)
        << hostile.text.substr(0, 100) << "\n"
        << refused.err.substr(0, 400);
    EXPECT_EQ(error_lines(refused.err).size(), 1u) << refused.err.substr(0, 400);
    EXPECT_LT(refused.err.size(), 4000u) << "a line, not the file";
    EXPECT_FALSE(has_control_bytes(refused.err));
  }
  fmt::print("{} hostile Modelfiles\n", cases.size());
  EXPECT_EQ(run({"list", "-q"}).out, "");
  const Finished quantize = make(from(), {"-q", "q4_K_M"});
  EXPECT_CODE(quantize, 1);
  EXPECT_NE(quantize.err.find("--quantize"), std::string::npos) << quantize.err;
}

TEST_F(Modelfiles, AreReadOnlyWhenTheyAreFilesOfSensibleSize) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  write_file(folder_ / "big", from() + "SYSTEM " + std::string(5 << 20, 'x'));
  for (const std::string& path : {(folder_ / "fifo").string(), std::string("/dev/zero"),
                                  (folder_ / "big").string(), folder_.string()}) {
    const Finished refused =
        run({"create", "m", "-f", path}, {.timeout = std::chrono::seconds(30)});
    EXPECT_CODE(refused, 1);
    EXPECT_FALSE(refused.timed_out);
  }
  // Four megabytes on one line, and as many lines as fit, are no more than long.
  EXPECT_CODE(make(from() + "SYSTEM " + std::string(3 << 20, 'x') + "\n"), 0);
  EXPECT_CODE(make(from() + std::string(1 << 20, '\n')), 0);
}

TEST_F(Modelfiles, BytesAtRandomAreRefusedOrTaken) {
  std::mt19937 random(7);
  const std::string seed = from() +
                           "SYSTEM \"\"\"two\nlines\"\"\"\nPARAMETER stop \"x\"\nMESSAGE user hi\n"
                           "REQUIRES 0.1.2\nLICENSE \"free\"\nTEMPLATE {{ .Prompt }}\n";
  for (int i = 0; i < 40; ++i) {
    std::string text = seed;
    for (int edits = 0; edits < 4; ++edits) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, random() % 20);
          break;
        default:
          text.insert(at, "\"\"\"");
          break;
      }
    }
    const Finished result = make(text);
    EXPECT_TRUE(result.exit_code == 0 || result.exit_code == 1)
        << result.exit_code << " signal " << result.signal << "\n"
        << text;
    EXPECT_FALSE(result.timed_out);
  }
}

}  // namespace LM_FILE
}  // namespace lm::test
