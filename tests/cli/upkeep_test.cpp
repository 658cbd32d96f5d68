// verify, prune, path, du, move: the upkeep of a store, seen from outside.
#include <limits>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/cli_test.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/test_hub.h"

namespace lm::test {
namespace LM_FILE {

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kChunk = 16 * kMiB;

class Upkeep : public CliTest {
 protected:
  nlohmann::json json(const std::vector<std::string>& words, int code = 0) {
    const Finished result = run(words);
    EXPECT_CODE(result, code);
    return nlohmann::json::parse(result.out);
  }
  fs::path only_blob() const {
    for (const auto& entry : fs::directory_iterator(folder_ / "store" / "blobs")) {
      if (entry.path().extension().empty()) {
        return entry.path();
      }
    }
    return {};
  }
  /// A tiny model that is several chunks long: bytes after the last tensor are allowed.
  fs::path long_model(std::size_t bytes) const {
    std::string content = read_file(tiny_model());
    const std::size_t begin = content.size();
    content.resize(bytes);
    for (std::size_t i = begin; i < bytes; ++i) {
      content[i] = static_cast<char>((i * 2654435761u) >> 24);
    }
    const fs::path path = folder_ / "hub" / "alice" / "long-GGUF" / "long-Q4_0.gguf";
    write_file(path, content);
    return path;
  }
  void damage(const fs::path& blob, const std::vector<std::size_t>& places) const {
    fs::permissions(blob, fs::perms(0644));
    std::fstream file(blob, std::ios::in | std::ios::out | std::ios::binary);
    for (const std::size_t at : places) {
      file.seekg(static_cast<std::streamoff>(at));
      const int byte = file.get();
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(byte ^ 1));
    }
  }
  /// Body bytes of weights that the hub has sent since the log was last removed.
  std::uint64_t weight_bytes() const {
    std::istringstream lines(read_file(hub_log()));
    std::uint64_t sum = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.find("xet-bridge") != std::string::npos) {
        sum += std::stoull(line.substr(line.rfind(' ') + 1));
      }
    }
    return sum;
  }
};

TEST_F(Upkeep, AnEmptyStoreIsSound) {
  EXPECT_CODE(run({"verify"}), 0);
  EXPECT_EQ(json({"verify", "--json"}).at("models"), nlohmann::json::array());
  EXPECT_CODE(run({"prune", "--all"}), 0);
  EXPECT_EQ(json({"du", "--json"}).at("total").at("all"), 0);
  EXPECT_FALSE(fs::exists(folder_ / "store")) << "looking must not make a store";
  for (const char* command : {"verify", "path"}) {
    const Finished missing = run({command, "nobody"});
    EXPECT_CODE(missing, 1);
    EXPECT_NE(missing.err.find("nobody"), std::string::npos);
  }
  EXPECT_CODE(run({"move", (folder_ / "to").string()}), 1);
}

