// create, list, show, cp, rm on models made from a local file.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

class StoreCommands : public CliTest {
 protected:
  std::vector<std::string> names(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"list", "-q"};
    words.insert(words.end(), more.begin(), more.end());
    std::istringstream lines(run(words).out);
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) {
      found.push_back(line);
    }
    return found;
  }
  std::size_t blob_count() const {
    std::size_t n = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / "store" / "blobs")) {
      n += entry.path().filename().string().starts_with("sha256-") &&
                   entry.path().extension().empty()
               ? 1
               : 0;
    }
    return n;
  }
};

TEST_F(StoreCommands, EmptyListHasItsHeader) {
  const Finished result = run({"list"});
  EXPECT_CODE(result, 0);
  EXPECT_EQ(result.out, "NAME    ID    SIZE    MODIFIED\n");
  EXPECT_EQ(nlohmann::json::parse(run({"list", "--json"}).out).at("models"),
            nlohmann::json::array());
  EXPECT_FALSE(fs::exists(folder_ / "store")) << "looking must not make a store";
}

TEST_F(StoreCommands, CreateListShowCopyRemove) {
  create("tiny");
  EXPECT_EQ(names(), std::vector<std::string>{"tiny:latest"});
  const Finished listed = run({"list"});
  EXPECT_EQ(line_count(listed.out), 2u);
  EXPECT_FALSE(has_control_bytes(listed.out));
  EXPECT_EQ(listed.err, "");

  const Finished copied = run({"cp", "tiny", "second:v1"});
  EXPECT_CODE(copied, 0);
  EXPECT_EQ(copied.out, "copied 'tiny' to 'second:v1'\n");
  EXPECT_EQ(blob_count(), 1u);

  const Finished removed = run({"rm", "tiny"});
  EXPECT_CODE(removed, 0);
  EXPECT_EQ(removed.out, "deleted 'tiny:latest'\n");
  EXPECT_EQ(names(), std::vector<std::string>{"second:v1"});
  EXPECT_EQ(blob_count(), 1u) << "the second name still uses it";
  EXPECT_CODE(run({"show", "second:v1"}), 0);

  EXPECT_CODE(run({"rm", "SECOND:V1"}), 0);
  EXPECT_EQ(blob_count(), 0u);
}

TEST_F(StoreCommands, ColumnOneCanBeCut) {
  create("one");
  create("two:q4");
  // What scripts do: awk 'NR>1 {print $1}'.
  std::istringstream lines(run({"list"}).out);
  std::string line;
  std::getline(lines, line);
  std::vector<std::string> first;
  while (std::getline(lines, line)) {
    first.push_back(line.substr(0, line.find(' ')));
  }
  EXPECT_EQ(first, names());
  EXPECT_EQ(names({"ON"}), std::vector<std::string>{"one:latest"});
  EXPECT_EQ(names({"--sort", "name"}), (std::vector<std::string>{"one:latest", "two:q4"}));
}

TEST_F(StoreCommands, IdsFindModels) {
  create("tiny");
  const auto listed = nlohmann::json::parse(run({"list", "--json"}).out).at("models").at(0);
  const std::string id = listed.at("digest");
  ASSERT_EQ(id.size(), 64u);
  EXPECT_EQ(run({"show", id.substr(0, 12)}).out, run({"show", "tiny"}).out);
  EXPECT_CODE(run({"show", id.substr(0, 3)}), 1);
}

TEST_F(StoreCommands, RemoveManyStopsAtTheFirstUnknown) {
  create("a");
  create("b");
  const Finished dry = run({"rm", "--dry-run", "a"});
  EXPECT_CODE(dry, 0);
  EXPECT_TRUE(dry.out.starts_with("would delete 'a:latest'")) << dry.out;
  EXPECT_EQ(names().size(), 2u);
  const Finished result = run({"rm", "a", "nothing", "b"});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(result.out, "deleted 'a:latest'\n");
  EXPECT_NE(result.err.find("nothing"), std::string::npos);
  EXPECT_EQ(names(), std::vector<std::string>{"b:latest"});
  EXPECT_CODE(run({"rm", "-f", "nothing", "b"}), 0);
  EXPECT_TRUE(names().empty());
}

