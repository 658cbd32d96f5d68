// lm fit and lm devices: what fits, from a file, from headers on the hub, and from tables.
#include <nlohmann/json.hpp>

#include "tests/cli/cli_test.h"
#include "tests/support/test_hub.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

constexpr std::uint64_t kMiB = 1 << 20;

/// Every row of a fit document adds up, and says why.
void expect_sound(const json& document) {
  ASSERT_TRUE(document.contains("rows")) << document.dump();
  EXPECT_FALSE(document["rows"].empty());
  for (const json& row : document["rows"]) {
    const json& bytes = row["bytes"];
    const auto sum = [](const json& b) {
      return b["weights"].get<std::uint64_t>() + b["kv"].get<std::uint64_t>() +
             b["activations"].get<std::uint64_t>() + b["staging"].get<std::uint64_t>();
    };
    EXPECT_EQ(sum(bytes), bytes["total"].get<std::uint64_t>()) << row.dump();
    std::uint64_t total = 0;
    for (const json& device : row["per_device"]) {
      EXPECT_EQ(sum(device), device["total"].get<std::uint64_t>());
      total += device["total"].get<std::uint64_t>();
    }
    EXPECT_EQ(total, bytes["total"].get<std::uint64_t>());
    EXPECT_FALSE(row["reason"].get<std::string>().empty());
    EXPECT_EQ(row["per_device"].size(), document["devices"].size());
  }
}

class FitCommand : public CliTest {
 protected:
  json fit(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "fit");
    arguments.push_back("--json");
    const Finished done = run(arguments);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    json document = json::parse(done.out, nullptr, false);
    EXPECT_FALSE(document.is_discarded()) << done.out;
    return document;
  }
};

TEST_F(FitCommand, AFileOnThisMachine) {
  const json document = fit({tiny_model().string()});
  expect_sound(document);
  ASSERT_EQ(document["devices"].size(), 1u) << "no GPU module is part of the tests";
  EXPECT_EQ(document["devices"][0]["kind"], "cpu");
  const json& row = document["rows"].back();
  EXPECT_TRUE(row["fits"]);
  EXPECT_TRUE(row["ctx_automatic"]);
  EXPECT_GT(row["pp_tok_s"].get<double>(), 0.0) << "rates are measured";
  EXPECT_GT(row["tg_tok_s"].get<double>(), 0.0);
  EXPECT_FALSE(document["recommended"].is_null());

  const Finished text = run({"fit", tiny_model().string()});
  EXPECT_CODE(text, 0);
  EXPECT_NE(text.out.find("VERDICT"), text.out.npos);
  EXPECT_NE(text.out.find("* recommended"), text.out.npos);
  EXPECT_FALSE(has_control_bytes(text.out));
}

TEST_F(FitCommand, AStoredModelByNameAndAFixedContext) {
  create("tiny");
  const json document = fit({"tiny", "--ctx", "128", "--parallel", "3", "--kv-type", "f32"});
  expect_sound(document);
  ASSERT_EQ(document["rows"].size(), 1u);
  EXPECT_EQ(document["rows"][0]["ctx"], 128);
  EXPECT_EQ(document["rows"][0]["kv_type"], "f32");
  const json one = fit({"tiny", "--ctx", "128", "--kv-type", "f32"});
  EXPECT_EQ(document["rows"][0]["bytes"]["kv"].get<std::uint64_t>(),
            3 * one["rows"][0]["bytes"]["kv"].get<std::uint64_t>());
}

TEST_F(FitCommand, ShapesWithoutAFileOnOtherMachines) {
  // The 8 billion shape of 4.9 GB on cards of several sizes.
  const json tiers = fit({"--params", "8B", "--bits", "4", "--vram", "4G,8G,24G", "--ram", "32G"});
  ASSERT_EQ(tiers["tiers"].size(), 3u);
  std::uint32_t layers = 0;
  for (const json& tier : tiers["tiers"]) {
    expect_sound(tier);
    EXPECT_EQ(tier["devices"].size(), 2u);
    const std::uint32_t now = tier["rows"].back()["gpu_layers"];
    EXPECT_GE(now, layers) << "more memory never gives fewer layers";
    layers = now;
  }
  EXPECT_EQ(layers, 32u);
  EXPECT_EQ(tiers["tiers"][2]["rows"].back()["bytes"]["weights"].get<std::uint64_t>() / 1'000'000,
            4912u);
  const json seventy =
      fit({"--params", "70B", "--bits", "4", "--ctx", "4096", "--vram", "24G", "--ram", "64G"});
  expect_sound(seventy);
  const json& row = seventy["rows"][0];
  EXPECT_TRUE(row["fits"]);
  EXPECT_GT(row["gpu_layers"].get<int>(), 30);
  EXPECT_LT(row["gpu_layers"].get<int>(), 60);
  const json none = fit({"--params", "70B", "--bits", "16", "--vram", "8G", "--ram", "8G"});
  EXPECT_TRUE(none["recommended"].is_null());
  EXPECT_FALSE(none["advice"].empty()) << "it says what would have to change";
}

