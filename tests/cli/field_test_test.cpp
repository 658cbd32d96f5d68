// scripts/field-test, which people run against the real hub, against one on the loopback interface.
#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class FieldTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    const fs::path repo = folder_ / "hub" / "maker" / "tiny-GGUF";
    fs::create_directories(repo);
    fs::copy_file(golden_data() / "quant" / "Q8_0.gguf", repo / "tiny-Q8_0.gguf");
    start_hub(folder_ / "hub");
  }
  Finished field_test(const std::string& models) {
    Environment environment = environment_;
    environment["LM"] = LM_BINARY_DIR "/lm";
    environment["PATH"] = "/usr/bin:/bin";
    // Sanitizers keep shadows of all memory.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const char* program_mb = "2000";
#else
    const char* program_mb = "96";
#endif
    return run_process({"/usr/bin/python3", LM_SOURCE_DIR "/scripts/field-test", "--models", models,
                        "--report", report().string(), "--program-mb", program_mb},
                       environment, {});
  }
  fs::path report() const { return folder_ / "report.md"; }
};

TEST_F(FieldTest, ChecksDigestsAndRunsPrompts) {
  ASSERT_CODE(field_test("hf.co/maker/tiny-GGUF"), 0);
  const std::string text = read_file(report());
  EXPECT_NE(text.find("SHA-256 of 1 file(s) as the hub says"), std::string::npos) << text;
  EXPECT_NE(text.find("tiny-Q8_0.gguf"), std::string::npos) << text;
  EXPECT_NE(text.find("second pull: nothing travelled"), std::string::npos) << text;
  EXPECT_NE(text.find("tok/s"), std::string::npos) << text;
  EXPECT_NE(text.find("`lm fit` expects"), std::string::npos) << text;
  EXPECT_NE(text.find("- everything passed"), std::string::npos) << text;
}

TEST_F(FieldTest, NamesWhatFailedAndGoesOn) {
  EXPECT_CODE(field_test("hf.co/maker/none,hf.co/maker/tiny-GGUF"), 1);
  const std::string text = read_file(report());
  EXPECT_NE(text.find("- hf.co/maker/none: pull: exit code 1"), std::string::npos) << text;
  EXPECT_NE(text.find("SHA-256 of 1 file(s) as the hub says"), std::string::npos) << text;
}

}  // namespace LM_FILE
}  // namespace lm::test
