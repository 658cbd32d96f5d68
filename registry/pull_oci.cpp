// Pulls from a registry: one manifest, its GGUF layers through the downloader, its small layers
// into the model's manifest.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "registry/ascii.h"
#include "registry/pull_run.h"

namespace lm::registry {
namespace {

constexpr std::size_t kMaxTextBytes = 1 << 20;
constexpr std::size_t kMaxLicenseBytes = 256 << 10;

store::LayerKind kind_in_store(OciLayerKind kind) {
  return kind == OciLayerKind::projector ? store::LayerKind::projector
         : kind == OciLayerKind::adapter ? store::LayerKind::adapter
                                         : store::LayerKind::model;
}

std::string layer_label(const OciLayer& layer) {
  return fmt::format("{} {}", oci_layer_name(layer.kind), layer.digest.text().substr(0, 19));
}

}  // namespace

/// Parameters that the engine takes; a model must not fail at every start for one it doesn't.
void PullRun::take_params(std::map<std::string, std::vector<std::string>> params,
                          store::Manifest& manifest) {
  std::vector<std::string> left_out;
  for (auto& [name, values] : params) {
    if (options_.takes_parameter) {
      const std::string& named = name;
      const auto erased = std::erase_if(values, [&](const std::string& value) {
        return !options_.takes_parameter(named, value);
      });
      if (erased > 0) {
        left_out.push_back(name);
      }
    }
    if (!values.empty()) {
      manifest.parameters[name] = std::move(values);
    }
  }
  if (!left_out.empty()) {
    warn(fmt::format("parameters of the registry that this lm doesn't take are left out: {}",
                     fmt::join(left_out, ", ")));
  }
}

Result<void> PullRun::take_texts(OciClient& client, const OciManifest& oci,
                                 store::Manifest& manifest) {
  for (const OciLayer& layer : oci.layers) {
    if (layer.is_weights()) {
      continue;
    }
    const bool license = layer.kind == OciLayerKind::license;
    LM_TRY(std::string text, client.text(layer, license ? kMaxLicenseBytes : kMaxTextBytes));
    switch (layer.kind) {
      case OciLayerKind::chat_template:
        manifest.chat_template = std::move(text);
        break;
      case OciLayerKind::system:
        manifest.system = std::move(text);
        break;
      case OciLayerKind::license:
        manifest.licenses.push_back(std::move(text));
        break;
      case OciLayerKind::params: {
        LM_TRY(auto params, parse_oci_params(text, manifest.name));
        take_params(std::move(params), manifest);
        break;
      }
      case OciLayerKind::messages: {
        LM_TRY(manifest.messages, parse_oci_messages(text, manifest.name));
        break;
      }
      case OciLayerKind::model:
      case OciLayerKind::projector:
      case OciLayerKind::adapter:
        break;
    }
  }
  return {};
}

Result<PullResult> PullRun::run_oci() {
  for (const auto& [flag, value] :
       {std::pair{"--file", &options_.file}, {"--revision", &options_.revision}}) {
    if (!value->empty()) {
      return std::unexpected(Error{.code = ErrorCode::invalid_argument,
                                   .subject = flag,
                                   .problem = "a registry knows tags only",
                                   .hint = "name the tag: host/owner/model:tag"});
    }
  }
  ModelRef ref = ref_;
  ref.tag = options_.quant.empty() ? ref_.tag_or_default() : options_.quant;
  const std::string text_of_ref = ref.shortest();
  LM_CHECK(ModelRef::parse(text_of_ref));  // --quant may be anything
  LM_TRY(Url base, registry_address(settings_, ref));
  OciClient client(http_, std::move(base), ref.repo());
  LM_TRY(const OciManifest oci, client.manifest(ref.tag));
  store::Manifest manifest;
  manifest.name = options_.store_as.empty() ? text_of_ref : options_.store_as;
  manifest.source_path = (ref.is_hub() ? "oci://" : ref.plain_http ? "http://" : "") + text_of_ref;
  manifest.source_repo = ref.repo();
  manifest.source_commit = oci.id.hex();
  manifest.source_url = client.manifest_address(ref.tag);
  PullResult result{.name = manifest.name,
                    .id = {},
                    .repo = ref.repo(),
                    .commit = oci.id.hex(),
                    .label = ref.tag,
                    .files = {},
                    .total_bytes = oci.weight_bytes};
  std::vector<DownloadSource> sources;
  std::vector<store::LayerKind> kinds;
  std::vector<store::Journal> identities;
  for (const OciLayer& layer : oci.layers) {
    if (!layer.is_weights()) {
      continue;
    }
    DownloadSource source;
    source.file_name = layer_label(layer);
    source.identity.repo = ref.repo();
    source.identity.path = layer.digest.text();
    source.identity.model = manifest.name;
    source.identity.size_bytes = layer.size_bytes;
    source.identity.sha256 = layer.digest;
    source.resolve = [&client, layer] { return client.resolve(layer); };
    result.files.push_back(source.file_name);
    identities.push_back(source.identity);
    kinds.push_back(kind_in_store(layer.kind));
    sources.push_back(std::move(source));
  }
  if (const auto old = store_.find(manifest.name);
      old && equal_ignoring_case(old->name, manifest.name) &&
      old->source_commit == manifest.source_commit && layers_are_there(*old)) {
    return current(*old, std::move(result));
  }
  if (options_.dry_run) {
    return result;
  }
  // The small layers first: what is wrong with them is known before gigabytes travel.
  LM_CHECK(take_texts(client, oci, manifest));
  LM_CHECK(check_space(identities));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    LM_TRY(store::Layer layer, fetch(sources[i], kinds[i], result));
    if (layer.kind == store::LayerKind::adapter) {
      warn("the model has an adapter; it is stored, but this lm doesn't apply adapters yet");
    }
    manifest.layers.push_back(std::move(layer));
  }
  LM_CHECK(finish(std::move(manifest), result));
  return result;
}

}  // namespace lm::registry