TEST_F(FitCommand, TheCatalogueIsRankedWithoutARequest) {
  environment_["LM_OFFLINE"] = "1";
  const json document = fit({"--vram", "12G", "--ram", "32G"});
  ASSERT_GT(document["models"].size(), 10u);
  for (const json& model : document["models"]) {
    EXPECT_FALSE(model["name"].get<std::string>().empty());
    EXPECT_FALSE(model["task"].get<std::string>().empty());
  }
  const json small = fit({"--vram", "2G", "--ram", "2G"});
  EXPECT_LT(small["models"].size(), document["models"].size());
}

TEST_F(FitCommand, WrongUsageIsNamed) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"fit", "--vram", "much", "x"},
        {"fit", "--ram", "1G,2G", "x"},
        {"fit", "--params", "many"},
        {"fit", "--params", "8B", "--bits", "7"},
        {"fit", "--bits", "4"},
        {"fit", "--params", "8B", "x"},
        {"fit", "--kv-type", "q7", "x"}}) {
    const Finished done = run(arguments);
    EXPECT_CODE(done, 2);
    EXPECT_EQ(error_lines(done.err).size(), 1u);
  }
  const Finished absent = run({"fit", (folder_ / "absent.gguf").string()});
  EXPECT_CODE(absent, 1);
}

class FitFromHub : public FitCommand {
 protected:
  /// Quants of one model with long tails, so that a header is a small part of them.
  void SetUp() override {
    CliTest::SetUp();
    const fs::path repo = folder_ / "root" / "maker" / "tiny-GGUF";
    fs::create_directories(repo);
    for (const std::string quant : {"Q4_K", "Q6_K", "Q8_0", "Q5_K"}) {
      const fs::path file = repo / ("tiny-" + quant + ".gguf");
      fs::copy_file(golden_data() / "quant" / (quant + ".gguf"), file);
      fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
      fs::resize_file(file, kSize);
    }
    service_ = std::make_unique<TestHub>();
    service_->add_folder(folder_ / "root");
    environment_["HF_ENDPOINT"] = service_->endpoint();
  }
  static constexpr std::uint64_t kSize = 192 * kMiB;
  std::unique_ptr<TestHub> service_;
};

TEST_F(FitFromHub, HeadersAreEnoughAndSayWhatTheFilesSay) {
  const json document = fit({"hf.co/maker/tiny-GGUF", "--ctx", "256"});
  expect_sound(document);
  ASSERT_EQ(document["rows"].size(), 4u);
  const std::uint64_t fetched = service_->weight_bytes();
  EXPECT_LT(fetched, kSize / 100) << "less than one percent of one file, for all four";
  for (const json& row : document["rows"]) {
    const std::string file =
        (folder_ / "root/maker/tiny-GGUF" / ("tiny-" + row["quant"].get<std::string>() + ".gguf"))
            .string();
    const json local = fit({file, "--ctx", "256"});
    ASSERT_EQ(local["rows"].size(), 1u);
    EXPECT_EQ(local["rows"][0]["bytes"], row["bytes"]) << row["quant"];
    EXPECT_EQ(local["rows"][0]["per_device"], row["per_device"]);
  }
  EXPECT_EQ(service_->weight_bytes(), fetched) << "files on disk need no hub";
}

TEST_F(FitFromHub, PullFitTakesTheRecommendedQuant) {
  const json document = fit({"hf.co/maker/tiny-GGUF"});
  ASSERT_FALSE(document["recommended"].is_null());
  const std::string quant = document["recommended"]["quant"];
  const Finished dry = run({"pull", "--fit", "--dry-run", "hf.co/maker/tiny-GGUF", "--json"});
  ASSERT_CODE(dry, 0);
  const std::string last = dry.out.substr(dry.out.rfind("\n", dry.out.size() - 2) + 1);
  EXPECT_EQ(json::parse(last)["quant"], quant);
  EXPECT_NE(dry.err.find(quant), dry.err.npos) << "and says why";
  const Finished both = run({"pull", "--fit", "--quant", "Q4_K", "hf.co/maker/tiny-GGUF"});
  EXPECT_CODE(both, 2);
}

TEST_F(FitFromHub, AHubThatFailsIsAnErrorAndNotATable) {
  service_->add_fault({.kind = Fault::Kind::ignore_range, .times = 1000});
  const Finished done = run({"fit", "hf.co/maker/tiny-GGUF"});
  EXPECT_CODE(done, 1);
  EXPECT_EQ(error_lines(done.err).size(), 1u);
  const Finished unknown = run({"fit", "hf.co/maker/absent-GGUF"});
  EXPECT_CODE(unknown, 1);
}

TEST_F(CliTest, DevicesAreListedOnce) {
  const Finished done = run({"devices", "--json"});
  ASSERT_CODE(done, 0);
  const json document = json::parse(done.out);
  ASSERT_EQ(document["devices"].size(), 1u);
  const json& cpu = document["devices"][0];
  EXPECT_EQ(cpu["id"], "cpu");
  EXPECT_GT(cpu["total"].get<std::uint64_t>(), 0u);
  EXPECT_LE(cpu["free"].get<std::uint64_t>(), cpu["total"].get<std::uint64_t>());
  EXPECT_GT(cpu["gb_s"].get<double>(), 0.0);
  EXPECT_FALSE(document["modules"].empty());
  const Finished text = run({"devices"});
  EXPECT_CODE(text, 0);
  EXPECT_NE(text.out.find("cpu"), text.out.npos);
}

}  // namespace LM_FILE
}  // namespace lm::test
