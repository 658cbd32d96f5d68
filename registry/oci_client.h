/// The registry protocol of hub-protocol.md 7 as values: a tag's manifest, where a layer's bytes
/// are, small layers. Tokens go to the registry's own origin and nowhere else.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "registry/http.h"
#include "registry/hub_client.h"
#include "registry/model_ref.h"
#include "registry/oci_manifest.h"

namespace lm::registry {

/// Base address of the registry that `ref` names: Ollama's own (LM_OLLAMA_ENDPOINT), the hub's
/// (HF_ENDPOINT), else its host by https; by http on the loopback interface, and where "http://"
/// was typed and `settings.insecure` allows it. Errors: invalid_argument, unauthorized (http
/// without --insecure).
Result<Url> registry_address(const HubSettings& settings, const ModelRef& ref);

class OciClient {
 public:
  /// `http` outlives the client. `name` is "library/llama3.2".
  OciClient(HttpClient& http, Url base, std::string name);

  /// Errors: not_found, unauthorized, those of parse_oci_manifest and of HttpClient.
  Result<OciManifest> manifest(std::string_view tag);
  /// Address of a layer's bytes. Errors: not_found (the registry lacks the layer), as above.
  Result<Resolved> resolve(const OciLayer& layer);
  /// A small layer, whole and verified. Errors: limit_exceeded (more than `max_bytes`),
  /// size_mismatch, digest_mismatch, as above.
  Result<std::string> text(const OciLayer& layer, std::size_t max_bytes);

  /// ".../v2/library/llama3.2/manifests/TAG", for messages and manifests.
  std::string manifest_address(std::string_view tag) const;

 private:
  Result<HttpResponse> ask(HttpRequest request, bool leave_origin);
  Result<void> get_token(const HttpResponse& refused);
  Result<Url> address(std::string path) const;
  Error refused(const HttpResponse& response, std::string_view what) const;

  HttpClient& http_;
  Url base_;
  std::string name_;
  std::optional<Secret> token_;  ///< for the registry's origin
};

}  // namespace lm::registry
