// lm import: other programs' folders, plain files, and what must not be taken in.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class Import : public CliTest {
 protected:
  nlohmann::json json(const std::vector<std::string>& words, int code = 0) {
    const Finished result = run(words);
    EXPECT_CODE(result, code);
    return nlohmann::json::parse(result.out);
  }
  fs::path home(const fs::path& below) const { return folder_ / "home" / below; }
  static std::string hex(const fs::path& path) {
    const Finished sum = run_process({"/usr/bin/sha256sum", path.string()}, {{"PATH", "/usr/bin"}});
    return sum.out.substr(0, 64);
  }
  /// A blob of Ollama's folder; its name.
  std::string blob(const std::string& content) const {
    const fs::path unnamed = home(".ollama/models/blobs/new");
    write_file(unnamed, content);
    const std::string name = hex(unnamed);
    fs::rename(unnamed, unnamed.parent_path() / ("sha256-" + name));
    return "sha256:" + name;
  }
  static nlohmann::json layer(const std::string& kind, const std::string& digest,
                              std::uint64_t size) {
    return {
        {"mediaType", "application/vnd.ollama.image." + kind}, {"digest", digest}, {"size", size}};
  }
  void ollama_manifest(const std::string& place, const std::vector<nlohmann::json>& layers) const {
    write_file(home(".ollama/models/manifests") / place,
               nlohmann::json{{"schemaVersion", 2},
                              {"mediaType", "application/vnd.docker.distribution.manifest.v2+json"},
                              {"layers", layers}}
                   .dump());
  }
  std::string list() { return run({"list", "-q", "--sort", "name"}).out; }
};

TEST_F(Import, TakesAFileWithoutCopyingIt) {
  const fs::path file = folder_ / "mine" / "Tiny Chat-Q4_0.gguf";
  fs::create_directory(folder_ / "mine");
  fs::copy_file(tiny_model(), file);
  fs::permissions(file, fs::perms(0640));
  const Finished first = run({"import", file.string()});
  EXPECT_CODE(first, 0);
  EXPECT_TRUE(first.out.starts_with("imported 'Tiny-Chat:Q4_0' (")) << first.out;
  EXPECT_EQ(first.out.find("copy"), std::string::npos) << first.out;
  struct stat info{};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0640u);
  const auto again = json({"import", "--json", file.string()});
  EXPECT_EQ(again.at("models").at(0).at("how"), "here already");
  EXPECT_EQ(list(), "Tiny-Chat:Q4_0\n");
  EXPECT_CODE(run({"import", file.string(), "--name", "other", "--copy"}), 0);
  EXPECT_CODE(run({"verify"}), 0);
  ASSERT_CODE(run({"rm", "other", "Tiny-Chat:Q4_0"}), 0);
  EXPECT_EQ(read_file(file), read_file(tiny_model())) << "the owner's file stays";
}

TEST_F(Import, NeverReplacesAnotherModelOfTheName) {
  create("taken");
  const std::string before = run({"show", "--json", "taken"}).out;
  write_file(folder_ / "taken.gguf", read_file(tiny_model()) + "x");
  const Finished refused = run({"import", (folder_ / "taken.gguf").string()});
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("another model has this name"), std::string::npos) << refused.err;
  EXPECT_EQ(run({"show", "--json", "taken"}).out, before);
  EXPECT_CODE(run({"import", (folder_ / "taken.gguf").string(), "--name", "fresh"}), 0);
}

TEST_F(Import, RefusesWhatIsNoModel) {
  write_file(folder_ / "page.gguf", "<!DOCTYPE html>");
  ASSERT_EQ(::mkfifo((folder_ / "pipe.gguf").c_str(), 0600), 0);
  fs::create_symlink("/dev/zero", folder_ / "zero.gguf");
  fs::create_directory(folder_ / "nothing");
  for (const char* name : {"page.gguf", "pipe.gguf", "zero.gguf", "none.gguf", "nothing"}) {
    const Finished refused = run({"import", (folder_ / name).string()});
    EXPECT_CODE(refused, 1);
    EXPECT_EQ(error_lines(refused.err).size(), 1u) << refused.err;
  }
  EXPECT_EQ(list(), "");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"import"},
        {"import", "a", "--from", "ollama"},
        {"import", "--from", "elsewhere"},
        {"import", "a", "--copy", "--link"},
        {"import", tiny_model().string(), "--name", "../x"}}) {
    EXPECT_CODE(run(words), 2);
  }
  const Finished nowhere = run({"import", "--from", "lmstudio"});
  EXPECT_CODE(nowhere, 1);
  EXPECT_NE(nowhere.err.find(".lmstudio"), std::string::npos) << nowhere.err;
}

