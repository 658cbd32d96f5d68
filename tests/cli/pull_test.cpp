// lm pull: its options, a pull that is killed or interrupted, two pulls of one file, and the cache
// of the hub's own tools. The hub stops where a test says, so nothing here depends on speed.
#include <chrono>
#include <csignal>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/cli/cli_test.h"
#include "tests/support/test_hub.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

constexpr std::uint64_t kMiB = 1 << 20;

/// A valid model with a long tail: bytes behind the last tensor are allowed, and make it as big as
/// we like.
std::string model_of(std::size_t bytes) {
  std::string model = read_file(golden_data() / "quant" / "Q8_0.gguf");
  std::uint64_t state = 88172645463325252u;
  model.reserve(bytes + 8);
  while (model.size() < bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    model.append(reinterpret_cast<const char*>(&state), sizeof state);
  }
  return model;
}

class PullCommand : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    service_ = std::make_unique<TestHub>();
    environment_["HF_ENDPOINT"] = service_->endpoint();
  }
  /// Starts `lm ARGUMENTS` with its streams in out.txt and err.txt of `name`.
  std::unique_ptr<Background> start(const std::string& name, const std::string& arguments) {
    const std::string stem = (folder_ / name).string();
    return std::make_unique<Background>(
        std::vector<std::string>{
            "/bin/bash", "-c",
            fmt::format("exec {}/lm {} > {}.out 2> {}.err", LM_BINARY_DIR, arguments, stem, stem)},
        environment_);
  }
  std::string out_of(const std::string& name) const { return read_file(folder_ / (name + ".out")); }
  std::string err_of(const std::string& name) const { return read_file(folder_ / (name + ".err")); }
  template <class Condition>
  static bool wait_for(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }
  std::uint64_t partial_bytes() {
    const json document = json::parse(run({"list", "-a", "--json"}).out, nullptr, false);
    const json partials = document.value("partials", json::array());
    return partials.empty() ? 0 : partials.at(0).at("completed").get<std::uint64_t>();
  }
  std::unique_ptr<TestHub> service_;
};

TEST_F(PullCommand, KilledAnywhereItFetchesAtMost64MiBAgain) {
  constexpr std::uint64_t kSize = 224 * kMiB;
  service_->add_file("maker/big-GGUF", "big-Q8_0.gguf", model_of(kSize));
  for (const std::uint64_t percent : {30u, 60u, 90u}) {
    SCOPED_TRACE(fmt::format("killed when the hub had sent {} %", percent));
    const std::uint64_t hold = kSize * percent / 100 / kMiB * kMiB;
    service_->clear_log();
    service_->hold_after(hold);
    {
      const auto pulling = start("killed", "pull maker/big-GGUF");
      ASSERT_TRUE(service_->wait_for_weight_bytes(hold - kMiB, std::chrono::seconds(120)));
      pulling->send(SIGKILL);
      EXPECT_EQ(pulling->wait(std::chrono::seconds(20)), -1);
    }
    const std::uint64_t sent = service_->weight_bytes();
    EXPECT_EQ(run({"list", "-q"}).out, "") << "a partial download is no model";
    EXPECT_NE(run({"list", "-a"}).out.find("partial "), std::string::npos);

    service_->release();
    service_->clear_log();
    ASSERT_CODE(run({"pull", "maker/big-GGUF"}), 0);
    const std::uint64_t again = service_->weight_bytes() - (kSize - sent);
    std::printf("killed at %d %%: %.1f MiB fetched again\n", static_cast<int>(percent),
                static_cast<double>(again) / static_cast<double>(kMiB));
    EXPECT_LE(service_->weight_bytes(), kSize - sent + 64 * kMiB);
    EXPECT_EQ(run({"list", "-q"}).out, "hf.co/maker/big-GGUF:Q8_0\n");
    EXPECT_EQ(run({"list", "-a"}).out.find("partial "), std::string::npos);
    EXPECT_TRUE(fs::is_empty(folder_ / "store" / "partial"));
    ASSERT_CODE(run({"rm", "maker/big-GGUF"}), 0);
  }
}

TEST_F(PullCommand, AnInterruptKeepsThePartialAndSaysHowToGoOn) {
  constexpr std::uint64_t kSize = 24 * kMiB;
  service_->add_file("maker/big-GGUF", "big-Q8_0.gguf", model_of(kSize));
  service_->hold_after(12 * kMiB);
  const auto pulling = start("pull", "pull maker/big-GGUF");
  ASSERT_TRUE(service_->wait_for_weight_bytes(11 * kMiB, std::chrono::seconds(120)));
  pulling->send(SIGINT);
  EXPECT_EQ(pulling->wait(std::chrono::seconds(20)), 130);
  EXPECT_EQ(error_lines(err_of("pull")).size(), 1u) << err_of("pull");
  EXPECT_NE(err_of("pull").find("continue"), std::string::npos) << err_of("pull");
  EXPECT_NE(run({"list", "-a"}).out.find("partial "), std::string::npos);
  EXPECT_GT(partial_bytes(), 0u);
  EXPECT_CODE(run({"rm", "maker/big-GGUF:Q8_0"}), 0);
  EXPECT_EQ(run({"list", "-a"}).out.find("partial "), std::string::npos);
  EXPECT_TRUE(fs::is_empty(folder_ / "store" / "partial"));
}

