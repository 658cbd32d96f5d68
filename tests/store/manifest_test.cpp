#include "store/manifest.h"

#include <random>

#include <nlohmann/json.hpp>

#include "store/names.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

Manifest full_manifest() {
  Manifest manifest;
  manifest.name = "hf.co/User/Repo-GGUF:Q4_K_M";
  manifest.layers = {{.kind = LayerKind::model,
                      .digest = sha256("1"),
                      .size_bytes = 10,
                      .file_name = "a-00001-of-2.gguf"},
                     {.kind = LayerKind::model,
                      .digest = sha256("2"),
                      .size_bytes = 20,
                      .file_name = "a-00002-of-2.gguf"},
                     {.kind = LayerKind::projector,
                      .digest = sha256("3"),
                      .size_bytes = 3,
                      .file_name = "mmproj.gguf"},
                     {.kind = LayerKind::adapter, .digest = sha256("4"), .size_bytes = 4},
                     {.kind = LayerKind::license, .digest = sha256("5"), .size_bytes = 0}};
  manifest.source_repo = "User/Repo-GGUF";
  manifest.source_commit = std::string(40, 'c');
  manifest.source_path = "sub/a-00001-of-2.gguf";
  manifest.source_revision = "refs/pr/1";
  manifest.source_url = "https://huggingface.co";
  manifest.parameters = {{"stop", {"<|a|>", ""}}, {"temperature", {"0.5"}}};
  manifest.system = "Du bist \"nett\".\n\x01 \xF0\x9F\x98\x80";
  manifest.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}";
  manifest.registry_template = "{{ .Prompt }}";
  manifest.messages = {{"user", "hi"}, {"assistant", "ho"}};
  manifest.licenses = {"MIT", "and more"};
  manifest.architecture = "llama";
  manifest.quantization = "Q4_K_M";
  manifest.parameter_count = 8'000'000'000;
  manifest.modified_unix = 1'700'000'000;
  return manifest;
}

TEST(Manifest, ReadsWhatItWrites) {
  const Manifest manifest = full_manifest();
  const auto read = Manifest::from_json(manifest.to_json(), "m.json");
  ASSERT_OK(read);
  EXPECT_EQ(*read, manifest);
  EXPECT_EQ(manifest.size_bytes(), 37u);
  EXPECT_EQ(read->to_json(), manifest.to_json()) << "byte for byte";
  EXPECT_FALSE(manifest.to_json().contains("digest\":\"sha256-"));
}

// The id of a model is the digest of these bytes: a change of the format changes every id, so it
// must be meant.
TEST(Manifest, HasAStableForm) {
  Manifest manifest;
  manifest.name = "a:1";
  manifest.layers = {
      {.kind = LayerKind::model, .digest = sha256("abc"), .size_bytes = 3, .file_name = "a.gguf"}};
  manifest.modified_unix = 5;
  EXPECT_EQ(manifest.to_json(), R"({
  "version": 1,
  "name": "a:1",
  "layers": [
    {
      "kind": "model",
      "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "size": 3,
      "file": "a.gguf"
    }
  ],
  "parameter_count": 0,
  "modified": 5
}
)");
}

TEST(Manifest, IgnoresFieldsItDoesNotKnow) {
  auto json = nlohmann::json::parse(full_manifest().to_json());
  json["later"] = {{"a", 1}};
  json["layers"][0]["later"] = "x";
  const auto read = Manifest::from_json(json.dump(), "m.json");
  ASSERT_OK(read);
  EXPECT_EQ(*read, full_manifest());
}

struct Hostile {
  const char* what;
  std::string pointer;  ///< JSON pointer of the value that is replaced
  std::string value;    ///< JSON text
  std::string field;    ///< named by the message
  ErrorCode code = ErrorCode::corrupt;
};