TEST_F(Import, TakesEveryModelOfAFolder) {
  const fs::path folder = folder_ / "models";
  write_file(folder / "a-Q4_0.gguf", read_file(tiny_model()));
  write_file(folder / "deeper" / "b.gguf", read_file(tiny_model()));
  write_file(folder / "half-00001-of-00002.gguf", read_file(tiny_model()));
  write_file(folder / "notes.txt", "x");
  write_file(folder / "safe" / "model.safetensors", "x");
  fs::create_symlink("/etc/hostname", folder / "escape.gguf");
  fs::create_symlink(folder / "a-Q4_0.gguf", folder / "inside.gguf");
  const auto report = json({"import", "--json", folder.string()}, 1);
  EXPECT_EQ(report.at("models").size(), 3u) << report.dump(1);
  EXPECT_EQ(list(), "a:Q4_0\nb:latest\ninside:latest\n");
  std::map<std::string, std::string> reasons;
  for (const auto& refusal : report.at("refused")) {
    reasons[fs::path(refusal.at("path").get<std::string>()).filename().string()] =
        refusal.at("reason").get<std::string>();
  }
  EXPECT_NE(reasons["half-00001-of-00002.gguf"].find("missing"), std::string::npos);
  EXPECT_NE(reasons["escape.gguf"].find("leads out of"), std::string::npos);
  EXPECT_NE(reasons["safe"].find("safetensors"), std::string::npos);
}

TEST_F(Import, TakesOllamasModelsWithWhatBelongsToThem) {
  const std::string model = blob(read_file(tiny_model()));
  const std::uint64_t size = fs::file_size(tiny_model());
  const std::string text = "be brief";
  const std::string params = R"({"stop":["<a>","<b>"],"temperature":0.25,"surprise":1})";
  const std::string go = "{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}";
  const std::string talk = R"([{"role":"user","content":"hi"}])";
  ollama_manifest(
      "registry.ollama.ai/library/tiny/1b",
      {layer("model", model, size), layer("system", blob(text), text.size()),
       layer("params", blob(params), params.size()), layer("template", blob(go), go.size()),
       layer("messages", blob(talk), talk.size()), layer("license", blob("free"), 4)});
  ollama_manifest("registry.ollama.ai/alice/tiny/latest", {layer("model", model, size)});
  ollama_manifest("hf.co/bob/tiny-GGUF/Q4_0", {layer("model", model, size)});
  const auto report = json({"import", "--from", "ollama", "--json"});
  EXPECT_EQ(report.at("models").size(), 3u) << report.dump(1);
  EXPECT_EQ(list(), "hf.co/bob/tiny-GGUF:Q4_0\nollama.com/alice/tiny:latest\ntiny:1b\n");
  EXPECT_EQ(run({"show", "tiny:1b", "--system"}).out, "be brief\n");
  EXPECT_EQ(run({"show", "tiny:1b", "--license"}).out, "free\n");
  const std::string parameters = run({"show", "tiny:1b", "--parameters"}).out;
  EXPECT_NE(parameters.find("<b>"), std::string::npos) << parameters;
  EXPECT_NE(parameters.find("0.25"), std::string::npos) << parameters;
  EXPECT_CODE(run({"run", "--temp", "0", "--predict", "1", "tiny:1b", "x"}), 0);
  const auto again = json({"import", "--from", "ollama", "--json"});
  for (const auto& entry : again.at("models")) {
    EXPECT_EQ(entry.at("how"), "here already");
  }
  EXPECT_CODE(run({"verify"}), 0);
}