TEST_F(Upkeep, VerifyFetchesOnlyTheDamagedChunks) {
  const fs::path source = long_model(5 * kChunk + 12345);
  const std::string content = read_file(source);
  start_hub(folder_ / "hub");
  ASSERT_CODE(run({"pull", "alice/long-GGUF"}), 0);
  const std::string name = "hf.co/alice/long-GGUF:Q4_0";
  EXPECT_CODE(run({"verify"}), 0);
  const fs::path blob = only_blob();

  damage(blob, {kChunk + 5, 3 * kChunk, 5 * kChunk + 100});
  environment_["LM_OFFLINE"] = "1";
  const Finished offline = run({"verify", name});
  EXPECT_CODE(offline, 1);
  EXPECT_NE(offline.out.find(blob.filename().string()), std::string::npos) << offline.out;
  EXPECT_NE(offline.out.find("chunks 1, 3, 5 of 6"), std::string::npos) << offline.out;
  EXPECT_NE(offline.out.find("LM_OFFLINE"), std::string::npos) << offline.out;
  environment_.erase("LM_OFFLINE");

  fs::resize_file(hub_log(), 0);
  const auto report = json({"verify", "--json"});
  const auto& found = report.at("models").at(0).at("blobs").at(0);
  EXPECT_EQ(report.at("models").at(0).at("state"), "repaired");
  EXPECT_EQ(found.at("state"), "wrong_bytes");
  EXPECT_EQ(found.at("bad_chunks"), (nlohmann::json{1, 3, 5}));
  EXPECT_EQ(found.at("fetched"), 2 * kChunk + 12345);
  EXPECT_LE(weight_bytes(), 3 * kChunk) << "counted at the hub";
  EXPECT_GE(weight_bytes(), 2 * kChunk + 12345);
  EXPECT_TRUE(read_file(blob) == content);
  EXPECT_CODE(run({"verify"}), 0);
  EXPECT_TRUE(fs::is_empty(folder_ / "store" / "partial"));

  // Cut short: what is left of it stays.
  fs::permissions(blob, fs::perms(0644));
  fs::resize_file(blob, 4 * kChunk + 1);
  const Finished cut = run({"run", "--no-pull", "--raw", "--predict", "1", name, "x"});
  EXPECT_CODE(cut, 1);
  EXPECT_NE(cut.err.find(blob.filename().string()), std::string::npos) << cut.err;
  EXPECT_EQ(json({"verify", "--json", name}).at("models").at(0).at("blobs").at(0).at("fetched"),
            kChunk + 12345);
  EXPECT_TRUE(read_file(blob) == content);

  fs::permissions(blob, fs::perms(0644));
  fs::resize_file(blob, 2 * kChunk + 1);
  fs::resize_file(hub_log(), 0);
  EXPECT_CODE(run({"pull", "alice/long-GGUF"}), 0);
  EXPECT_TRUE(read_file(blob) == content);
  EXPECT_LE(weight_bytes(), 4 * kChunk) << "pull repairs likewise";

  fs::remove(blob);
  const Finished gone = run({"run", "--no-pull", "--raw", "--predict", "1", name, "x"});
  EXPECT_CODE(gone, 1);
  EXPECT_NE(gone.err.find(blob.filename().string()), std::string::npos) << gone.err;
  EXPECT_CODE(run({"verify"}), 0);
  EXPECT_TRUE(read_file(blob) == content);
}

TEST_F(Upkeep, VerifyAsksTheRegistryOrTheAddressTheModelCameFrom) {
  const std::string content = read_file(tiny_model());
  TestHub hub(TestHub::Options{.registry_token = "t"});
  hub.add_registry_model("library/tiny", "latest", {{"model", content}});
  hub.add_file("u/r", "plain.gguf", content + "x");
  environment_["LM_OLLAMA_ENDPOINT"] = hub.endpoint();
  for (const std::string& name :
       {std::string("ollama.com/library/tiny"), hub.endpoint() + "/u/r/resolve/main/plain.gguf"}) {
    ASSERT_CODE(run({"pull", name}), 0);
    const fs::path blob = only_blob();
    const std::string bytes = read_file(blob);
    damage(blob, {100});
    const Finished verified = run({"verify"});
    EXPECT_CODE(verified, 0);
    EXPECT_NE(verified.out.find(": repaired\n"), std::string::npos) << verified.out;
    EXPECT_TRUE(read_file(blob) == bytes);
    const std::string stored = run({"list", "-q"}).out;
    ASSERT_CODE(run({"rm", stored.substr(0, stored.size() - 1)}), 0);
  }
}