TEST_F(PullCommand, ASecondOneWaitsAndShowsTheFirstOnesProgress) {
  constexpr std::uint64_t kSize = 24 * kMiB;
  service_->add_file("maker/big-GGUF", "big-Q8_0.gguf", model_of(kSize));
  service_->hold_after(12 * kMiB);
  const auto first = start("first", "pull maker/big-GGUF");
  ASSERT_TRUE(wait_for([&] { return partial_bytes() > 0; }));
  const auto second = start("second", "pull --json maker/big-GGUF");
  const auto shown = [&] {
    std::uint64_t most = 0;
    std::istringstream lines(out_of("second"));
    for (std::string line; std::getline(lines, line);) {
      const json frame = json::parse(line, nullptr, false);
      most = std::max(most, frame.is_object() ? frame.value("completed", std::uint64_t{0}) : 0);
    }
    return most;
  };
  ASSERT_TRUE(wait_for([&] { return shown() > 0; })) << out_of("second");
  EXPECT_NE(out_of("second").find("another lm fetches this file"), std::string::npos);
  EXPECT_LE(shown(), 12 * kMiB) << "what the first one has";
  service_->release();
  EXPECT_EQ(first->wait(std::chrono::seconds(60)), 0) << err_of("first");
  EXPECT_EQ(second->wait(std::chrono::seconds(60)), 0) << err_of("second");
  EXPECT_EQ(shown(), kSize);
  EXPECT_EQ(service_->weight_bytes(), kSize) << "each byte travelled once";
}