TEST(Manifest, RefusesHostileFields) {
  const std::string max = "9223372036854775807";
  const Hostile cases[] = {
      {"newer", "/version", "2", "manifest format 2", ErrorCode::newer_schema},
      {"version as text", "/version", "\"1\"", "version"},
      {"no name", "/name", "null", "name"},
      {"name with a path", "/name", "\"../../x\"", "name"},
      {"name with an escape", "/name", "\"\\u001b[31m\"", "name"},
      {"empty name", "/name", "\"\"", "name"},
      {"no layers", "/layers", "[]", "layers"},
      {"layers an object", "/layers", "{}", "layers"},
      {"layer a number", "/layers/0", "1", "layers[0].kind"},
      {"unknown kind", "/layers/1/kind", "\"tensor\"", "layers[1].kind"},
      {"digest upper-case", "/layers/0/digest", "\"sha256:" + std::string(64, 'A') + "\"",
       "layers[0].digest"},
      {"digest a path", "/layers/0/digest", "\"sha256:../../../etc/passwd\"", "layers[0].digest"},
      {"digest a number", "/layers/0/digest", "5", "layers[0].digest"},
      {"negative size", "/layers/0/size", "-1", "layers[0].size"},
      {"fractional size", "/layers/0/size", "1.5", "layers[0].size"},
      {"size above 2^63", "/layers/0/size", "9223372036854775808", "layers[0].size"},
      {"size above 2^64", "/layers/0/size", "99999999999999999999999", "layers[0].size"},
      {"size as text", "/layers/0/size", "\"10\"", "layers[0].size"},
      {"sum wraps", "/layers/0/size", max, "layers"},
      {"file a list", "/layers/0/file", "[]", "layers[0].file"},
      {"source a list", "/source", "[1]", ""},
      {"repo a number", "/source/repo", "1", "source.repo"},
      {"parameters a list", "/parameters", "[]", "parameters"},
      {"parameter a text", "/parameters/stop", "\"x\"", "parameters"},
      {"parameter of numbers", "/parameters/stop", "[1]", "parameters"},
      {"message without role", "/messages/0/role", "null", "messages[0].role"},
      {"messages a text", "/messages", "\"x\"", "messages"},
      {"licence a number", "/licenses/0", "3", "licenses"},
      {"system a list", "/system", "[]", "system"},
      {"negative time", "/modified", "-5", "modified"},
      {"negative count", "/parameter_count", "-5", "parameter_count"},
  };
  for (const Hostile& c : cases) {
    if (std::string(c.what) == "source a list") {
      continue;  // an array has no members: the same as an absent source
    }
    auto json = nlohmann::json::parse(full_manifest().to_json());
    json[nlohmann::json::json_pointer(c.pointer)] = nlohmann::json::parse(c.value);
    const auto read = Manifest::from_json(json.dump(), "m.json");
    ASSERT_FALSE(read.has_value()) << c.what;
    EXPECT_EQ(read.error().code, c.code) << c.what;
    EXPECT_EQ(read.error().subject, "m.json") << c.what;
    EXPECT_TRUE(read.error().problem.contains(c.field)) << c.what << ": " << read.error().problem;
  }
}

TEST(Manifest, RefusesTooManyLayers) {
  Manifest manifest = full_manifest();
  manifest.layers.assign(256, manifest.layers[0]);
  EXPECT_OK(Manifest::from_json(manifest.to_json(), "m"));
  manifest.layers.push_back(manifest.layers[0]);
  EXPECT_ERROR(Manifest::from_json(manifest.to_json(), "m"), ErrorCode::limit_exceeded);
}