TEST_F(Upkeep, VerifyWithoutASourceSaysWhatToDo) {
  create("tiny");
  create("again", "SYSTEM other\n");
  fs::remove(folder_ / "store" / "lock");
  const fs::path blob = only_blob();
  // The blob may be a hard link of the repository's file: the damage needs a file of its own.
  const std::string content = read_file(blob);
  fs::remove(blob);
  write_file(blob, content);
  damage(blob, {1000});
  const Finished result = run({"verify"});
  EXPECT_CODE(result, 1);
  EXPECT_NE(result.out.find("tiny:latest: damaged"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("again:latest: damaged"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("not repaired"), std::string::npos) << result.out;
  EXPECT_EQ(error_lines(result.err).size(), 1u) << result.err;
  EXPECT_NE(result.err.find("2 of 2 models are damaged"), std::string::npos) << result.err;
  const auto report = json({"verify", "--json"}, 1);
  EXPECT_EQ(report.at("models").at(0).at("blobs").at(0).at("error").at("code"), "not_found");
  write_file(blob, content);
  EXPECT_CODE(run({"verify", "tiny"}), 0);
  write_file(folder_ / "store" / "manifests" / "tiny%3alatest.json", "{");
  const Finished unreadable = run({"verify"});
  EXPECT_CODE(unreadable, 1);
  EXPECT_NE(unreadable.err.find("tiny%3alatest.json"), std::string::npos) << unreadable.err;
}

TEST_F(Upkeep, VerifyLooksAtWeightsWhenAsked) {
  create("sound");
  const std::vector<float> good{1, 2, 3, 4};
  const std::vector<float> bad_values{
      1, 2, std::numeric_limits<float>::quiet_NaN(), 4, std::numeric_limits<float>::infinity(), 6};
  GgufWriter writer;
  writer.add_string("general.architecture", "llama");
  writer.add_tensor_f32("fine.weight", {2, 2}, good);
  writer.add_tensor_f32("bad.weight", {2, 3}, bad_values);
  writer.save(folder_ / "spoilt.gguf");
  write_file(folder_ / "Modelfile", "FROM " + (folder_ / "spoilt.gguf").string() + "\n");
  ASSERT_CODE(run({"create", "spoilt", "-f", (folder_ / "Modelfile").string()}), 0);
  EXPECT_CODE(run({"verify"}), 0) << "the bytes are what they were";
  const Finished fine = run({"verify", "--weights", "sound"});
  EXPECT_CODE(fine, 0);
  EXPECT_NE(fine.out.find("tensors are finite"), std::string::npos) << fine.out;
  const Finished bad = run({"verify", "--weights"});
  EXPECT_CODE(bad, 1);
  EXPECT_NE(bad.out.find("tensor 'bad.weight': 2 of 6 values are NaN or infinite, the first in "
                         "row 1"),
            std::string::npos)
      << bad.out;
  EXPECT_EQ(bad.out.find("fine.weight"), std::string::npos) << bad.out;
  EXPECT_NE(bad.err.find("1 of 2 models has weights that can't be used"), std::string::npos)
      << bad.err;
  const auto report = json({"verify", "--weights", "--json", "spoilt"}, 1);
  const auto& model = report.at("models").at(0);
  EXPECT_EQ(model.at("state"), "bad_weights");
  EXPECT_EQ(model.at("weights").at("tensors"), 2);
  EXPECT_EQ(model.at("weights").at("bad").at(0).at("tensor"), "bad.weight");
  EXPECT_FALSE(json({"verify", "--json", "spoilt"}).at("models").at(0).contains("weights"));
}

TEST_F(Upkeep, PruneTakesWhatIsOldAndAllTakesTheRest) {
  create("tiny");
  const fs::path store = folder_ / "store";
  const fs::path blob = store / "blobs" / ("sha256-" + std::string(64, 'a'));
  const fs::path part = store / "partial" / "url-1.part";
  const fs::path temp = store / "tmp" / "left";
  for (const fs::path& path : {blob, part, temp}) {
    write_file(path, "left by a crash");
  }
  const Finished today = run({"prune"});
  EXPECT_CODE(today, 0);
  EXPECT_EQ(today.out, "freed 0 B\n");
  const auto dry = json({"prune", "--all", "--dry-run", "--json"});
  EXPECT_EQ(dry.at("files").size(), 3u);
  EXPECT_EQ(dry.at("freed"), 45);
  EXPECT_TRUE(fs::exists(blob) && fs::exists(part) && fs::exists(temp));
  Environment now = environment_;
  environment_["LD_PRELOAD"] = LM_TEST_TOMORROW;
  environment_["ASAN_OPTIONS"] += ":verify_asan_link_order=0";
  EXPECT_CODE(run({"prune"}), 0);
  EXPECT_FALSE(fs::exists(blob));
  EXPECT_FALSE(fs::exists(temp));
  EXPECT_TRUE(fs::exists(part)) << "downloads stay for a week";
  environment_ = now;
  EXPECT_CODE(run({"prune", "--all"}), 0);
  EXPECT_FALSE(fs::exists(part));
  EXPECT_CODE(run({"verify"}), 0);
}

TEST_F(Upkeep, PathPrintsOnlyPaths) {
  create("tiny");
  const Finished result = run({"path", "tiny"});
  EXPECT_CODE(result, 0);
  ASSERT_TRUE(result.out.ends_with('\n'));
  const fs::path path = result.out.substr(0, result.out.size() - 1);
  EXPECT_EQ(read_file(path), read_file(tiny_model()));
  EXPECT_EQ(run({"show", path.string()}).exit_code, 0) << "it works as an argument";
}

TEST_F(Upkeep, DuCountsSharedBytesOnce) {
  create("tiny");
  ASSERT_CODE(run({"cp", "tiny", "copy"}), 0);
  const std::uint64_t size = fs::file_size(tiny_model());
  const auto usage = json({"du", "--json"});
  ASSERT_EQ(usage.at("models").size(), 2u);
  for (const auto& model : usage.at("models")) {
    EXPECT_EQ(model.at("unique"), 0);
    EXPECT_GE(model.at("shared").get<std::uint64_t>(), size);
  }
  const std::uint64_t once = usage.at("total").at("models");
  EXPECT_GE(once, size);
  EXPECT_LT(once, size + 4096) << "its checksums are counted too";
  write_file(folder_ / "store" / "cache" / "packed", "0123456789");
  EXPECT_EQ(json({"du", "--json"}).at("total").at("cache"), 10);
  ASSERT_CODE(run({"rm", "copy"}), 0);
  EXPECT_EQ(json({"du", "--json"}).at("models").at(0).at("shared"), 0);
  const Finished table = run({"du"});
  EXPECT_TRUE(table.out.starts_with("NAME")) << table.out;
  EXPECT_FALSE(has_control_bytes(table.out));
}

TEST_F(Upkeep, MoveSaysHowToFindTheStoreAgain) {
  create("tiny");
  const fs::path to = folder_ / "disk" / "models";
  EXPECT_CODE(run({"move", (folder_ / "store" / "inside").string()}), 1);
  write_file(folder_ / "full" / "x", "x");
  EXPECT_CODE(run({"move", (folder_ / "full").string()}), 1);
  const Finished moved = run({"move", "disk/models"}, {.folder = folder_.string()});
  EXPECT_CODE(moved, 0);
  EXPECT_NE(moved.out.find(fmt::format("export LM_HOME='{}'", to.string())), std::string::npos)
      << moved.out;
  EXPECT_EQ(run({"list", "-q"}).out, "");
  environment_["LM_HOME"] = to.string();
  EXPECT_EQ(run({"list", "-q"}).out, "tiny:latest\n");
  EXPECT_CODE(run({"verify"}), 0);
}

TEST_F(Upkeep, MoveRefusesWhileSomebodyChats) {
  create("tiny");
  const std::string to = (folder_ / "to").string();
  Terminal chat(command({"run", "tiny"}), environment_);
  ASSERT_TRUE(chat.see(">>> ")) << chat.screen();
  const Finished refused = run({"move", to});
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("another lm uses the store"), std::string::npos) << refused.err;
  EXPECT_FALSE(fs::exists(to));
  chat.type("/bye\r");
  EXPECT_EQ(chat.wait(), 0);
  EXPECT_CODE(run({"move", to}), 0);
}

TEST_F(Upkeep, ListShowsTimesOfUseWithAll) {
  create("tiny");
  EXPECT_EQ(run({"list"}).out.find("USED"), std::string::npos);
  EXPECT_NE(run({"list", "-a"}).out.find("Never"), std::string::npos);
  ASSERT_CODE(run({"run", "--raw", "--temp", "0", "--predict", "1", "tiny", "a"}), 0);
  EXPECT_EQ(run({"list", "-a"}).out.find("Never"), std::string::npos);
  EXPECT_NE(json({"list", "-a", "--json"}).at("models").at(0).at("used_at"), "");
}

TEST_F(Upkeep, AReadOnlyStoreIsReadAndReported) {
  create("tiny");
  fs::copy_file(std::string(LM_BINARY_DIR) + "/lm", folder_ / "lm");
  fs::permissions(folder_, fs::perms(0755));
  std::vector<fs::path> folders{folder_ / "store"};
  for (const auto& entry : fs::directory_iterator(folder_ / "store")) {
    if (entry.is_directory()) {
      folders.push_back(entry.path());
    }
  }
  for (const fs::path& folder : folders) {
    fs::permissions(folder, fs::perms(0555));
  }
  const auto as_nobody = [this](std::vector<std::string> words) {
    words.insert(words.begin(), (folder_ / "lm").string());
    return run_process(words, environment_, {.as_nobody = true});
  };
  EXPECT_CODE(as_nobody({"verify"}), 0);
  EXPECT_CODE(as_nobody({"du"}), 0);
  EXPECT_CODE(as_nobody({"path", "tiny"}), 0);
  EXPECT_CODE(as_nobody({"prune", "--dry-run"}), 0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"prune"}, {"move", "/tmp/lm-nowhere"}, {"pull", "u/r"}}) {
    const Finished refused = as_nobody(words);
    EXPECT_CODE(refused, 1);
    EXPECT_EQ(error_lines(refused.err).size(), 1u) << refused.err;
  }
  for (const fs::path& folder : folders) {
    fs::permissions(folder, fs::perms(0755));
  }
}

}  // namespace LM_FILE
}  // namespace lm::test
