// The registry protocol: what a tag brings into the store, and what strangers may send instead.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "registry/oci_manifest.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

using nlohmann::json;
using test::Fault;

constexpr const char* kName = "ollama.com/library/tiny:1b";

/// Bytes the double takes for weights.
std::string gguf(std::size_t bytes, std::uint64_t seed = 1) {
  return "GGUF" + noise(bytes - 4, seed);
}

class OciTest : public PullTest {
 protected:
  void start(test::TestHub::Options options = {}) {
    PullTest::start(std::move(options));
    settings_.ollama_endpoint = hub_->endpoint();
    settings_.endpoint = "http://127.0.0.1:9";  // the hub itself has no part in this
  }
  Error error_of(const std::string& name, const PullOptions& options = {}) {
    const auto result = pull_name(name, options);
    EXPECT_FALSE(result) << name;
    EXPECT_TRUE(open_store().list()->empty());
    return result ? Error{} : result.error();
  }
  store::Manifest stored(const std::string& name) {
    auto manifest = open_store().find(name);
    EXPECT_TRUE(manifest) << name;
    return manifest ? *manifest : store::Manifest{};
  }
};

TEST_F(OciTest, BringsEveryLayerIntoTheManifest) {
  start();
  const std::string weights = gguf(3 << 20);
  const std::string projector = gguf(9000, 2);
  hub_->add_registry_model(
      "library/tiny", "1b",
      {{"model", weights},
       {"projector", projector},
       {"template", "{{ .System }} {{ .Prompt }}"},
       {"system", "You are terse."},
       {"license", "licence one"},
       {"license", "licence two"},
       {"params", R"({"stop":["<|end|>","<|x|>"],"temperature":0.6,"num_ctx":4096,"seed":null})"},
       {"messages", R"([{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}])"}});
  const auto result = pull_name(kName);
  ASSERT_TRUE(result) << result.error().subject << ": " << result.error().problem;
  EXPECT_EQ(result->name, kName);
  EXPECT_EQ(result->fetched_bytes, weights.size() + projector.size());
  const store::Manifest manifest = stored(kName);
  ASSERT_EQ(manifest.layers.size(), 2u);
  EXPECT_EQ(manifest.layers[0].kind, store::LayerKind::model);
  EXPECT_EQ(manifest.layers[1].kind, store::LayerKind::projector);
  EXPECT_TRUE(stored_bytes(kName, 0) == weights);
  EXPECT_TRUE(stored_bytes(kName, 1) == projector);
  EXPECT_EQ(manifest.chat_template, "{{ .System }} {{ .Prompt }}");
  EXPECT_EQ(manifest.registry_template, "");
  EXPECT_EQ(manifest.system, "You are terse.");
  EXPECT_EQ(manifest.licenses, (std::vector<std::string>{"licence one", "licence two"}));
  const std::map<std::string, std::vector<std::string>> parameters{
      {"num_ctx", {"4096"}}, {"stop", {"<|end|>", "<|x|>"}}, {"temperature", {"0.6"}}};
  EXPECT_EQ(manifest.parameters, parameters);
  EXPECT_EQ(manifest.messages,
            (std::vector<store::ManifestMessage>{{"user", "hi"}, {"assistant", "ho"}}));
  EXPECT_EQ(manifest.source_repo, "library/tiny");
  EXPECT_EQ(manifest.source_url, hub_->endpoint() + "/v2/library/tiny/manifests/1b");

  hub_->clear_log();
  const auto again = pull_name(kName);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->already_current);
  EXPECT_EQ(hub_->log().size(), 1u) << "one question for the manifest";
}

TEST_F(OciTest, TheFilesOwnTemplateWins) {
  start();
  hub_->add_registry_model("library/tiny", "1b",
                           {{"model", gguf(5000)}, {"template", "{{ .Prompt }}"}});
  auto store = open_store();
  const auto ref = *ModelRef::parse(kName);
  const Inspect inspect = [](const auto&) {
    return GgufSummary{.architecture = "llama",
                       .quantization = "Q4_0",
                       .parameter_count = 1,
                       .has_chat_template = true};
  };
  ASSERT_TRUE(pull(store, settings_, ref, {}, inspect, {}, stop_));
  EXPECT_EQ(store.find(kName)->chat_template, "");
  EXPECT_EQ(store.find(kName)->registry_template, "{{ .Prompt }}");
}