TEST_F(Import, RefusesHostileOllamaFolders) {
  const std::string model = blob(read_file(tiny_model()));
  const std::uint64_t size = fs::file_size(tiny_model());
  const std::string root = "registry.ollama.ai/library/";
  ollama_manifest(root + "good/latest", {layer("model", model, size)});
  ollama_manifest(root + "size/latest", {layer("model", model, size + 1)});
  ollama_manifest(root + "huge/latest", {layer("model", model, 1ull << 63)});
  ollama_manifest(root + "path/latest", {layer("model", "sha256:../../../../etc/passwd", 5)});
  ollama_manifest(root + "absent/latest", {layer("model", "sha256:" + std::string(64, 'a'), 5)});
  ollama_manifest(root + "lora/latest",
                  {layer("model", model, size), layer("adapter", model, size)});
  ollama_manifest(root + "mlx/latest", {layer("tensor", model, size)});
  ollama_manifest(root + "none/latest", {});
  ollama_manifest("deep/er/than/it/should/be", {layer("model", model, size)});
  write_file(home(".ollama/models/manifests") / root / "json/latest", "{\"layers\":[[[[");
  write_file(home(".ollama/models/manifests") / root / "big/latest", std::string(5 << 20, ' '));
  const std::string wrong = std::string(64, 'b');
  write_file(home(".ollama/models/blobs") / ("sha256-" + wrong), read_file(tiny_model()));
  ollama_manifest(root + "wrong/latest", {layer("model", "sha256:" + wrong, size)});
  fs::create_symlink("/etc/passwd",
                     home(".ollama/models/blobs") / ("sha256-" + std::string(64, 'c')));
  ollama_manifest(root + "link/latest",
                  {layer("model", "sha256:" + std::string(64, 'c'), fs::file_size("/etc/passwd"))});
  ASSERT_EQ(
      ::mkfifo((home(".ollama/models/blobs") / ("sha256-" + std::string(64, 'd'))).c_str(), 0600),
      0);
  ollama_manifest(root + "fifo/latest", {layer("model", "sha256:" + std::string(64, 'd'), 0)});
  const Finished result =
      run({"import", "--from", "ollama"}, {.timeout = std::chrono::seconds(60)});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(list(), "good:latest\n");
  for (const char* name : {"size", "huge", "path", "absent", "lora", "mlx", "none", "json", "big",
                           "wrong", "link", "fifo", "deep"}) {
    EXPECT_NE(result.err.find(fmt::format("/{}/", name)), std::string::npos) << name << "\n"
                                                                             << result.err;
  }
  EXPECT_EQ(error_lines(result.err).size(), 1u);
  EXPECT_FALSE(has_control_bytes(result.err));
  EXPECT_TRUE(fs::is_empty(folder_ / "store" / "tmp"));
}

TEST_F(Import, TakesTheHuggingFaceCacheWithItsLinks) {
  const fs::path repo = folder_ / "cache" / "models--alice--tiny-GGUF";
  const std::string digest = hex(tiny_model());
  const std::string commit(40, '1');
  write_file(repo / "blobs" / digest, read_file(tiny_model()));
  write_file(repo / "refs" / "main", commit);
  fs::create_directories(repo / "snapshots" / commit);
  fs::create_symlink("../../blobs/" + digest, repo / "snapshots" / commit / "tiny-Q4_0.gguf");
  fs::create_symlink("/etc/passwd", repo / "snapshots" / commit / "evil-Q8_0.gguf");
  const fs::path other = folder_ / "cache" / "models--bob--plain";
  write_file(other / "snapshots" / commit / "model.safetensors", "x");
  write_file(folder_ / "cache" / "datasets--x--y" / "a", "x");
  fs::create_directories(folder_ / "cache" / "models--..--..");
  environment_["HF_HUB_CACHE"] = (folder_ / "cache").string();
  const Finished result = run({"import", "--from", "hf-cache"});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(list(), "hf.co/alice/tiny-GGUF:Q4_0\n");
  EXPECT_NE(result.err.find("evil-Q8_0.gguf"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("models--bob--plain: not imported: has no GGUF model"),
            std::string::npos)
      << result.err;
  EXPECT_EQ(result.err.find("datasets--"), std::string::npos);
  // What came from the hub can be repaired from there.
  fs::create_directories(folder_ / "hub" / "alice" / "tiny-GGUF");
  fs::copy_file(tiny_model(), folder_ / "hub" / "alice" / "tiny-GGUF" / "tiny-Q4_0.gguf");
  start_hub(folder_ / "hub");
  for (const auto& entry : fs::directory_iterator(folder_ / "store" / "blobs")) {
    if (entry.path().extension() != ".chunks") {
      fs::remove(entry.path());
    }
  }
  EXPECT_CODE(run({"verify"}), 0);
}

TEST_F(Import, TakesLmStudiosModels) {
  const fs::path models = home(".lmstudio/models");
  write_file(models / "alice" / "tiny-GGUF" / "tiny-Q4_0.gguf", read_file(tiny_model()));
  write_file(models / "alice" / "empty" / "readme.md", "x");
  write_file(models / "my models" / "odd one" / "x.gguf", read_file(tiny_model()));
  const Finished result = run({"import", "--from", "lmstudio"});
  EXPECT_CODE(result, 0);
  EXPECT_EQ(list(), "hf.co/alice/tiny-GGUF:Q4_0\nx:latest\n");
  EXPECT_NE(result.err.find("empty: not imported: has no GGUF model"), std::string::npos)
      << result.err;
}

}  // namespace LM_FILE
}  // namespace lm::test
