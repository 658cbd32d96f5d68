#include "registry/oci_manifest.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include "registry/untrusted_json.h"
#include "store/sha256.h"

namespace lm::registry {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxLayers = 256;
constexpr std::size_t kMaxParams = 100;
constexpr std::size_t kMaxValues = 100;
constexpr std::size_t kMaxValueBytes = 4096;
constexpr std::size_t kMaxMessages = 10'000;
constexpr std::string_view kPrefix = "application/vnd.ollama.image.";
constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";

struct KindName {
  OciLayerKind kind;
  std::string_view name;
  bool only_one;
};
constexpr std::array kKinds{
    KindName{OciLayerKind::model, "model", false},
    KindName{OciLayerKind::projector, "projector", false},
    KindName{OciLayerKind::adapter, "adapter", false},
    KindName{OciLayerKind::chat_template, "template", true},
    KindName{OciLayerKind::system, "system", true},
    KindName{OciLayerKind::params, "params", true},
    KindName{OciLayerKind::license, "license", false},
    KindName{OciLayerKind::messages, "messages", true},
};

std::unexpected<Error> broken(std::string_view subject, std::string problem) {
  return std::unexpected(Error{.code = ErrorCode::protocol,
                               .subject = std::string(subject),
                               .problem = std::move(problem),
                               .hint = "this is not how a model registry answers; check the name"});
}

std::unexpected<Error> unsupported(std::string_view subject, std::string problem,
                                   std::string hint) {
  return std::unexpected(Error{.code = ErrorCode::unsupported,
                               .subject = std::string(subject),
                               .problem = std::move(problem),
                               .hint = std::move(hint)});
}

Result<OciLayer> read_layer(const json& entry, std::size_t index, std::string_view subject) {
  OciLayer layer;
  const std::string type = string_at(entry, "mediaType");
  const std::string shown = type.substr(0, 100);
  if (!entry.is_object() || type.empty()) {
    return broken(subject, fmt::format("layers[{}] has no mediaType", index));
  }
  const std::string_view name =
      type.starts_with(kPrefix) ? std::string_view(type).substr(kPrefix.size()) : "";
  const auto known = std::ranges::find(kKinds, name, &KindName::name);
  if (name == "tensor") {
    return unsupported(subject, "the model is stored as safetensors, not as GGUF",
                       "look for a GGUF of it: lm search");
  }
  if (known == kKinds.end()) {
    return unsupported(
        subject, fmt::format("layers[{}] is of a kind this lm doesn't know: {}", index, shown),
        "a newer lm may know it; look for a GGUF of the model: lm search");
  }
  layer.kind = known->kind;
  const auto digest = store::Digest::parse(string_at(entry, "digest"));
  if (!digest || !string_at(entry, "digest").starts_with("sha256:")) {
    return broken(subject, fmt::format("layers[{}].digest is no sha256:<64 hex digits>", index));
  }
  layer.digest = *digest;
  const auto size = entry.find("size");
  if (size == entry.end() || !size->is_number_unsigned()) {
    return broken(subject, fmt::format("layers[{}].size is no number of bytes", index));
  }
  layer.size_bytes = size->get<std::uint64_t>();
  return layer;
}

/// A parameter's value as Modelfiles write it; nothing for what can't be one.
std::optional<std::string> value_text(const json& value) {
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    return text.size() <= kMaxValueBytes && text.find('\0') == text.npos ? std::optional(text)
                                                                         : std::nullopt;
  }
  if (value.is_number() || value.is_boolean()) {
    return value.dump();
  }
  return std::nullopt;
}

}  // namespace

std::string_view oci_manifest_types() {
  static const std::string types = fmt::format("{}, {}", kDockerManifest, kOciManifest);
  return types;
}

std::string_view oci_layer_name(OciLayerKind kind) {
  return std::ranges::find(kKinds, kind, &KindName::kind)->name;
}