TEST_F(OciTest, LeavesOutParametersTheEngineDoesNotTake) {
  start();
  hub_->add_registry_model(
      "library/tiny", "1b",
      {{"model", gguf(5000)}, {"params", R"({"temperature":0.5,"num_gqa":8,"min_p":7})"}});
  PullOptions options;
  options.takes_parameter = [](std::string_view name, std::string_view value) {
    return name == "temperature" || (name == "min_p" && value == "0.1");
  };
  ASSERT_TRUE(pull_name(kName, options));
  EXPECT_EQ(stored(kName).parameters.size(), 1u);
  EXPECT_TRUE(said(PullEvent::Kind::warning, "min_p, num_gqa"));
}

TEST_F(OciTest, NewerManifestReplacesAndKeepsCommonBlobs) {
  start();
  const std::string weights = gguf(2 << 20);
  hub_->add_registry_model("library/tiny", "1b", {{"model", weights}, {"system", "one"}});
  ASSERT_TRUE(pull_name(kName));
  hub_->add_registry_model("library/tiny", "1b", {{"model", weights}, {"system", "two"}});
  hub_->clear_log();
  const auto result = pull_name(kName);
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->already_current);
  EXPECT_EQ(result->fetched_bytes, 0u);
  EXPECT_EQ(hub_->weight_bytes(), 0u);
  EXPECT_EQ(stored(kName).system, "two");
}

TEST_F(OciTest, AsksForATokenAndKeepsItHome) {
  for (const bool without_cdn : {false, true}) {
    start({.without_cdn = without_cdn, .registry_token = "tok"});
    settings_.token = Secret("hf_secret");
    settings_.token_source = "HF_TOKEN";
    const std::string weights = gguf(18 << 20);
    hub_->add_registry_model("library/tiny", "1b", {{"model", weights}, {"system", "s"}});
    const auto result = pull_name(kName);
    ASSERT_TRUE(result) << result.error().subject << ": " << result.error().problem;
    EXPECT_TRUE(stored_bytes(kName) == weights);
    int tokens = 0;
    for (const auto& record : hub_->log()) {
      EXPECT_FALSE(record.cdn && record.authorized) << record.target;
      tokens += record.target.starts_with("/token") ? 1 : 0;
    }
    EXPECT_EQ(tokens, 1);
    std::filesystem::remove_all(home());
  }
}

TEST_F(OciTest, NeverSendsForATokenToAnotherHost) {
  test::TestHub elsewhere;
  for (const std::string& realm :
       {elsewhere.endpoint() + "/token", std::string("https://example.com/token"),
        std::string("ftp://x"), std::string("/token"), std::string("")}) {
    start({.registry_token = "tok", .registry_realm = realm.empty() ? " " : realm});
    hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}});
    EXPECT_EQ(error_of(kName).code, ErrorCode::protocol) << realm;
  }
  EXPECT_TRUE(elsewhere.log().empty());
}

TEST_F(OciTest, SaysWhatIsMissing) {
  start();
  const json manifest =
      hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}, {"system", "s"}});
  EXPECT_EQ(error_of("ollama.com/library/none").code, ErrorCode::not_found);
  const Error no_tag = error_of("ollama.com/library/tiny:7b");
  EXPECT_EQ(no_tag.code, ErrorCode::not_found);
  EXPECT_NE(no_tag.problem.find("library/tiny:7b"), std::string::npos) << no_tag.problem;
  EXPECT_NE(no_tag.problem.find("manifest unknown"), std::string::npos) << no_tag.problem;
  for (const std::size_t layer : {std::size_t{1}, std::size_t{0}}) {
    hub_->remove_blob(manifest["layers"][layer]["digest"]);
    const Error error = error_of(kName);
    EXPECT_EQ(error.code, ErrorCode::not_found);
    EXPECT_NE(error.problem.find(layer == 0 ? "model layer" : "system layer"), std::string::npos)
        << error.problem;
    hub_->add_blob(layer == 0 ? gguf(5000) : "s");
  }
  EXPECT_TRUE(pull_name(kName));
}

TEST_F(OciTest, MapsRefusals) {
  for (const auto& [status, code] : {std::pair{401, ErrorCode::unauthorized},
                                     {403, ErrorCode::unauthorized},
                                     {404, ErrorCode::not_found},
                                     {418, ErrorCode::http}}) {
    start();
    hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}});
    for (const char* target : {"/manifests/", "/blobs/"}) {
      hub_->add_fault({.kind = Fault::Kind::status,
                       .times = 100,
                       .cdn = false,
                       .target = target,
                       .status = status});
      EXPECT_EQ(error_of(kName).code, code) << status << target;
      hub_->clear_faults();
    }
  }
}