TEST_F(StoreCommands, UnknownModelsAreNotFound) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"show", "nobody"},
                                                {"rm", "nobody"},
                                                {"cp", "nobody", "x"},
                                                {"run", "--no-pull", "nobody", "x"},
                                                {"bench", "nobody"},
                                                {"debug", "tokenize", "nobody", "x"}}) {
    const Finished result = run(words);
    EXPECT_CODE(result, 1);
    EXPECT_NE(result.err.find("nobody"), std::string::npos) << result.err;
    EXPECT_EQ(line_count(result.err), 1u) << result.err;
  }
}

TEST_F(StoreCommands, ShowOfAPathEqualsShowOfTheModel) {
  create("tiny");
  const std::string by_name = run({"show", "tiny"}).out;
  EXPECT_EQ(run({"show", tiny_model().string()}).out, by_name);
  EXPECT_TRUE(by_name.starts_with("  Model\n    architecture        llama\n")) << by_name;
  EXPECT_NE(by_name.find("\n  Capabilities\n    completion\n"), std::string::npos) << by_name;
}

TEST_F(StoreCommands, ShowJsonHasWhatClientsRead) {
  create("tiny", "SYSTEM be brief\nPARAMETER stop \"</s>\"\n");
  const Finished result = run({"show", "--json", "tiny"});
  ASSERT_CODE(result, 0);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("details").at("family"), "llama");
  EXPECT_EQ(json.at("system"), "be brief");
  const auto& info = json.at("model_info");
  EXPECT_EQ(info.at("general.architecture"), "llama");
  EXPECT_TRUE(info.at("llama.context_length").is_number_integer());
  EXPECT_TRUE(info.at("llama.embedding_length").is_number_integer());
  EXPECT_TRUE(info.at("llama.block_count").is_number_integer());
  EXPECT_GT(info.at("general.parameter_count").get<int>(), 0);
  EXPECT_EQ(info.at("tokenizer.ggml.tokens"), nlohmann::json::array())
      << "long arrays only with --verbose";
  EXPECT_FALSE(info.contains("general.name"));
  const auto verbose = nlohmann::json::parse(run({"show", "--json", "-v", "tiny"}).out);
  EXPECT_EQ(verbose.at("model_info").at("tokenizer.ggml.tokens").size(), 320u);
  EXPECT_FALSE(verbose.at("tensors").empty());
}

TEST_F(StoreCommands, ModelfileRoundTrip) {
  const std::string text =
      "SYSTEM \"\"\"Two lines,\n one \"quoted\".\"\"\"\n"
      "parameter TEMPERATURE 0.25\nPARAMETER stop <a>\nPARAMETER stop \" b\"\nPARAMETER num_ctx "
      "128\n"
      "MESSAGE user hello there\nMESSAGE assistant \"\"\"hi\nthere\"\"\"\n"
      "LICENSE free\nLICENSE \"\"\"as in\nbeer\"\"\"\n"
      "TEMPLATE \"\"\"{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}\"\"\"\n";
  create("first", text);
  const std::string printed = run({"show", "first", "--modelfile"}).out;
  EXPECT_EQ(run({"show", "first", "--system"}).out, "Two lines,\n one \"quoted\".\n");
  EXPECT_EQ(run({"show", "first", "--license"}).out, "free\nas in\nbeer\n");
  EXPECT_NE(
      run({"show", "first", "--parameters"}).out.find("temperature                    0.25\n"),
      std::string::npos);
  write_file(folder_ / "Again", printed);
  ASSERT_CODE(run({"create", "second", "-f", (folder_ / "Again").string()}), 0);
  EXPECT_EQ(run({"show", "second", "--modelfile"}).out, printed);
  for (const char* part : {"--system", "--license", "--parameters", "--template"}) {
    EXPECT_EQ(run({"show", "second", part}).out, run({"show", "first", part}).out) << part;
  }
  EXPECT_EQ(blob_count(), 1u);
}

