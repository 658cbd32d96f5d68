/// What a registry says a model consists of: the image manifest of hub-protocol.md 7 and the small
/// JSON layers beside the weights. Everything here comes from strangers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "registry/error.h"
#include "store/digest.h"
#include "store/manifest.h"

namespace lm::registry {

enum class OciLayerKind {
  model,
  projector,
  adapter,
  chat_template,
  system,
  params,
  license,
  messages
};

struct OciLayer {
  OciLayerKind kind = OciLayerKind::model;
  store::Digest digest = {};
  std::uint64_t size_bytes = 0;

  /// GGUF files, which are fetched by ranges; the others are small texts.
  bool is_weights() const {
    return kind == OciLayerKind::model || kind == OciLayerKind::projector ||
           kind == OciLayerKind::adapter;
  }
};

struct OciManifest {
  std::vector<OciLayer> layers;    ///< at most 256, in the registry's order; one is a model
  store::Digest id = {};           ///< SHA-256 of its bytes
  std::uint64_t weight_bytes = 0;  ///< sum over the GGUF layers
};

/// Media types a request for a manifest accepts, as the value of Accept.
std::string_view oci_manifest_types();

/// Reads a manifest. `subject` names it in messages. Errors: protocol (no JSON, wrong types,
/// digests or sizes, no or too many layers, sizes that wrap), unsupported (a list of manifests, a
/// layer of unknown kind, safetensors).
Result<OciManifest> parse_oci_manifest(std::string_view text, std::string_view subject);

/// What the peer calls the kind, for messages: "template".
std::string_view oci_layer_name(OciLayerKind kind);

/// The params layer: names with values as text, in the form a Manifest keeps. Errors: protocol.
Result<std::map<std::string, std::vector<std::string>>> parse_oci_params(std::string_view text,
                                                                         std::string_view subject);
/// The messages layer. Errors: protocol.
Result<std::vector<store::ManifestMessage>> parse_oci_messages(std::string_view text,
                                                               std::string_view subject);

}  // namespace lm::registry