Result<OciManifest> parse_oci_manifest(std::string_view text, std::string_view subject) {
  const auto document = parse_untrusted(text);
  if (!document || !document->is_object()) {
    return broken(subject, "the manifest is no JSON object");
  }
  const std::string type = string_at(*document, "mediaType");
  if (document->contains("manifests")) {
    return unsupported(subject, "it is a list of manifests, one a platform",
                       "name a tag that is a model");
  }
  if (!type.empty() && type != kDockerManifest && type != kOciManifest) {
    return unsupported(subject,
                       fmt::format("its manifest is of an unknown kind: {}", type.substr(0, 100)),
                       "name a tag that is a model");
  }
  const auto layers = document->find("layers");
  if (layers == document->end() || !layers->is_array() || layers->empty()) {
    return broken(subject, "the manifest has no layers");
  }
  if (layers->size() > kMaxLayers) {
    return broken(subject, fmt::format("the manifest has {} layers, at most {} are allowed",
                                       layers->size(), kMaxLayers));
  }
  OciManifest manifest{.layers = {}, .id = store::sha256(text)};
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < layers->size(); ++i) {
    LM_TRY(const OciLayer layer, read_layer((*layers)[i], i, subject));
    if (layer.size_bytes > std::numeric_limits<std::int64_t>::max() - sum) {
      return broken(subject, "the sizes of its layers don't add up");
    }
    sum += layer.size_bytes;
    manifest.weight_bytes += layer.is_weights() ? layer.size_bytes : 0;
    manifest.layers.push_back(layer);
  }
  for (const KindName& kind : kKinds) {
    const auto count = std::ranges::count(manifest.layers, kind.kind, &OciLayer::kind);
    if (kind.only_one && count > 1) {
      return broken(subject, fmt::format("the manifest has {} {} layers", count, kind.name));
    }
  }
  if (std::ranges::count(manifest.layers, OciLayerKind::model, &OciLayer::kind) == 0) {
    return unsupported(subject, "the manifest has no model layer", "name a tag that is a model");
  }
  return manifest;
}

Result<std::map<std::string, std::vector<std::string>>> parse_oci_params(std::string_view text,
                                                                         std::string_view subject) {
  const auto document = parse_untrusted(text);
  if (!document || !document->is_object() || document->size() > kMaxParams) {
    return broken(subject, "the params layer is no JSON object of parameters");
  }
  std::map<std::string, std::vector<std::string>> params;
  for (const auto& [name, value] : document->items()) {
    const bool plain = !name.empty() && name.size() <= 64 &&
                       name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == name.npos;
    if (!plain || (value.is_array() && value.size() > kMaxValues)) {
      return broken(subject, "the params layer has something that is no parameter");
    }
    std::vector<std::string> values;
    for (const json& item : value.is_array() ? value : json::array({value})) {
      if (item.is_null()) {
        continue;  // the peer's word for: not set
      }
      auto one = value_text(item);
      if (!one) {
        return broken(subject, fmt::format("parameter {} has a value that can't be one", name));
      }
      values.push_back(std::move(*one));
    }
    if (!values.empty()) {
      params[name] = std::move(values);
    }
  }
  return params;
}

Result<std::vector<store::ManifestMessage>> parse_oci_messages(std::string_view text,
                                                               std::string_view subject) {
  const auto document = parse_untrusted(text);
  if (!document || !document->is_array() || document->size() > kMaxMessages) {
    return broken(subject, "the messages layer is no JSON array of messages");
  }
  std::vector<store::ManifestMessage> messages;
  for (const json& entry : *document) {
    const std::string role = string_at(entry, "role");
    if (role != "system" && role != "user" && role != "assistant") {
      return broken(subject, "the messages layer has a message without a known role");
    }
    messages.push_back({.role = role, .content = string_at(entry, "content")});
  }
  return messages;
}

}  // namespace lm::registry