TEST_F(StoreCommands, CreateFromAModelInheritsAndOverrides) {
  create("base",
         "SYSTEM old\nPARAMETER temperature 0.1\nPARAMETER top_k 5\nMESSAGE user u\nMESSAGE "
         "assistant a\n");
  write_file(folder_ / "Child",
             "# a comment\n\nfrom base\nSystem new\nPARAMETER temperature 0.9\n");
  ASSERT_CODE(run({"create", "child", "-f", (folder_ / "Child").string()}), 0);
  EXPECT_EQ(run({"show", "child", "--system"}).out, "new\n");
  const std::string parameters = run({"show", "child", "--parameters"}).out;
  EXPECT_NE(parameters.find("0.9"), std::string::npos);
  EXPECT_NE(parameters.find("top_k                          5"), std::string::npos) << parameters;
  EXPECT_NE(run({"show", "child", "--modelfile"}).out.find("MESSAGE assistant a"),
            std::string::npos);
}

TEST_F(StoreCommands, ModelfilesInOtherEncodingsAndPlaces) {
  fs::create_directories(folder_ / "sub");
  fs::copy_file(tiny_model(), folder_ / "sub" / "m.gguf");
  std::string utf16 = "\xff\xfe";
  for (const char c : std::string("FROM ./m.gguf\r\nSYSTEM hi\r\n")) {
    utf16 += c;
    utf16 += '\0';
  }
  write_file(folder_ / "sub" / "Modelfile16", utf16);
  write_file(folder_ / "sub" / "ModelfileBom",
             "\xef\xbb\xbf"
             "FROM m.gguf\r\nSYSTEM hi\r\n");
  write_file(folder_ / "sub" / "Modelfile", "FROM .\nSYSTEM hi");
  for (const char* name : {"Modelfile16", "ModelfileBom", "Modelfile"}) {
    const Finished made = run({"create", "m", "-f", (folder_ / "sub" / name).string()});
    EXPECT_CODE(made, 0);
    EXPECT_EQ(run({"show", "m", "--system"}).out, "hi\n") << name;
    EXPECT_CODE(run({"rm", "m"}), 0);
  }
  // The default is "Modelfile" in the working directory, and "-" is stdin.
  EXPECT_CODE(run({"create", "m"}, {.folder = (folder_ / "sub").string()}), 0);
  EXPECT_CODE(run({"create", "n", "-f", "-"}, {.input = "FROM " + tiny_model().string() + "\n"}),
              0);
  EXPECT_EQ(names().size(), 2u);
}

TEST_F(StoreCommands, CreateDoesNotTouchTheFileItTakes) {
  fs::copy_file(tiny_model(), folder_ / "mine.gguf");
  struct stat before{};
  ASSERT_EQ(::stat((folder_ / "mine.gguf").c_str(), &before), 0);
  write_file(folder_ / "Modelfile", "FROM " + (folder_ / "mine.gguf").string() + "\n");
  ASSERT_CODE(run({"create", "m", "-f", (folder_ / "Modelfile").string()}), 0);
  ASSERT_CODE(run({"rm", "m"}), 0);
  struct stat after{};
  ASSERT_EQ(::stat((folder_ / "mine.gguf").c_str(), &after), 0);
  EXPECT_EQ(before.st_mode, after.st_mode);
  EXPECT_EQ(before.st_size, after.st_size);
  EXPECT_EQ(read_file(folder_ / "mine.gguf"), read_file(tiny_model()));
}

TEST_F(StoreCommands, HostileTextsAreEscaped) {
  create("evil", "SYSTEM \x1b]0;owned\x07 \xe2\x80\xae evil\nLICENSE \x1b[2Jgone\n");
  for (const std::vector<std::string>& words : {std::vector<std::string>{"show", "evil"},
                                                {"show", "-v", "evil"},
                                                {"list"},
                                                {"show", "--json", "evil"}}) {
    const Finished result = run(words);
    EXPECT_CODE(result, 0);
    EXPECT_FALSE(has_control_bytes(result.out)) << result.out;
    if (result.out.front() != '{') {
      EXPECT_EQ(result.out.find("\xe2\x80\xae"), std::string::npos);
    } else {
      EXPECT_TRUE(nlohmann::json::accept(result.out));
    }
  }
  EXPECT_NE(run({"show", "evil"}).out.find("\\x1b]0;owned\\x07 \\u{202e} evil"), std::string::npos)
      << run({"show", "evil"}).out;
}

