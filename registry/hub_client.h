/// The hub's API as values: commit of a revision, list of files, address of a file's bytes.
/// hub-protocol.md 2 to 4.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "registry/error.h"
#include "registry/http.h"
#include "registry/repo_file.h"
#include "store/digest.h"

namespace lm::registry {

struct RepoInfo {
  std::string id;      ///< as the hub spells it
  std::string commit;  ///< 40 hex digits
  bool gated = false;
  bool disabled = false;
  std::string license = {};  ///< of the card; may be empty
};

/// Where a file's bytes are, for about an hour.
struct Resolved {
  Url url;
  std::optional<std::uint64_t> size_bytes;  ///< X-Linked-Size, else Content-Length
  std::optional<store::Digest> digest;      ///< X-Linked-ETag when it is a SHA-256
  std::string identity;  ///< linked ETag, else the strong ETag, unquoted; may be empty
  std::string commit;    ///< X-Repo-Commit; empty when the answer isn't the hub's
  std::string content_type;
  std::optional<std::int64_t> expires_unix;  ///< of a signed address
  std::optional<Secret> bearer = {};  ///< token for this address's origin, instead of the hub's
};

class HubClient {
 public:
  using OnWarning = std::function<void(std::string)>;
  /// `http` outlives the client.
  HubClient(HttpClient& http, OnWarning on_warning);

  /// Errors: not_found (hint lists branches for an unknown revision), unauthorized, gated, and
  /// those of HttpClient.
  Result<RepoInfo> info(std::string_view repo, std::string_view revision);
  /// Every file of the snapshot, all pages. Entries whose path could not be a harmless relative
  /// path are left out, with a warning. Errors: also protocol, limit_exceeded (more than 100,000
  /// files).
  Result<std::vector<RepoFile>> tree(std::string_view repo, std::string_view commit);
  /// Metadata and address of one file; no byte of it is fetched.
  Result<Resolved> resolve(std::string_view repo, std::string_view commit, std::string_view path);
  /// A plain address, outside any repository.
  Result<Resolved> resolve_url(const Url& url);
  /// A small text file; more than `max_bytes` is an error.
  Result<std::string> text(std::string_view repo, std::string_view commit, std::string_view path,
                           std::size_t max_bytes);

  /// Any question to the API ("/api/..."); what isn't 200 is an error about `subject`.
  Result<HttpResponse> get(std::string path_and_query, std::string_view subject,
                           std::size_t max_bytes);

  Result<Url> resolve_address(std::string_view repo, std::string_view commit,
                              std::string_view path) const;
  HttpClient& http() { return http_; }

 private:
  Result<HttpResponse> ask(const HttpRequest& request, bool following);
  Result<Resolved> resolve_from(Url url, std::string_view repo);
  Result<Url> api_address(std::string path) const;
  Error refused(const HttpResponse& response, std::string_view repo, std::string_view what) const;
  std::string branches(std::string_view repo);
  void note_warning(const Headers& headers);

  HttpClient& http_;
  OnWarning on_warning_;
  std::string last_warning_;
};

/// `"abc"` without its quotes; a weak tag names no bytes: empty.
std::string unquoted_etag(std::string_view etag);
/// "<...>; rel=\"next\"" of a Link header; empty when there is none.
std::string next_link(std::string_view link_header);
/// Epoch second at which a signed address ends: `Expires=`, or `X-Amz-Date` + `X-Amz-Expires`.
std::optional<std::int64_t> expiry_of(const Url& url);

}  // namespace lm::registry
