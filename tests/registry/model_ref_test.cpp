#include "registry/model_ref.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace lm::registry {
namespace LM_FILE {

struct Good {
  const char* text;
  const char* host;
  const char* owner;
  const char* model;
  const char* tag;
  const char* shortest;
};

TEST(ModelRef, ParsesNamesOfTheGrammar) {
  const Good cases[] = {
      {"llama3.1:8b", "", "", "llama3.1", "8b", "llama3.1:8b"},
      {"qwen3", "", "", "qwen3", "", "qwen3:latest"},
      {"alice/m", "", "alice", "m", "", "alice/m:latest"},
      {"hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "hf.co", "bartowski",
       "Llama-3.2-1B-Instruct-GGUF", "Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"},
      {"huggingface.co/u/r", "hf.co", "u", "r", "", "hf.co/u/r:latest"},
      {"HuggingFace.CO/u/r", "hf.co", "u", "r", "", "hf.co/u/r:latest"},
      {"hf://u/r:Q8_0", "hf.co", "u", "r", "Q8_0", "hf.co/u/r:Q8_0"},
      {"https://hf.co/u/r:Q8_0", "hf.co", "u", "r", "Q8_0", "hf.co/u/r:Q8_0"},
      {"http://localhost:8080/u/r", "localhost:8080", "u", "r", "", "localhost:8080/u/r:latest"},
      {"localhost:8080/u/r:Q8_0", "localhost:8080", "u", "r", "Q8_0", "localhost:8080/u/r:Q8_0"},
      {"registry.ollama.ai/library/llama3.1:8b", "", "", "llama3.1", "8b", "llama3.1:8b"},
      {"ollama.com/library/llama3.2:1b", "ollama.com", "library", "llama3.2", "1b",
       "ollama.com/library/llama3.2:1b"},
      {"https://ollama.com/library/x", "ollama.com", "library", "x", "",
       "ollama.com/library/x:latest"},
      {"registry.ollama.ai/me/x", "ollama.com", "me", "x", "", "ollama.com/me/x:latest"},
      {"oci://hf.co/u/r:Q8_0", "hf.co", "u", "r", "Q8_0", "hf.co/u/r:Q8_0"},
      {"oci://registry.ollama.ai/library/x", "ollama.com", "library", "x", "",
       "ollama.com/library/x:latest"},
      {"library/llama3.1", "", "", "llama3.1", "", "llama3.1:latest"},
      {"hf.co/ed.gar/my.repo", "hf.co", "ed.gar", "my.repo", "", "hf.co/ed.gar/my.repo:latest"},
      {"_m:_t", "", "", "_m", "_t", "_m:_t"},
      {"hf.co/u/r:Model-Q4_K_M.gguf", "hf.co", "u", "r", "Model-Q4_K_M.gguf",
       "hf.co/u/r:Model-Q4_K_M.gguf"},
  };
  for (const Good& c : cases) {
    const auto ref = ModelRef::parse(c.text);
    ASSERT_TRUE(ref) << c.text << ": " << ref.error().problem;
    EXPECT_EQ(ref->host, c.host) << c.text;
    EXPECT_EQ(ref->owner, c.owner) << c.text;
    EXPECT_EQ(ref->model, c.model) << c.text;
    EXPECT_EQ(ref->tag, c.tag) << c.text;
    EXPECT_EQ(ref->shortest(), c.shortest) << c.text;
    const auto again = ModelRef::parse(ref->shortest());
    ASSERT_TRUE(again) << c.text;
    EXPECT_EQ(again->shortest(), ref->shortest());
  }
}

TEST(ModelRef, RefusesWhatBreaksTheGrammar) {
  const std::string long_part(81, 'a');
  const std::string long_hub_part(97, 'a');
  const std::string cases[] = {"",
                               "m:",
                               "/m",
                               "a//b",
                               "a/",
                               ":8b",
                               "a:b:c",
                               "..",
                               ".",
                               "../../etc/passwd",
                               "-m",
                               ".m",
                               "m n",
                               "m\tn",
                               "m\x01",
                               std::string("m\0n", 3),
                               "m%2e",
                               "a\\b",
                               "m\xc3\xa9",
                               "model@sha256:abc",
                               "llama3.1@main",
                               "a.b/m",
                               "h/o/m/extra",
                               "hf.co/justone",
                               "hf.co/u/r/file.gguf",
                               "hf://only",
                               "oci://only",
                               "oci://u/r",
                               "ollama.com/x",
                               "hf.co/u/re--po",
                               "hf.co/u/re..po",
                               "hf.co/u/repo-",
                               "hf.co/u/repo.",
                               "hf.co/u/repo.git",
                               long_part,
                               "m:" + long_part,
                               long_part + "/m",
                               "hf.co/u/" + long_hub_part,
                               std::string(351, 'h') + "/o/m",
                               "https://user:secret@host/x.gguf"};
  for (const std::string& text : cases) {
    const auto ref = ModelRef::parse(text);
    ASSERT_FALSE(ref) << text;
    EXPECT_EQ(ref.error().code, ErrorCode::invalid_name) << text;
    EXPECT_FALSE(ref.error().problem.empty()) << text;
    EXPECT_EQ(ref.error().problem.find("secret"), std::string::npos);
    EXPECT_EQ(ref.error().subject.find("secret"), std::string::npos);
  }
  EXPECT_NE(ModelRef::parse("llama3.1@main").error().hint.find("--revision"), std::string::npos);
}

TEST(ModelRef, AllowsTheHubLongerParts) {
  const std::string part(96, 'a');
  EXPECT_TRUE(ModelRef::parse("hf.co/u/" + part));
  EXPECT_FALSE(ModelRef::parse("host/u/" + part));
  EXPECT_TRUE(ModelRef::parse("host/u/" + std::string(80, 'a')));
}

TEST(ModelRef, TakesAddressesOfGgufFilesAsTheyAre) {
  const auto ref = ModelRef::parse("https://example.org/dir/My Model.gguf");
  EXPECT_FALSE(ref);  // a blank must be percent-encoded
  const auto plain = ModelRef::parse("https://example.org/d/My-Model.Q4_K_M.GGUF?x=1#part");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->url, "https://example.org/d/My-Model.Q4_K_M.GGUF?x=1");
  EXPECT_EQ(plain->shortest(), "My-Model.Q4_K_M:latest");
  EXPECT_FALSE(plain->is_hub());
  const auto escaped = ModelRef::parse("http://h:81/a%20b/c%20d.gguf");
  ASSERT_TRUE(escaped);
  EXPECT_EQ(escaped->model, "c-20d");
}