TEST_F(StoreCommands, ReadOnlyStoreStillReads) {
  create("tiny");
  // Root may write anywhere, so the commands run as nobody, who must be able to reach the program.
  fs::copy_file(std::string(LM_BINARY_DIR) + "/lm", folder_ / "lm");
  fs::permissions(folder_, fs::perms(0755));
  const auto chmod_all = [this](fs::perms perms) {
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "store")) {
      if (entry.is_directory()) {
        fs::permissions(entry.path(), perms);
      }
    }
    fs::permissions(folder_ / "store", perms);
  };
  const auto run_as_nobody = [this](std::vector<std::string> words) {
    words.insert(words.begin(), (folder_ / "lm").string());
    return run_process(words, environment_, {.as_nobody = true});
  };
  chmod_all(fs::perms(0555));
  const Finished listed = run_as_nobody({"list", "-q"});
  const Finished shown = run_as_nobody({"show", "tiny"});
  const Finished removed = run_as_nobody({"rm", "tiny"});
  chmod_all(fs::perms(0755));
  EXPECT_CODE(listed, 0);
  EXPECT_EQ(listed.out, "tiny:latest\n");
  EXPECT_EQ(listed.err, "");
  EXPECT_CODE(shown, 0);
  EXPECT_CODE(removed, 1);
  EXPECT_NE(removed.err.find("read-only"), std::string::npos) << removed.err;
  EXPECT_EQ(names(), std::vector<std::string>{"tiny:latest"});
}

TEST_F(StoreCommands, WhatTheStoreHasToTellIsAWarning) {
  create("tiny");
  create("other");
  write_file(folder_ / "store" / "manifests" / "other%3alatest.json", "{");
  const Finished listed = run({"list", "-q"});
  EXPECT_CODE(listed, 0);
  EXPECT_EQ(listed.out, "tiny:latest\n");
  EXPECT_TRUE(listed.err.starts_with("Warning: ")) << listed.err;
  EXPECT_NE(listed.err.find("other%3alatest.json"), std::string::npos) << listed.err;
  EXPECT_EQ(line_count(listed.err), 1u) << listed.err;
  // A command that cleans up says it once as well.
  const Finished removed = run({"rm", "tiny"});
  EXPECT_CODE(removed, 0);
  EXPECT_EQ(line_count(removed.err), 1u) << removed.err;
  EXPECT_CODE(run({"rm", "other"}), 0);
  EXPECT_EQ(run({"list"}).err, "");
}

TEST_F(StoreCommands, ChangesCleanUpWhatNobodyNeeds) {
  const std::string left = "sha256-" + std::string(64, 'a');
  const fs::path blob = folder_ / "store" / "blobs" / left;
  const Environment today = environment_;
  Environment tomorrow = environment_;
  tomorrow["LD_PRELOAD"] = LM_TEST_TOMORROW;
  tomorrow["ASAN_OPTIONS"] += ":verify_asan_link_order=0";
  Environment keeping = tomorrow;
  keeping["LM_NOPRUNE"] = "1";
  create("tiny");
  write_file(blob, "left by a crash");
  const auto change = [this](const Environment& environment) {
    environment_ = environment;
    create("tiny");
    EXPECT_CODE(run({"rm", "tiny"}), 0);
  };
  change(today);
  EXPECT_TRUE(fs::exists(blob)) << "perhaps a broken pull goes on from it";
  change(keeping);
  EXPECT_TRUE(fs::exists(blob));
  environment_ = tomorrow;
  create("tiny");
  EXPECT_FALSE(fs::exists(blob)) << "create cleans up";
  write_file(blob, "left by a crash");
  EXPECT_CODE(run({"list"}), 0);
  EXPECT_CODE(run({"rm", "--dry-run", "tiny"}), 0);
  EXPECT_TRUE(fs::exists(blob)) << "looking deletes nothing";
  EXPECT_CODE(run({"rm", "tiny"}), 0);
  EXPECT_FALSE(fs::exists(blob)) << "rm cleans up";
}

}  // namespace LM_FILE
}  // namespace lm::test