TEST_F(OciTest, RefusesLayersThatAreNotWhatTheManifestSays) {
  start();
  json manifest =
      hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}, {"system", "s"}});
  const json right = manifest;
  manifest["layers"][1]["size"] = 2;
  hub_->set_manifest("library/tiny", "1b", manifest.dump());
  EXPECT_EQ(error_of(kName).code, ErrorCode::digest_mismatch);
  manifest = right;
  manifest["layers"][0]["size"] = 5001;
  hub_->set_manifest("library/tiny", "1b", manifest.dump());
  error_of(kName);
  manifest = right;
  manifest["layers"][1]["size"] = 2 << 20;
  hub_->set_manifest("library/tiny", "1b", manifest.dump());
  EXPECT_EQ(error_of(kName).code, ErrorCode::limit_exceeded);
  hub_->set_manifest("library/tiny", "1b", right.dump());
  hub_->add_fault({.kind = Fault::Kind::corrupt, .times = 100, .after_bytes = 77});
  EXPECT_EQ(error_of(kName).code, ErrorCode::digest_mismatch);
  hub_->clear_faults();
  EXPECT_TRUE(pull_name(kName));
}

TEST_F(OciTest, RefusesHostileManifests) {
  start();
  const json good =
      hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}, {"system", "s"}});
  const std::string hex(64, 'a');
  int tried = 0;
  const auto refuse = [&](const std::string& bytes, ErrorCode code) {
    hub_->set_manifest("library/tiny", "1b", bytes);
    const Error error = error_of(kName);
    EXPECT_EQ(error.code, code) << bytes.substr(0, 300) << "\n" << error.problem;
    EXPECT_FALSE(error.problem.empty());
    ++tried;
  };
  const auto with = [&](const std::string& pointer, const json& value) {
    json changed = good;
    changed[json::json_pointer(pointer)] = value;
    return changed.dump();
  };
  for (const char* bytes : {"", "[]", "null", "{", "{}", "<html>", "\xff\xfe", R"({"layers":7})",
                            R"({"layers":{}})", R"({"layers":[]})", R"({"layers":[7]})"}) {
    refuse(bytes, ErrorCode::protocol);
  }
  for (const json& digest :
       {json("sha256:" + std::string(64, 'A')), json("sha256:" + hex + "0"), json("sha256-" + hex),
        json("md5:" + hex), json(hex), json("sha256:../../../etc/passwd"), json(""), json(7),
        json("sha256:" + hex.substr(1) + "\0")}) {
    refuse(with("/layers/0/digest", digest), ErrorCode::protocol);
  }
  for (const json& size : {json(-1), json(1e30), json("5000"), json(nullptr), json(1.5)}) {
    refuse(with("/layers/0/size", size), ErrorCode::protocol);
  }
  refuse(with("/layers/0/size", 9223372036854775807u), ErrorCode::protocol);  // the sum wraps
  refuse(with("/layers/0/size", 1ull << 60), ErrorCode::no_space);
  refuse(with("/layers/0/mediaType", "application/vnd.ollama.image.tensor"),
         ErrorCode::unsupported);
  for (const char* type :
       {"application/vnd.oci.image.layer.v1.tar+gzip", "text/html", "application/vnd.ollama.image.",
        "application/vnd.ollama.image.models"}) {
    refuse(with("/layers/0/mediaType", type), ErrorCode::unsupported);
  }
  refuse(with("/layers/0/mediaType", 7), ErrorCode::protocol);
  refuse(with("/layers/0/mediaType", "application/vnd.ollama.image.license"),
         ErrorCode::unsupported);  // no model is left
  refuse(with("/mediaType", "application/vnd.docker.distribution.manifest.list.v2+json"),
         ErrorCode::unsupported);
  refuse(with("/manifests", json::array()), ErrorCode::unsupported);
  json twice = good;
  twice["layers"].push_back(twice["layers"][1]);
  refuse(twice.dump(), ErrorCode::protocol);
  json many = good;
  for (int i = 0; i < 300; ++i) {
    many["layers"].push_back(many["layers"][0]);
  }
  refuse(many.dump(), ErrorCode::protocol);
  refuse(std::string(200'000, '['), ErrorCode::protocol);
  refuse("{\"layers\":[" + std::string(1'000'000, ',') + "]}", ErrorCode::protocol);
  refuse(std::string(5 << 20, ' '), ErrorCode::limit_exceeded);
  EXPECT_EQ(hub_->weight_bytes(), 0u);
  std::printf("%d hostile manifests refused\n", tried);
}

TEST_F(OciTest, RefusesHostileSmallLayers) {
  for (const auto& [type, bytes] : {std::pair{"params", "[]"},
                                    {"params", "{"},
                                    {"params", R"({"A b":1})"},
                                    {"params", R"({"stop":[["x"]]})"},
                                    {"params", R"({"stop":{"a":1}})"},
                                    {"messages", "{}"},
                                    {"messages", R"([{"role":"root","content":"x"}])"},
                                    {"messages", "[7]"}}) {
    start();
    hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}, {type, bytes}});
    EXPECT_EQ(error_of(kName).code, ErrorCode::protocol) << bytes;
  }
}