TEST(ModelRef, PutsUserAndRepoOnTheHub) {
  EXPECT_EQ(ModelRef::parse("u/r:Q8_0")->on_hub().shortest(), "hf.co/u/r:Q8_0");
  EXPECT_EQ(ModelRef::parse("llama3.1:8b")->on_hub().shortest(), "llama3.1:8b");
  EXPECT_EQ(ModelRef::parse("host/u/r")->on_hub().host, "host");
}

TEST(IsLocalPath, TellsFilesFromNames) {
  const auto folder = std::filesystem::temp_directory_path() / "lm-model-ref-test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "m.bin") << "x";
  EXPECT_TRUE(is_local_path((folder / "m.bin").string()));
  EXPECT_TRUE(is_local_path("missing.gguf"));
  EXPECT_TRUE(is_local_path("./dir/missing.GGUF"));
  EXPECT_FALSE(is_local_path("llama3.1:8b"));
  EXPECT_FALSE(is_local_path("alice/m"));
  EXPECT_FALSE(is_local_path("https://example.org/x.gguf"));
  EXPECT_FALSE(is_local_path("hf.co/u/r:File.gguf"));
  EXPECT_FALSE(is_local_path("hf://u/r:File.gguf"));
  EXPECT_FALSE(is_local_path(""));
  EXPECT_FALSE(is_local_path(std::string_view("a\0.gguf", 7)));
  std::filesystem::remove_all(folder);
}

}  // namespace LM_FILE
}  // namespace lm::registry
