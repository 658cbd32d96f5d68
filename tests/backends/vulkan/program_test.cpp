// The program with its module: what ran where, and what is said where there is no device.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

namespace lm {
namespace LM_FILE {

namespace fs = std::filesystem;

struct Finished {
  int code = -1;
  std::string out, err;
};

class VulkanProgram : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(home_); }
  void TearDown() override { fs::remove_all(home_); }

  /// Runs lm in a store of its own; `environment` as the shell writes it.
  Finished run(const std::string& arguments, const std::string& environment = "") {
    const fs::path errors = home_ / "errors";
    const std::string line =
        fmt::format("env -u LM_VULKAN_CACHE LM_HOME={} {} {}/lm {} 2>{}", home_.string(),
                    environment, LM_BINARY_DIR, arguments, errors.string());
    Finished finished;
    std::FILE* const pipe = popen(line.c_str(), "r");
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
      finished.out += static_cast<char>(c);
    }
    finished.code = WEXITSTATUS(pclose(pipe));
    if (std::FILE* const file = std::fopen(errors.c_str(), "r"); file != nullptr) {
      for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
        finished.err += static_cast<char>(c);
      }
      std::fclose(file);
    }
    return finished;
  }

  const fs::path home_ = fs::temp_directory_path() / fmt::format("lm-vulkan-test-{}", getpid());
  const std::string model_ =
      std::string(LM_SOURCE_DIR) + "/tests/data/golden/arch/llama-gqa.gguf --ids 1,5,9 --greedy 5";
};

TEST_F(VulkanProgram, SaysWhichOpsRanOnTheDevice) {
  const Finished gpu = run("debug logits --backend vulkan " + model_);
  const Finished cpu = run("debug logits --backend cpu " + model_);
  ASSERT_EQ(gpu.code, 0) << gpu.err;
  ASSERT_EQ(cpu.code, 0) << cpu.err;
  const auto of_gpu = nlohmann::json::parse(gpu.out);
  EXPECT_EQ(of_gpu["backend"], "vulkan:0");
  EXPECT_GE(of_gpu["ops_by_executor"]["vulkan:0"].get<int>(), 20);
  EXPECT_EQ(of_gpu["greedy"], nlohmann::json::parse(cpu.out)["greedy"]);
  std::size_t n_file = 0;
  for (const auto& entry : fs::directory_iterator(home_ / "cache" / "vulkan")) {
    n_file += entry.path().extension() == ".bin" ? 1 : 0;
  }
  EXPECT_EQ(n_file, 1u) << "compiled pipelines are kept";
}

TEST_F(VulkanProgram, NamesWhatIsMissing) {
  const Finished other = run("debug logits --backend vulkan:7 " + model_);
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("vulkan:7"), std::string::npos) << other.err;
  // The loader without any driver.
  const Finished none = run("debug logits --backend vulkan " + model_,
                            "VK_ICD_FILENAMES=/nowhere VK_DRIVER_FILES=/nowhere");
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.err.find("no Vulkan driver"), std::string::npos) << none.err;
  EXPECT_EQ(std::count(none.err.begin(), none.err.end(), '\n'), 1) << none.err;
}

}  // namespace LM_FILE
}  // namespace lm