TEST_F(OciTest, EndsRedirectLoops) {
  start();
  hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}});
  for (const char* target : {"/manifests/", "/blobs/"}) {
    hub_->add_fault({.kind = Fault::Kind::status,
                     .times = 1000,
                     .cdn = false,
                     .target = target,
                     .status = 307,
                     .headers = {{"Location", std::string("/v2/library/tiny") + target + "x"}}});
    EXPECT_EQ(error_of(kName).code, ErrorCode::protocol) << target;
    hub_->clear_faults();
    EXPECT_LT(hub_->log().size(), 40u);
  }
}

TEST_F(OciTest, DryRunNamesLayersAndFetchesNone) {
  start();
  hub_->add_registry_model("library/tiny", "1b", {{"model", gguf(5000)}, {"system", "s"}});
  const auto result = pull_name(kName, {.dry_run = true});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->total_bytes, 5000u);
  ASSERT_EQ(result->files.size(), 1u);
  EXPECT_TRUE(result->files[0].starts_with("model sha256:")) << result->files[0];
  EXPECT_EQ(hub_->log().size(), 1u);
  EXPECT_TRUE(open_store().list()->empty());
}

TEST_F(OciTest, ContinuesAfterAnInterrupt) {
  start({.bytes_per_second = 60 << 20});
  const std::string weights = gguf(20 << 20);
  hub_->add_registry_model("library/tiny", "1b", {{"model", weights}});
  on_event_ = [&](const PullEvent& event) {
    if (event.kind == PullEvent::Kind::progress && event.completed_bytes >= (8u << 20)) {
      stop_ = true;
    }
  };
  EXPECT_EQ(error_of(kName).code, ErrorCode::interrupted);
  stop_ = false;
  on_event_ = {};
  hub_->set_bytes_per_second(0);
  hub_->clear_log();
  ASSERT_TRUE(pull_name(kName));
  EXPECT_LE(hub_->weight_bytes(), 12u << 20);
  EXPECT_TRUE(stored_bytes(kName) == weights);
}

TEST_F(OciTest, HostsAreAskedByTheirOwnAddress) {
  start();
  const std::string host = hub_->endpoint().substr(7);  // 127.0.0.1:port speaks http
  hub_->add_registry_model("me/mine", "q8_0", {{"model", gguf(5000)}});
  const auto result = pull_name(host + "/me/mine:q8_0");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_EQ(result->name, host + "/me/mine:q8_0");
  EXPECT_TRUE(pull_name(host + "/me/mine", {.quant = "q8_0"})->already_current);
  EXPECT_EQ(pull_name("http://example.com/me/mine").error().code, ErrorCode::unauthorized);
  EXPECT_EQ(pull_name(host + "/me/mine:q8_0", {.file = "x.gguf"}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(pull_name(host + "/me/mine:q8_0", {.revision = "main"}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(pull_name(host + "/me/mine", {.quant = "../../x"}).error().code,
            ErrorCode::invalid_name);
}

TEST_F(OciTest, TheHubSpeaksItToo) {
  start({.token = "hf_good"});
  settings_.endpoint = hub_->endpoint();
  settings_.token = Secret("hf_good");
  settings_.token_source = "HF_TOKEN";
  const std::string weights = gguf(5000);
  hub_->add_registry_model("u/r", "Q4_K_M", {{"model", weights}, {"template", "{{ .Prompt }}"}});
  const auto result = pull_name("oci://hf.co/u/r:Q4_K_M");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_EQ(result->name, "hf.co/u/r:Q4_K_M");
  EXPECT_TRUE(stored_bytes(result->name) == weights);
  for (const auto& record : hub_->log()) {
    EXPECT_EQ(record.authorized, !record.cdn) << record.target;
  }
}

}  // namespace LM_FILE
}  // namespace lm::registry