TEST(Manifest, RefusesWhatIsNoManifest) {
  const std::string good = full_manifest().to_json();
  const std::string cases[] = {
      "",
      "[]",
      "null",
      "{}",
      "{\"version\":1}",
      std::string(100'000, '['),
      std::string(100'000, '{'),
      "{\"a\":" + std::string(50'000, '[') + std::string(50'000, ']') + "}",
      good + "x",
      "\xEF\xBB\xBF\xEF\xBB\xBF" + good,
      "{\"version\":1e99999}",
      "{\"version\":1,\"name\":\"\xFF\xFE\"}",
      std::string(64, '\0')};
  for (const std::string& text : cases) {
    EXPECT_FALSE(Manifest::from_json(text, "m").has_value()) << text.substr(0, 40);
  }
  for (std::size_t length = 0; length + 2 < good.size(); ++length) {
    EXPECT_FALSE(Manifest::from_json(good.substr(0, length), "m").has_value())
        << "cut at " << length;
  }
}

// Any damage is refused or gives a manifest that can be written and read again; it never throws.
TEST(Manifest, SurvivesRandomDamage) {
  const std::string good = full_manifest().to_json();
  std::mt19937 random(7);
  int accepted = 0;
  for (int i = 0; i < 5'000; ++i) {
    std::string text = good;
    for (unsigned n = 1 + random() % 4; n > 0; --n) {
      text[random() % text.size()] = static_cast<char>(random() % 256);
    }
    const auto read = Manifest::from_json(text, "m");
    if (read) {
      ++accepted;
      const auto again = Manifest::from_json(read->to_json(), "m");
      ASSERT_OK(again);
      EXPECT_EQ(*again, *read);
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 5'000);
}

TEST(Manifest, WritesBytesThatAreNotUtf8AsReplacement) {
  Manifest manifest = full_manifest();
  manifest.system = "a\xFFz";
  const auto read = Manifest::from_json(manifest.to_json(), "m");
  ASSERT_OK(read);
  EXPECT_EQ(read->system, "a\xEF\xBF\xBDz");
}

TEST(ManifestKey, IsTheLowerCasedNameWithEscapes) {
  EXPECT_EQ(manifest_key("llama3.1:8b"), "llama3.1%3a8b");
  EXPECT_EQ(manifest_key("HF.co/User/Repo-1_x:Q4_K_M"), "hf.co%2fuser%2frepo-1_x%3aq4_k_m");
  EXPECT_EQ(manifest_key("a b"), "a%20b");
  EXPECT_EQ(manifest_key("../x"), "..%2fx");
  EXPECT_EQ(manifest_key(std::string("\0\x7f\xff", 3)), "%00%7f%ff");
  EXPECT_EQ(manifest_key("100%"), "100%25");
}

TEST(ManifestKey, ShortensAboveTwoHundredBytes) {
  EXPECT_EQ(manifest_key(std::string(200, 'A')), std::string(200, 'a'));
  const std::string long_name(201, 'a');
  EXPECT_EQ(manifest_key(long_name),
            std::string(180, 'a') + "-" + sha256(long_name).hex().substr(0, 16));
  EXPECT_EQ(manifest_key(long_name).size(), 197u);
  EXPECT_NE(manifest_key(std::string(250, 'a') + "b"), manifest_key(std::string(250, 'a') + "c"));
  EXPECT_EQ(manifest_key(std::string(250, 'A')), manifest_key(std::string(250, 'a')));
}

TEST(Names, GetTheirTagRightOfTheLastSlash) {
  EXPECT_EQ(with_tag("m"), "m:latest");
  EXPECT_EQ(with_tag("m:8b"), "m:8b");
  EXPECT_EQ(with_tag("localhost:8080/u/m"), "localhost:8080/u/m:latest");
  EXPECT_EQ(with_tag("localhost:8080/u/m:q"), "localhost:8080/u/m:q");
}

TEST(Names, AreAcceptedByTheirGrammar) {
  for (const char* name :
       {"a", "llama3.1:8b", "_x:y", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
        "localhost:8080/u/r:Q8_0", "user.name/repo:UD-Q4_K_XL"}) {
    EXPECT_OK(check_model_name(name));
  }
}

}  // namespace LM_FILE
}  // namespace lm::store
