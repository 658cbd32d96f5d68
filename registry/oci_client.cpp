#include "registry/oci_client.h"

#include <algorithm>

#include <fmt/format.h>

#include "registry/ascii.h"
#include "registry/retry.h"
#include "registry/untrusted_json.h"
#include "store/sha256.h"

namespace lm::registry {
namespace {

constexpr std::size_t kMaxManifestBytes = 4 << 20;
constexpr std::size_t kMaxTokenBytes = 16 << 10;
constexpr int kMaxHops = 10;

/// Value of `name="..."` in a challenge; empty when absent.
std::string challenge_value(std::string_view challenge, std::string_view name) {
  const std::string start = fmt::format("{}=\"", name);
  std::size_t at = 0;
  while ((at = challenge.find(start, at)) != challenge.npos) {
    const bool whole_word = at == 0 || challenge[at - 1] == ' ' || challenge[at - 1] == ',';
    at += start.size();
    const std::size_t end = challenge.find('"', at);
    if (whole_word && end != challenge.npos) {
      return std::string(challenge.substr(at, end - at));
    }
  }
  return {};
}

/// What the registry says went wrong: docker's {"errors":[{"message"}]} or the hub's {"error"}.
std::string message_of(const HttpResponse& response) {
  std::string message(response.headers.get("x-error-message"));
  if (const auto body = parse_untrusted(response.body); message.empty() && body) {
    message = string_at(*body, "error");
    const auto errors = body->is_object() ? body->find("errors") : body->end();
    if (message.empty() && body->is_object() && errors != body->end() && errors->is_array() &&
        !errors->empty()) {
      message = string_at(errors->front(), "message");
    }
  }
  message.resize(std::min<std::size_t>(message.size(), 300));
  return message;
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

Result<Url> registry_address(const HubSettings& settings, const ModelRef& ref) {
  if (ref.is_hub()) {
    return Url::parse(settings.endpoint);
  }
  if (equal_ignoring_case(ref.host, "ollama.com")) {
    return Url::parse(settings.ollama_endpoint);
  }
  LM_TRY(Url url, Url::parse("https://" + ref.host));
  if (!url.is_loopback() && !ref.plain_http) {
    return url;
  }
  if (!url.is_loopback() && !settings.insecure) {
    return std::unexpected(Error{.code = ErrorCode::unauthorized,
                                 .subject = ref.host,
                                 .problem = "http without encryption was asked for",
                                 .hint = "write https://, or allow it by --insecure"});
  }
  return Url::parse("http://" + ref.host);
}

OciClient::OciClient(HttpClient& http, Url base, std::string name)
    : http_(http), base_(std::move(base)), name_(std::move(name)) {}

Result<Url> OciClient::address(std::string path) const {
  std::string base = base_.text;
  while (base.ends_with('/')) {
    base.pop_back();
  }
  return Url::parse(fmt::format("{}/v2/{}/{}", base, percent_encoded(name_, true), path));
}

std::string OciClient::manifest_address(std::string_view tag) const {
  const auto url = address(fmt::format("manifests/{}", percent_encoded(tag, false)));
  return url ? url->for_display() : std::string();
}

Error OciClient::refused(const HttpResponse& response, std::string_view what) const {
  const std::string message = message_of(response);
  const std::string said = message.empty() ? "" : ": " + message;
  const std::string id = request_id_note(response.headers);
  Error error{.code = ErrorCode::http,
              .subject = fmt::format("{}/{}", base_.host, name_),
              .problem = fmt::format("the registry answered {}{}{}", response.status, said, id),
              .hint = "check the name"};
  if (response.status == 404) {
    error.code = ErrorCode::not_found;
    error.problem = fmt::format("the registry has no {}{}{}", what, said, id);
    error.hint = "check name and tag";
  } else if (response.status == 401 || response.status == 403) {
    error.code = ErrorCode::unauthorized;
    error.problem =
        fmt::format("the registry refuses {}: it is missing, or private{}{}", what, said, id);
    error.hint = "check name and tag; private models of a registry can't be fetched";
  }
  return error;
}

/// Answers a challenge: `Bearer realm="https://host/token",service="s",scope="pull"`.
Result<void> OciClient::get_token(const HttpResponse& answer) {
  const auto wrong = [&](std::string problem) {
    return std::unexpected(Error{.code = ErrorCode::protocol,
                                 .subject = base_.for_display(),
                                 .problem = std::move(problem),
                                 .hint = "check the registry's address"});
  };
  const std::string_view challenge = answer.headers.get("www-authenticate");
  if (!to_lower(challenge.substr(0, 7)).starts_with("bearer ")) {
    return std::unexpected(refused(answer, "this model"));
  }
  const auto realm = Url::parse(challenge_value(challenge, "realm"));
  if (!realm || realm->has_credentials || !realm->query.empty()) {
    return wrong("it asks for a token, but not where that is to be had");
  }
  if (!realm->same_origin(base_)) {
    return wrong(fmt::format("it sends for a token to another host ({})", realm->for_display()));
  }
  LM_TRY(const Url url,
         Url::parse(fmt::format(
             "{}?service={}&scope={}", realm->text,
             percent_encoded(challenge_value(challenge, "service").substr(0, 500), false),
             percent_encoded(challenge_value(challenge, "scope").substr(0, 500), false))));
  LM_TRY(const HttpResponse response, http_.fetch({.url = url}));
  if (response.status != 200) {
    return std::unexpected(refused(response, "this model"));
  }
  const auto body = parse_untrusted(response.body);
  std::string token = body ? string_at(*body, "token") : "";
  token = token.empty() && body ? string_at(*body, "access_token") : token;
  if (token.empty() || token.size() > kMaxTokenBytes || !is_printable(token)) {
    return wrong("its answer to the question for a token holds none");
  }
  token_ = Secret(std::move(token));
  return {};
}

/// One question. Redirects are followed by hand; on another origin the token stays behind, and
/// unless `leave_origin` the answer that leads there is the result.
Result<HttpResponse> OciClient::ask(HttpRequest request, bool leave_origin) {
  bool challenged = false;
  for (int hop = 0; hop <= kMaxHops; ++hop) {
    const bool at_home = request.url.same_origin(base_);
    request.bearer = at_home ? token_ : std::nullopt;
    LM_TRY(HttpResponse response, http_.fetch(request));
    if (response.status == 401 && at_home && !challenged) {
      challenged = true;
      token_.reset();
      LM_CHECK(get_token(response));
      --hop;
      continue;
    }
    if (!is_redirect(response.status)) {
      return response;
    }
    LM_TRY(Url next, follow_location(request.url, on_endpoint(response.headers.get("location"),
                                                              http_.settings().endpoint)));
    if (!leave_origin && !next.same_origin(base_)) {
      response.url = std::move(next);
      return response;
    }
    request.url = std::move(next);
  }
  return std::unexpected(Error{.code = ErrorCode::protocol,
                               .subject = request.url.for_display(),
                               .problem = fmt::format("more than {} redirects", kMaxHops),
                               .hint = "check the registry's address"});
}

Result<OciManifest> OciClient::manifest(std::string_view tag) {
  LM_TRY(const Url url, address(fmt::format("manifests/{}", percent_encoded(tag, false))));
  LM_TRY(const HttpResponse response,
         ask({.url = url,
              .headers = {fmt::format("Accept: {}", oci_manifest_types())},
              .max_body_bytes = kMaxManifestBytes},
             true));
  if (response.status != 200) {
    return std::unexpected(refused(response, fmt::format("model '{}:{}'", name_, tag)));
  }
  return parse_oci_manifest(response.body, url.for_display());
}

Result<Resolved> OciClient::resolve(const OciLayer& layer) {
  LM_TRY(const Url url, address("blobs/" + layer.digest.text()));
  // HEAD may be answered without the redirect that says where the bytes are.
  LM_TRY(const HttpResponse response, ask({.url = url,
                                           .headers = {"Range: bytes=0-0"},
                                           .max_body_bytes = 4 << 20,
                                           .stop_at_body = true},
                                          false));
  const bool leaves = is_redirect(response.status);
  // An empty layer has no first byte.
  const bool here = response.status == 200 || response.status == 206 || response.status == 416;
  if (!leaves && !here) {
    return std::unexpected(refused(
        response, fmt::format("{} layer {}", oci_layer_name(layer.kind), layer.digest.text())));
  }
  Resolved resolved{.url = response.url,
                    .size_bytes = layer.size_bytes,
                    .digest = layer.digest,
                    .identity = layer.digest.hex(),
                    .commit = {},
                    .content_type = {},
                    .expires_unix = expiry_of(response.url)};
  resolved.bearer = response.url.same_origin(base_) ? token_ : std::nullopt;
  return resolved;
}

Result<std::string> OciClient::text(const OciLayer& layer, std::size_t max_bytes) {
  const std::string subject =
      fmt::format("{} layer of {}/{}", oci_layer_name(layer.kind), base_.host, name_);
  if (layer.size_bytes > max_bytes) {
    return std::unexpected(Error{.code = ErrorCode::limit_exceeded,
                                 .subject = subject,
                                 .problem = fmt::format("it has {} bytes, at most {} are allowed",
                                                        layer.size_bytes, max_bytes),
                                 .hint = "name another tag"});
  }
  LM_TRY(const Url url, address("blobs/" + layer.digest.text()));
  LM_TRY(HttpResponse response, ask({.url = url, .max_body_bytes = max_bytes + 1}, true));
  if (response.status != 200) {
    return std::unexpected(refused(response, subject));
  }
  const store::Digest got = store::sha256(response.body);
  if (response.body.size() != layer.size_bytes || got != layer.digest) {
    return std::unexpected(Error{
        .code = ErrorCode::digest_mismatch,
        .subject = subject,
        .problem =
            fmt::format("its {} bytes have SHA-256 {}, the manifest says {} bytes, {}",
                        response.body.size(), got.hex(), layer.size_bytes, layer.digest.hex()),
        .hint = "run the command again"});
  }
  return std::move(response.body);
}

}  // namespace lm::registry
