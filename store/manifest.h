/// One model: what it consists of. Manifests and blobs are the truth of the store; the index is
/// rebuilt from them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "store/digest.h"
#include "store/lease.h"

namespace lm::store {

/// What a layer holds.
enum class LayerKind { model, projector, adapter, license };

struct Layer {
  LayerKind kind = LayerKind::model;
  Digest digest = {};
  std::uint64_t size_bytes = 0;
  std::string file_name = {};  ///< label only (where it came from), never a path on our disk
  Lease lease = {};            ///< of a layer that was just added; neither stored nor compared
  friend bool operator==(const Layer& a, const Layer& b) {
    return a.kind == b.kind && a.digest == b.digest && a.size_bytes == b.size_bytes &&
           a.file_name == b.file_name;
  }
};

/// One MESSAGE of a Modelfile.
struct ManifestMessage {
  std::string role;
  std::string content;
  friend bool operator==(const ManifestMessage&, const ManifestMessage&) = default;
};

/// manifests/<key>.json. A split GGUF has one `model` layer per part, in order.
struct Manifest {
  std::string name;  ///< shortest form with tag, as first spelt: "llama3.1:8b", "hf.co/u/r:Q4_K_M"
  std::vector<Layer> layers;

  // where it came from; empty for local models
  std::string source_repo;      ///< "bartowski/Llama-3.2-1B-Instruct-GGUF", as the hub spells it
  std::string source_commit;    ///< 40 hex digits
  std::string source_path;      ///< first file in the repository; the name it has at a registry
  std::string source_revision;  ///< branch, tag or commit that was asked for; empty: main
  std::string source_url;       ///< endpoint or URL it was fetched from

  // what the model adds to the GGUF
  std::map<std::string, std::vector<std::string>>
      parameters;  ///< name -> values as text; several only for "stop"
  std::string system;
  std::string chat_template;  ///< overrides the GGUF's
  /// Go template that a registry sent with the model, not used: the GGUF brings its own Jinja.
  std::string registry_template;
  std::vector<ManifestMessage> messages;
  std::vector<std::string> licenses;

  // shown in lists without opening the GGUF
  std::string architecture;
  std::string quantization;
  std::uint64_t parameter_count = 0;

  std::int64_t modified_unix = 0;  ///< seconds

  std::uint64_t size_bytes() const;  ///< sum over layers
  /// JSON text, stable byte for byte for equal content; the model's id is its SHA-256.
  std::string to_json() const;
  /// Reads untrusted JSON: at most 256 layers, sizes that sum without wrap, known kinds, checked
  /// digests.
  static Result<Manifest> from_json(std::string_view text, std::string_view subject);

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

/// File name of a model's manifest without ".json": lower-cased name, bytes outside [a-z0-9._-] as
/// %xx; above 200 bytes its first 180, '-' and 16 hex digits of its SHA-256 (of the key before it
/// was cut).
std::string manifest_key(std::string_view name);

}  // namespace lm::store
