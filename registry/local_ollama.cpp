#include "registry/local_ollama.h"

#include <fmt/format.h>

#include "registry/model_ref.h"
#include "registry/oci_manifest.h"
#include "store/sha256.h"

namespace lm::registry {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxManifestBytes = 4 << 20;
constexpr std::uint64_t kMaxTextBytes = 1 << 20;
constexpr std::string_view kOwnHost = "registry.ollama.ai";

Error refused(const fs::path& path, std::string problem) {
  return {.code = ErrorCode::corrupt, .subject = path.string(), .problem = std::move(problem)};
}

/// The blob of a layer, at most as long as its manifest says. Old versions wrote ':' for '-'.
Result<fs::path> blob_of(const LocalRoot& root, const OciLayer& layer) {
  for (const std::string& name : {layer.digest.blob_name(), layer.digest.text()}) {
    auto file = root.file(root.path / "blobs" / name);
    if (!file && file.error().code == ErrorCode::not_found) {
      continue;
    }
    LM_TRY(fs::path real, std::move(file));
    std::error_code error;
    const std::uint64_t size = fs::file_size(real, error);
    if (error || size != layer.size_bytes) {
      return std::unexpected(
          refused(real, fmt::format("has {} bytes, the manifest says {}", size, layer.size_bytes)));
    }
    return real;
  }
  return std::unexpected(refused(root.path / "blobs" / layer.digest.blob_name(), "is missing"));
}

Result<std::string> text_of(const LocalRoot& root, const OciLayer& layer) {
  LM_TRY(const fs::path path, blob_of(root, layer));
  LM_TRY(std::string text, root.text(path, kMaxTextBytes));
  if (store::sha256(text) != layer.digest) {
    return std::unexpected(refused(path, "its SHA-256 is not what its name says"));
  }
  return text;
}

Result<void> take_layer(const LocalRoot& root, const OciLayer& layer, LocalModel& model) {
  if (layer.kind == OciLayerKind::adapter) {
    return std::unexpected(Error{.code = ErrorCode::unsupported,
                                 .subject = model.origin.string(),
                                 .problem = "it has an adapter (LoRA), which is not supported"});
  }
  if (layer.is_weights()) {
    LM_TRY(const fs::path path, blob_of(root, layer));
    model.files.push_back({.path = path,
                           .kind = layer.kind == OciLayerKind::projector
                                       ? store::LayerKind::projector
                                       : store::LayerKind::model,
                           .file_name = layer.digest.blob_name(),
                           .digest = layer.digest});
    return {};
  }
  LM_TRY(std::string text, text_of(root, layer));
  store::Manifest& additions = model.additions;
  switch (layer.kind) {
    case OciLayerKind::chat_template:
      additions.registry_template = std::move(text);
      break;
    case OciLayerKind::system:
      additions.system = std::move(text);
      break;
    case OciLayerKind::license:
      additions.licenses.push_back(std::move(text));
      break;
    case OciLayerKind::params: {
      LM_TRY(additions.parameters, parse_oci_params(text, model.origin.string()));
      break;
    }
    case OciLayerKind::messages: {
      LM_TRY(additions.messages, parse_oci_messages(text, model.origin.string()));
      break;
    }
    default:
      break;
  }
  return {};
}

/// One manifest; its four folders are its name.
Result<LocalModel> read_model(const LocalRoot& root, const std::string& relative) {
  const fs::path path = root.path / "manifests" / relative;
  std::vector<std::string> parts;
  for (const fs::path& part : fs::path(relative)) {
    parts.push_back(part.string());
  }
  if (parts.size() != 4) {
    return std::unexpected(refused(path, "its place is no host/namespace/model/tag"));
  }
  LocalModel model{.name = {}, .origin = path, .files = {}};
  const bool own = parts[0] == kOwnHost;
  const std::string address =
      fmt::format("{}/{}/{}:{}", own ? "ollama.com" : parts[0], parts[1], parts[2], parts[3]);
  const auto ref = ModelRef::parse(address);
  if (!ref) {
    return std::unexpected(refused(path, "its place is no model's name: " + ref.error().problem));
  }
  model.name =
      own && parts[1] == "library" ? fmt::format("{}:{}", parts[2], parts[3]) : ref->shortest();
  LM_TRY(const std::string text, root.text(path, kMaxManifestBytes));
  LM_TRY(const OciManifest manifest, parse_oci_manifest(text, path.string()));
  for (const OciLayer& layer : manifest.layers) {
    LM_CHECK(take_layer(root, layer, model));
  }
  // Where a repair and an update find it again.
  model.additions.source_repo = ref->repo();
  model.additions.source_commit = manifest.id.hex();
  model.additions.source_path = (ref->is_hub() ? "oci://" : "") + ref->shortest();
  model.additions.source_url =
      fmt::format("https://{}/v2/{}/manifests/{}", parts[0], ref->repo(), parts[3]);
  return model;
}

}  // namespace

Result<LocalScan> scan_ollama(const LocalRoot& root) {
  LocalScan scan;
  std::error_code ignored;
  const fs::path folder = root.path / "manifests";
  if (!fs::is_directory(folder, ignored)) {
    scan.refused.push_back({.path = root.path, .reason = "has no folder manifests"});
    return scan;
  }
  constexpr int kDepth = 8;  // names of some hosts hold a slash more; they get a line
  // Every name here is a tag, so every file that can't be looked at gets a line.
  LM_TRY(const std::vector<WalkedFile> files, walk_files(root, folder, kDepth, scan.refused, ""));
  for (const WalkedFile& file : files) {
    auto model = read_model(root, file.file.path);
    if (model) {
      scan.models.push_back(std::move(*model));
    } else {
      const Error& error = model.error();
      const std::string subject =
          error.subject == (folder / file.file.path).string() ? "" : error.subject + ": ";
      scan.refused.push_back({.path = folder / file.file.path,
                              .reason = subject + error.problem,
                              .is_fault = error.code != ErrorCode::unsupported});
    }
  }
  return scan;
}

}  // namespace lm::registry