TEST_F(PullCommand, OptionsDoWhatTheySay) {
  const std::string first = model_of(100'000);
  const std::string second = model_of(200'000);
  service_->add_file("maker/two-GGUF", "a-Q8_0.gguf", first);
  const std::string commit = service_->commit("maker/two-GGUF");
  service_->add_file("maker/two-GGUF", "a-Q8_0.gguf", second);
  service_->add_file("maker/two-GGUF", "b-Q4_0.gguf", first);
  const auto size_of = [this](const std::string& name) {
    const json listed = json::parse(run({"list", "--json", name}).out)["models"];
    return listed.empty() ? 0 : listed[0]["size"].get<std::size_t>();
  };
  // --file and --quant
  ASSERT_CODE(run({"pull", "--file", "b-Q4_0.gguf", "maker/two-GGUF"}), 0);
  EXPECT_EQ(run({"list", "-q"}).out, "hf.co/maker/two-GGUF:Q4_0\n");
  ASSERT_CODE(run({"pull", "--quant", "q8_0", "maker/two-GGUF"}), 0);
  EXPECT_EQ(size_of("hf.co/maker/two-GGUF:Q8_0"), second.size());
  EXPECT_CODE(run({"pull", "--file", "c.gguf", "maker/two-GGUF"}), 1);
  // --revision: the older commit's bytes
  ASSERT_CODE(run({"pull", "--revision", commit, "maker/two-GGUF:Q8_0"}), 0);
  EXPECT_EQ(size_of("hf.co/maker/two-GGUF:Q8_0"), first.size());
  const Finished unknown = run({"pull", "--revision", "no-such", "maker/two-GGUF"});
  EXPECT_CODE(unknown, 1);
  EXPECT_NE(unknown.err.find("no-such"), std::string::npos) << unknown.err;
  // --dry-run
  service_->clear_log();
  const Finished dry = run({"pull", "--dry-run", "--json", "maker/two-GGUF:Q8_0"});
  ASSERT_CODE(dry, 0);
  EXPECT_EQ(service_->weight_bytes(), 0u);
  EXPECT_EQ(size_of("hf.co/maker/two-GGUF:Q8_0"), first.size());
  // Wrong words are wrong usage, before anybody is asked.
  service_->clear_log();
  for (const std::vector<std::string>& words : {std::vector<std::string>{"--connections", "0"},
                                                {"--connections", "17"},
                                                {"--connections", "many"},
                                                {"--limit-rate", "0"},
                                                {"--limit-rate", "fast"},
                                                {"--limit-rate", "-1"},
                                                {"--no-such-flag"}}) {
    std::vector<std::string> command{"pull", "maker/two-GGUF"};
    command.insert(command.end(), words.begin(), words.end());
    EXPECT_CODE(run(command), 2) << words.front();
  }
  EXPECT_TRUE(service_->log().empty());
}

TEST_F(PullCommand, KeepsToConnectionsAndRate) {
  service_->add_file("maker/big-GGUF", "big-Q8_0.gguf", model_of(64 * kMiB));
  ASSERT_CODE(run({"pull", "--connections", "1", "maker/big-GGUF"}), 0);
  EXPECT_EQ(service_->connections_most(), 1);
  service_->add_file("maker/small-GGUF", "small-Q8_0.gguf", model_of(2 * kMiB));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_CODE(run({"pull", "--limit-rate", "2M", "maker/small-GGUF"}), 0);
  // Slower is always possible, faster would break the limit.
  EXPECT_GT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(500));
}

/// The cache that the hub's own tools keep.
class HubCache : public PullCommand {
 protected:
  void SetUp() override {
    PullCommand::SetUp();
    cache_ = folder_ / "hf" / "hub";
    environment_["HF_HUB_CACHE"] = cache_.string();
    bytes_ = model_of(300'000);
    service_->add_file("maker/tiny-GGUF", "tiny-Q8_0.gguf", bytes_);
    service_->add_file("maker/tiny-GGUF", "LICENSE", "do what you like");
  }
  /// The repository as huggingface_hub would have left it, with `bytes` under the right names.
  fs::path fill_cache(const std::string& bytes) {
    const fs::path repo = cache_ / "models--maker--tiny-GGUF";
    const std::string commit = service_->commit("maker/tiny-GGUF");
    const std::string digest = service_->digest_hex("maker/tiny-GGUF", "tiny-Q8_0.gguf");
    write_file(repo / "refs" / "main", commit);
    write_file(repo / "blobs" / digest, bytes);
    write_file(repo / "blobs" / std::string(40, 'a'), "do what you like");
    fs::create_directories(repo / "snapshots" / commit);
    fs::create_symlink("../../blobs/" + digest, repo / "snapshots" / commit / "tiny-Q8_0.gguf");
    fs::create_symlink("../../blobs/" + std::string(40, 'a'),
                       repo / "snapshots" / commit / "LICENSE");
    return repo / "blobs" / digest;
  }
  fs::path cache_;
  std::string bytes_;
};

TEST_F(HubCache, AFileThatIsThereIsNotFetched) {
  const fs::path blob = fill_cache(bytes_);
  const auto mode = fs::status(blob).permissions();
  const Finished pulled = run({"pull", "maker/tiny-GGUF"});
  ASSERT_CODE(pulled, 0);
  EXPECT_NE(pulled.err.find("hub's cache"), std::string::npos) << pulled.err;
  EXPECT_EQ(service_->weight_bytes(), 0u);
  EXPECT_EQ(read_file(blob), bytes_);
  EXPECT_EQ(fs::status(blob).permissions(), mode) << "the owner's file is only read";
  EXPECT_CODE(run({"run", "--predict", "2", "maker/tiny-GGUF", "x"}), 0);
  ASSERT_CODE(run({"rm", "maker/tiny-GGUF"}), 0);
  EXPECT_EQ(read_file(blob), bytes_) << "removing the model leaves the cache alone";
}

TEST_F(HubCache, AFileThatLiesIsFetched) {
  std::string wrong = bytes_;
  wrong.back() = static_cast<char>(wrong.back() ^ 1);
  fill_cache(wrong);
  const Finished pulled = run({"pull", "maker/tiny-GGUF"});
  ASSERT_CODE(pulled, 0);
  EXPECT_NE(pulled.err.find("Warning:"), std::string::npos) << pulled.err;
  EXPECT_EQ(service_->weight_bytes(), bytes_.size());
  ASSERT_CODE(run({"rm", "maker/tiny-GGUF"}), 0);
  fs::remove_all(cache_);
  fill_cache(wrong.substr(1));
  service_->clear_log();
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF"}), 0) << "another size is no candidate at all";
  EXPECT_EQ(service_->weight_bytes(), bytes_.size());
}

TEST_F(HubCache, OfflineItIsAllThereIs) {
  environment_["LM_OFFLINE"] = "1";
  const Finished nothing = run({"pull", "maker/tiny-GGUF"});
  EXPECT_CODE(nothing, 1);
  EXPECT_NE(nothing.err.find("LM_OFFLINE"), std::string::npos) << nothing.err;
  fill_cache(bytes_);
  ASSERT_CODE(run({"pull", "maker/tiny-GGUF"}), 0);
  EXPECT_EQ(run({"list", "-q"}).out, "hf.co/maker/tiny-GGUF:Q8_0\n");
  EXPECT_NE(run({"show", "--license", "maker/tiny-GGUF"}).out.find("do what you like"),
            std::string::npos);
  EXPECT_CODE(run({"pull", "maker/tiny-GGUF:Q4_0"}), 1);
  EXPECT_CODE(run({"pull", "--revision", "v7", "maker/tiny-GGUF"}), 1);
  EXPECT_TRUE(service_->log().empty()) << "nobody was asked";
  // Online the same commit is current.
  environment_.erase("LM_OFFLINE");
  EXPECT_NE(run({"pull", "maker/tiny-GGUF"}).err.find("up to date"), std::string::npos);
}

}  // namespace LM_FILE
}  // namespace lm::test
