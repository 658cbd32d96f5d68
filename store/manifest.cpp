#include "store/manifest.h"

#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "store/json_text.h"
#include "store/names.h"
#include "store/sha256.h"

namespace lm::store {
namespace {

constexpr std::uint64_t kFormat = 1;
constexpr std::uint64_t kLayerLimit = 256;
constexpr std::uint64_t kListLimit = 65'536;

struct KindName {
  LayerKind kind;
  std::string_view name;
};
constexpr KindName kKinds[] = {{LayerKind::model, "model"},
                               {LayerKind::projector, "projector"},
                               {LayerKind::adapter, "adapter"},
                               {LayerKind::license, "license"}};

std::string_view kind_name(LayerKind kind) {
  for (const KindName& entry : kKinds) {
    if (entry.kind == kind) {
      return entry.name;
    }
  }
  return "model";
}

Result<Layer> read_layer(const nlohmann::json& json, std::string_view subject, std::size_t i) {
  const JsonReader reader(json, subject, fmt::format("layers[{}].", i));
  Layer layer;
  LM_TRY(const std::string kind, reader.text("kind"));
  bool known = false;
  for (const KindName& entry : kKinds) {
    if (entry.name == kind) {
      layer.kind = entry.kind;
      known = true;
    }
  }
  if (!known) {
    return std::unexpected(
        reader.wrong("kind", fmt::format("unknown kind '{}'", kind.substr(0, 40))));
  }
  LM_TRY(const std::string digest, reader.text("digest"));
  auto parsed = Digest::parse(digest);
  if (!parsed) {
    return std::unexpected(reader.wrong("digest", parsed.error().problem));
  }
  layer.digest = *parsed;
  LM_TRY(layer.size_bytes, reader.number("size"));
  LM_TRY(layer.file_name, reader.text_or_empty("file"));
  return layer;
}

Result<std::vector<Layer>> read_layers(const JsonReader& reader, std::string_view subject) {
  LM_TRY(const nlohmann::json* list, reader.array("layers", kLayerLimit));
  if (list->empty()) {
    return std::unexpected(reader.wrong("layers", "the model has no layers"));
  }
  std::vector<Layer> layers;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < list->size(); ++i) {
    LM_TRY(Layer layer, read_layer((*list)[i], subject, i));
    // Each is at most 2^63 - 1, so the check comes before the sum can wrap.
    if (layer.size_bytes > std::numeric_limits<std::int64_t>::max() - sum) {
      return std::unexpected(
          reader.wrong("layers", "the sizes add up to more than 2^63 - 1 bytes"));
    }
    sum += layer.size_bytes;
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<std::vector<std::string>> read_strings(const nlohmann::json& list, const JsonReader& reader,
                                              std::string_view field) {
  if (!list.is_array()) {
    return std::unexpected(
        reader.wrong(field, fmt::format("got a {}, expected an array", list.type_name())));
  }
  std::vector<std::string> result;
  for (const auto& item : list) {
    if (!item.is_string()) {
      return std::unexpected(
          reader.wrong(field, fmt::format("got a {}, expected a string", item.type_name())));
    }
    result.push_back(item.get<std::string>());
  }
  return result;
}

Result<void> read_source(const nlohmann::json& json, std::string_view subject, Manifest& manifest) {
  const JsonReader reader(json, subject, "source.");
  LM_TRY(manifest.source_repo, reader.text_or_empty("repo"));
  LM_TRY(manifest.source_commit, reader.text_or_empty("commit"));
  LM_TRY(manifest.source_path, reader.text_or_empty("path"));
  LM_TRY(manifest.source_revision, reader.text_or_empty("revision"));
  LM_TRY(manifest.source_url, reader.text_or_empty("url"));
  return {};
}

Result<void> read_additions(const nlohmann::json& json, const JsonReader& reader,
                            std::string_view subject, Manifest& manifest) {
  LM_TRY(manifest.system, reader.text_or_empty("system"));
  LM_TRY(manifest.chat_template, reader.text_or_empty("template"));
  LM_TRY(manifest.registry_template, reader.text_or_empty("registry_template"));
  if (reader.has("parameters")) {
    if (!json["parameters"].is_object()) {
      return std::unexpected(reader.wrong("parameters", "expected an object"));
    }
    for (const auto& [name, values] : json["parameters"].items()) {
      LM_TRY(manifest.parameters[name], read_strings(values, reader, "parameters"));
    }
  }
  if (reader.has("messages")) {
    LM_TRY(const nlohmann::json* list, reader.array("messages", kListLimit));
    for (std::size_t i = 0; i < list->size(); ++i) {
      const JsonReader message((*list)[i], subject, fmt::format("messages[{}].", i));
      ManifestMessage entry;
      LM_TRY(entry.role, message.text("role"));
      LM_TRY(entry.content, message.text("content"));
      manifest.messages.push_back(std::move(entry));
    }
  }
  if (reader.has("licenses")) {
    LM_TRY(const nlohmann::json* list, reader.array("licenses", kListLimit));
    LM_TRY(manifest.licenses, read_strings(*list, reader, "licenses"));
  }
  return {};
}

nlohmann::ordered_json layer_json(const Layer& layer) {
  nlohmann::ordered_json json = {
      {"kind", kind_name(layer.kind)}, {"digest", layer.digest.text()}, {"size", layer.size_bytes}};
  if (!layer.file_name.empty()) {
    json["file"] = layer.file_name;
  }
  return json;
}

}  // namespace

std::uint64_t Manifest::size_bytes() const {
  std::uint64_t sum = 0;
  for (const Layer& layer : layers) {
    sum += layer.size_bytes;
  }
  return sum;
}

std::string Manifest::to_json() const {
  nlohmann::ordered_json json = {{"version", kFormat}, {"name", name}};
  auto& list = json["layers"] = nlohmann::ordered_json::array();
  for (const Layer& layer : layers) {
    list.push_back(layer_json(layer));
  }
  const auto put = [](nlohmann::ordered_json& object, const char* field, const std::string& text) {
    if (!text.empty()) {
      object[field] = text;
    }
  };
  nlohmann::ordered_json source = nlohmann::ordered_json::object();
  put(source, "repo", source_repo);
  put(source, "commit", source_commit);
  put(source, "path", source_path);
  put(source, "revision", source_revision);
  put(source, "url", source_url);
  if (!source.empty()) {
    json["source"] = std::move(source);
  }
  if (!parameters.empty()) {
    json["parameters"] = parameters;
  }
  put(json, "system", system);
  put(json, "template", chat_template);
  put(json, "registry_template", registry_template);
  if (!messages.empty()) {
    auto& target = json["messages"] = nlohmann::ordered_json::array();
    for (const ManifestMessage& message : messages) {
      target.push_back({{"role", message.role}, {"content", message.content}});
    }
  }
  if (!licenses.empty()) {
    json["licenses"] = licenses;
  }
  put(json, "architecture", architecture);
  put(json, "quantization", quantization);
  json["parameter_count"] = parameter_count;
  json["modified"] = modified_unix;
  // Labels and templates come from outside and need not be UTF-8; what isn't becomes U+FFFD rather
  // than an exception.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Result<Manifest> Manifest::from_json(std::string_view text, std::string_view subject) {
  LM_TRY(const nlohmann::json json, parse_object(text, subject));
  const JsonReader reader(json, subject);
  LM_TRY(const std::uint64_t version, reader.number("version"));
  if (version > kFormat) {
    return std::unexpected(
        Error{.code = ErrorCode::newer_schema,
              .subject = std::string(subject),
              .problem = fmt::format("manifest format {} (this lm knows {})", version, kFormat),
              .hint = "it was written by a newer lm; update this one"});
  }
  Manifest manifest;
  LM_TRY(manifest.name, reader.text("name"));
  if (auto checked = check_model_name(manifest.name); !checked) {
    return std::unexpected(reader.wrong("name", checked.error().problem));
  }
  LM_TRY(manifest.layers, read_layers(reader, subject));
  if (reader.has("source")) {
    LM_CHECK(read_source(json["source"], subject, manifest));
  }
  LM_CHECK(read_additions(json, reader, subject, manifest));
  LM_TRY(manifest.architecture, reader.text_or_empty("architecture"));
  LM_TRY(manifest.quantization, reader.text_or_empty("quantization"));
  LM_TRY(manifest.parameter_count, reader.number_or_zero("parameter_count"));
  LM_TRY(const std::uint64_t modified, reader.number_or_zero("modified"));
  manifest.modified_unix = static_cast<std::int64_t>(modified);
  return manifest;
}

std::string manifest_key(std::string_view name) {
  constexpr std::size_t kKeyLimit = 200;
  constexpr std::size_t kKept = 180;
  std::string key;
  for (const char c : lower_case(name)) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (plain) {
      key += c;
    } else {
      key += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (key.size() > kKeyLimit) {
    key = key.substr(0, kKept) + "-" + sha256(key).hex().substr(0, 16);
  }
  return key;
}

}  // namespace lm::store
