// The registry protocol (/v2) of the test hub: hub-protocol.md 7.
#include "store/sha256.h"
#include "tests/support/test_hub_state.h"

namespace lm::test {

using nlohmann::json;

namespace {

constexpr const char* kManifestType = "application/vnd.docker.distribution.manifest.v2+json";

Answer registry_error(int status, const std::string& code, const std::string& message) {
  Answer answer{.status = status,
                .text = json{{"errors", {{{"code", code}, {"message", message}}}}}.dump()};
  answer.headers["Content-Type"] = "application/json";
  return answer;
}

}  // namespace

std::string TestHub::add_blob(std::string content) {
  const std::string hex = store::sha256(content).hex();
  const std::scoped_lock lock(state_->mutex);
  state_->by_sha[hex] = std::make_shared<Content>(std::move(content));
  return "sha256:" + hex;
}

void TestHub::remove_blob(const std::string& digest) {
  const std::scoped_lock lock(state_->mutex);
  state_->by_sha.erase(digest.substr(7));
}

void TestHub::set_manifest(const std::string& name, const std::string& tag, std::string bytes) {
  const std::scoped_lock lock(state_->mutex);
  state_->manifests[name + ":" + tag] = std::move(bytes);
}

json TestHub::add_registry_model(const std::string& name, const std::string& tag,
                                 const std::vector<std::pair<std::string, std::string>>& layers) {
  const auto layer = [this](const std::string& type, const std::string& bytes) {
    return json{{"mediaType", type}, {"digest", add_blob(bytes)}, {"size", bytes.size()}};
  };
  const std::string config = json{{"model_format", "gguf"}, {"model_family", "llama"}}.dump();
  json manifest = {{"schemaVersion", 2},
                   {"mediaType", kManifestType},
                   {"config", layer("application/vnd.docker.container.image.v1+json", config)},
                   {"layers", json::array()}};
  for (const auto& [type, bytes] : layers) {
    manifest["layers"].push_back(layer("application/vnd.ollama.image." + type, bytes));
  }
  set_manifest(name, tag, manifest.dump());
  return manifest;
}

/// /v2/<owner>/<model>/manifests/<tag>, /v2/<owner>/<model>/blobs/sha256:<hex>, /token
Answer TestHub::State::answer_registry(const ServerRequest& request) {
  if (request.path == "/token") {
    return {.text = json{{"token", options.registry_token}}.dump()};
  }
  if (!options.registry_token.empty() &&
      request.header("authorization") != "Bearer " + options.registry_token) {
    Answer answer = registry_error(401, "UNAUTHORIZED", "authentication required");
    const std::string realm =
        options.registry_realm.empty() ? hub_origin + "/token" : options.registry_realm;
    answer.headers["WWW-Authenticate"] = fmt::format(
        R"(Bearer realm="{}",service="test registry",scope="repository:library/tiny:pull")", realm);
    return answer;
  }
  const std::string rest = request.path.substr(4);
  const std::size_t last = rest.rfind('/');
  const std::size_t kind = rest.rfind('/', last - 1);
  if (last == rest.npos || kind == rest.npos) {
    return registry_error(404, "NAME_UNKNOWN", "no such repository");
  }
  const std::string name = rest.substr(0, kind);
  const std::string what = rest.substr(kind + 1, last - kind - 1);
  const std::string reference = rest.substr(last + 1);
  if (what == "manifests") {
    const auto it = manifests.find(name + ":" + reference);
    if (it == manifests.end()) {
      return registry_error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    }
    if (request.header("accept").find(kManifestType) == std::string::npos) {
      return registry_error(406, "UNSUPPORTED", "no manifest of an accepted type");
    }
    Answer answer{.text = it->second};
    answer.headers["Content-Type"] = kManifestType;
    return answer;
  }
  const std::string sha = reference.starts_with("sha256:") ? reference.substr(7) : "";
  const auto it = by_sha.find(sha);
  if (what != "blobs" || it == by_sha.end()) {
    return registry_error(404, "BLOB_UNKNOWN", "blob unknown");
  }
  Answer answer;
  if (options.without_cdn || request.method == "HEAD") {
    with_range(answer, request, it->second);
    return answer;
  }
  const bool weights = it->second->bytes().starts_with("GGUF");
  answer.status = 307;
  answer.headers["Location"] = fmt::format(
      "{}/xet-bridge-us/{}/{}?Expires={}&Signature={}&Key-Pair-Id=K", cdn_origin, sha,
      weights ? "data.gguf" : "data", std::time(nullptr) + address_life.count(), generation);
  return answer;
}

}  // namespace lm::test
