#include "registry/hub_client.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <set>

#include <fmt/format.h>

#include "registry/ascii.h"
#include "registry/model_ref.h"
#include "registry/retry.h"
#include "registry/untrusted_json.h"

namespace lm::registry {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxPageBytes = 16 << 20;
constexpr std::size_t kMaxFiles = 100'000;
constexpr int kMaxPages = 1'000;
constexpr int kMaxHops = 10;

Error protocol_error(const Url& url, std::string problem) {
  return {.code = ErrorCode::protocol,
          .subject = url.for_display(),
          .problem = std::move(problem),
          .hint = "check HF_ENDPOINT and the proxy settings: this is not how the hub answers"};
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

/// What the server says went wrong, for people.
std::string server_message(const HttpResponse& response) {
  std::string message(response.headers.get("x-error-message"));
  if (message.empty()) {
    if (const auto body = parse_untrusted(response.body); body && body->is_object()) {
      message = string_at(*body, "error");
    }
  }
  message.resize(std::min<std::size_t>(message.size(), 300));
  return message;
}

}  // namespace

HubClient::HubClient(HttpClient& http, OnWarning on_warning)
    : http_(http), on_warning_(std::move(on_warning)) {}

Result<Url> HubClient::api_address(std::string path) const {
  return Url::parse(http_.settings().endpoint + path);
}

Result<Url> HubClient::resolve_address(std::string_view repo, std::string_view commit,
                                       std::string_view path) const {
  return api_address(fmt::format("/{}/resolve/{}/{}", percent_encoded(repo, true),
                                 percent_encoded(commit, false), percent_encoded(path, true)));
}

void HubClient::note_warning(const Headers& headers) {
  const std::string text(headers.get("x-hf-warning").substr(0, 500));
  if (!text.empty() && text != last_warning_ && on_warning_) {
    last_warning_ = text;
    on_warning_("the hub says: " + text);
  }
}

/// One question to the hub. A token the hub calls invalid is dropped and the question asked again:
/// it may be public.
Result<HttpResponse> HubClient::ask(const HttpRequest& request, bool following) {
  while (true) {
    LM_TRY(HttpResponse response,
           following ? http_.fetch_following(request) : http_.fetch(request));
    note_warning(response.headers);
    const bool invalid_token =
        response.status == 401 && http_.token_for(request.url) != nullptr &&
        contains_ignoring_case(server_message(response) + response.body.substr(0, 4096),
                               "Invalid credentials");
    if (!invalid_token || response.headers.get("x-error-code") == "GatedRepo") {
      return response;
    }
    http_.drop_token();
    if (on_warning_) {
      on_warning_(fmt::format("the hub refuses the token from {} as invalid; going on without it",
                              http_.settings().token_source));
    }
  }
}

std::string HubClient::branches(std::string_view repo) {
  auto url = api_address(fmt::format("/api/models/{}/refs", percent_encoded(repo, true)));
  if (!url) {
    return {};
  }
  // Many mirrors lack this address, so its failure is no failure.
  auto response = http_.fetch_once({.url = *url});
  if (!response || response->status != 200) {
    return {};
  }
  const auto body = parse_untrusted(response->body);
  if (!body || !body->is_object() || !body->contains("branches") ||
      !(*body)["branches"].is_array()) {
    return {};
  }
  std::string names;
  int count = 0;
  for (const json& branch : (*body)["branches"]) {
    const std::string name = branch.is_object() ? string_at(branch, "name") : "";
    if (!name.empty() && ++count <= 20) {
      names += (names.empty() ? "" : ", ") + name.substr(0, 100);
    }
  }
  return names;
}

/// The table of hub-protocol.md 4. `what` is the revision or file asked for.
Error HubClient::refused(const HttpResponse& response, std::string_view repo,
                         std::string_view what) const {
  const std::string page = fmt::format("{}/{}", http_.settings().endpoint, repo);
  const std::string code(response.headers.get("x-error-code"));
  const std::string message = server_message(response);
  const std::string id = request_id_note(response.headers);
  const bool with_token = http_.sends_token();
  Error error{.code = ErrorCode::http, .subject = std::string(repo), .problem = {}, .hint = {}};
  if (code == "GatedRepo" && response.status != 403) {
    error.code = ErrorCode::gated;
    error.problem = "the repository is gated" + id;
    error.hint = fmt::format("accept the terms at {} and set HF_TOKEN", page);
  } else if (code == "GatedRepo") {
    error.code = ErrorCode::gated;
    error.problem =
        fmt::format("the repository is gated and the token from {} is not on its list{}",
                    http_.settings().token_source, id);
    error.hint = fmt::format("ask for access at {}", page);
  } else if (code == "RevisionNotFound") {
    error.code = ErrorCode::not_found;
    error.problem = fmt::format("it has no revision '{}'{}", what, id);
    error.hint = "name a branch, a tag or a commit of 40 hex digits by --revision";
  } else if (code == "EntryNotFound") {
    error.code = ErrorCode::not_found;
    error.problem = fmt::format("it has no file '{}'{}", what, id);
    error.hint = fmt::format("see the files at {}", page);
  } else if (response.status == 401 && contains_ignoring_case(message, "Invalid credentials")) {
    error.code = ErrorCode::unauthorized;
    error.problem =
        fmt::format("the token from {} is invalid{}", http_.settings().token_source, id);
    error.hint = fmt::format("make a new one at {}/settings/tokens", http_.settings().endpoint);
  } else if (response.status == 401 && !http_.settings().token.empty() && !with_token) {
    error.code = ErrorCode::unauthorized;
    error.problem = fmt::format("it is missing or private, and the token from {} is invalid{}",
                                http_.settings().token_source, id);
    error.hint = fmt::format("make a new one at {}/settings/tokens", http_.settings().endpoint);
  } else if (response.status == 401) {
    error.code = with_token ? ErrorCode::unauthorized : ErrorCode::not_found;
    error.problem = (with_token ? "no such repository, or no access with this token"
                                : "no such repository, or it is private") +
                    id;
    error.hint = with_token ? "check the name and the token's rights"
                            : "check the name; for a private repository set HF_TOKEN";
  } else if (code == "RepoNotFound" || response.status == 404) {
    error.code = ErrorCode::not_found;
    error.problem =
        (with_token ? "no such repository, or no access with this token" : "no such repository") +
        id;
    error.hint = "check the name and HF_ENDPOINT";
  } else if (response.status == 403) {
    error.code = ErrorCode::unauthorized;
    error.problem =
        fmt::format("the hub refuses access{}{}", message.empty() ? "" : ": " + message, id);
    error.hint = fmt::format("see {}", page);
  } else {
    error.problem = fmt::format("the hub answered {}{}{}", response.status,
                                message.empty() ? "" : ": " + message, id);
    error.hint = fmt::format("see {}", page);
  }
  return error;
}

Result<HttpResponse> HubClient::get(std::string path_and_query, std::string_view subject,
                                    std::size_t max_bytes) {
  LM_TRY(const Url url, api_address(std::move(path_and_query)));
  LM_TRY(HttpResponse response, ask({.url = url, .max_body_bytes = max_bytes}, true));
  if (response.status != 200) {
    return std::unexpected(refused(response, subject, subject));
  }
  return response;
}

Result<RepoInfo> HubClient::info(std::string_view repo, std::string_view revision) {
  LM_TRY(const Url url,
         api_address(fmt::format("/api/models/{}/revision/{}", percent_encoded(repo, true),
                                 percent_encoded(revision, false))));
  LM_TRY(const HttpResponse response, ask({.url = url, .max_body_bytes = kMaxPageBytes}, true));
  if (response.status != 200) {
    Error error = refused(response, repo, revision);
    if (response.headers.get("x-error-code") == "RevisionNotFound") {
      if (const std::string names = branches(repo); !names.empty()) {
        error.hint = fmt::format("its branches: {}", names);
      }
    }
    return std::unexpected(error);
  }
  const auto body = parse_untrusted(response.body);
  if (!body || !body->is_object()) {
    return std::unexpected(protocol_error(response.url, "the answer is no JSON object"));
  }
  RepoInfo info{.id = string_at(*body, "id"), .commit = string_at(*body, "sha")};
  if (!check_repo_id(info.id)) {
    return std::unexpected(protocol_error(response.url, "field 'id' names no repository"));
  }
  if (!is_commit(info.commit)) {
    return std::unexpected(
        protocol_error(response.url, "field 'sha' is no commit of 40 hex digits"));
  }
  const json gated = body->value("gated", json(false));
  info.gated = gated.is_string() || (gated.is_boolean() && gated.get<bool>());
  const json disabled = body->value("disabled", json(false));
  info.disabled = disabled.is_boolean() && disabled.get<bool>();
  const json card = body->value("cardData", json::object());
  info.license = card.is_object() ? string_at(card, "license").substr(0, 100) : "";
  return info;
}

Result<std::vector<RepoFile>> HubClient::tree(std::string_view repo, std::string_view commit) {
  LM_TRY(Url url,
         api_address(fmt::format("/api/models/{}/tree/{}?recursive=true&expand=false",
                                 percent_encoded(repo, true), percent_encoded(commit, false))));
  std::vector<RepoFile> files;
  std::set<std::string> asked;
  std::size_t unsafe = 0;
  for (int page = 0; page < kMaxPages; ++page) {
    LM_TRY(const HttpResponse response, ask({.url = url, .max_body_bytes = kMaxPageBytes}, true));
    if (response.status != 200) {
      return std::unexpected(refused(response, repo, commit));
    }
    const auto body = parse_untrusted(response.body);
    if (!body || !body->is_array()) {
      return std::unexpected(protocol_error(response.url, "the list of files is no JSON array"));
    }
    for (const json& entry : *body) {
      if (!entry.is_object() || string_at(entry, "type") != "file") {
        continue;
      }
      RepoFile file{.path = string_at(entry, "path")};
      const json lfs = entry.value("lfs", json());
      const json size = lfs.is_object() ? lfs.value("size", json()) : entry.value("size", json());
      if (!is_safe_path(file.path)) {
        ++unsafe;
        continue;
      }
      if (!size.is_number_unsigned()) {
        return std::unexpected(
            protocol_error(response.url, fmt::format("file '{}' has no size", file.path)));
      }
      file.size_bytes = size.get<std::uint64_t>();
      if (lfs.is_object()) {
        const auto digest = store::Digest::parse_hex(string_at(lfs, "oid"));
        if (!digest) {
          return std::unexpected(protocol_error(
              response.url, fmt::format("lfs.oid of file '{}' is no SHA-256", file.path)));
        }
        file.digest = *digest;
      }
      if (files.size() >= kMaxFiles) {
        return std::unexpected(Error{.code = ErrorCode::limit_exceeded,
                                     .subject = std::string(repo),
                                     .problem = fmt::format("more than {} files", kMaxFiles),
                                     .hint = "name another repository"});
      }
      files.push_back(std::move(file));
    }
    std::string next;
    for (const std::string_view link : response.headers.all("link")) {
      next = next.empty() ? next_link(link) : next;
    }
    if (next.empty()) {
      if (unsafe > 0 && on_warning_) {
        on_warning_(fmt::format("{}: {} files with unsafe names are left out", repo, unsafe));
      }
      return files;
    }
    LM_TRY(Url following,
           follow_location(response.url, on_endpoint(next, http_.settings().endpoint)));
    asked.insert(url.text);
    if (asked.contains(following.text)) {
      return std::unexpected(
          protocol_error(url, "the list of files names a page again that was there before"));
    }
    url = std::move(following);
  }
  return std::unexpected(protocol_error(url, "the list of files has too many pages"));
}

Result<Resolved> HubClient::resolve(std::string_view repo, std::string_view commit,
                                    std::string_view path) {
  LM_TRY(Url url, resolve_address(repo, commit, path));
  auto resolved = resolve_from(std::move(url), repo);
  if (resolved && !resolved->commit.empty() && resolved->commit != commit) {
    return std::unexpected(
        protocol_error(resolved->url, fmt::format("asked for commit {}, the answer belongs to {}",
                                                  commit, resolved->commit.substr(0, 64))));
  }
  return resolved;
}

Result<Resolved> HubClient::resolve_url(const Url& url) {
  return resolve_from(url, {});
}

/// Asks without following to another origin: the first answer that leads away, or the first 200,
/// has the metadata.
Result<Resolved> HubClient::resolve_from(Url url, std::string_view repo) {
  Resolved resolved;
  for (int hop = 0; hop <= kMaxHops; ++hop) {
    const Url asked = url;
    LM_TRY(HttpResponse response, ask({.url = asked, .head = true}, false));
    if (response.status == 405 || response.status == 501 ||
        (response.status == 403 && response.headers.get("x-error-code").empty())) {
      // Presigned addresses and some mirrors refuse HEAD.
      LM_TRY(response,
             ask({.url = asked, .headers = {"Range: bytes=0-0"}, .stop_at_body = true}, false));
    }
    const Headers& headers = response.headers;
    if (const auto size = number(headers.get("x-linked-size"))) {
      resolved.size_bytes = *size;
    }
    if (headers.has("x-linked-etag")) {
      // Only the linked tag is a SHA-256; a CDN's own tag of 64 digits may be any other hash.
      resolved.identity = unquoted_etag(headers.get("x-linked-etag"));
      if (const auto digest = store::Digest::parse_hex(resolved.identity)) {
        resolved.digest = *digest;
      }
    }
    if (headers.has("x-repo-commit")) {
      resolved.commit = std::string(headers.get("x-repo-commit").substr(0, 64));
    }
    const bool last = response.status == 200 || response.status == 206;
    if (!last && !is_redirect(response.status)) {
      if (repo.empty()) {
        const bool missing = response.status == 404 || response.status == 410;
        Error error = status_error(asked, response.status, headers);
        error.code = missing                                            ? ErrorCode::not_found
                     : response.status == 401 || response.status == 403 ? ErrorCode::unauthorized
                                                                        : error.code;
        error.hint = "check the address";
        return std::unexpected(error);
      }
      const std::string name = asked.path.substr(asked.path.rfind('/') + 1);
      return std::unexpected(refused(response, repo, name));
    }
    if (last) {
      resolved.content_type = to_lower(headers.get("content-type").substr(0, 100));
      const std::string_view range = headers.get("content-range");
      const auto length = response.status == 206 && range.rfind('/') != range.npos
                              ? number(range.substr(range.rfind('/') + 1))
                              : number(headers.get("content-length"));
      if (!resolved.size_bytes && length) {
        resolved.size_bytes = length;
      }
      if (resolved.identity.empty()) {
        resolved.identity = unquoted_etag(headers.get("etag"));
      }
    } else {
      LM_TRY(url, follow_location(asked,
                                  on_endpoint(headers.get("location"), http_.settings().endpoint)));
    }
    // Weight bytes come from where the repository's host points to. A plain address is followed to
    // its end: only there are its size and its ETag.
    const bool leads_away = !url.same_origin(asked) && !repo.empty();
    if (last || leads_away) {
      resolved.url = url;
      resolved.expires_unix = expiry_of(url);
      return resolved;
    }
  }
  return std::unexpected(protocol_error(url, fmt::format("more than {} redirects", kMaxHops)));
}

Result<std::string> HubClient::text(std::string_view repo, std::string_view commit,
                                    std::string_view path, std::size_t max_bytes) {
  LM_TRY(const Url url, resolve_address(repo, commit, path));
  LM_TRY(HttpResponse response, ask({.url = url, .max_body_bytes = max_bytes}, true));
  if (response.status != 200) {
    return std::unexpected(refused(response, repo, path));
  }
  return std::move(response.body);
}

std::string unquoted_etag(std::string_view etag) {
  if (etag.starts_with("W/")) {
    return {};
  }
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  return std::string(etag.substr(0, 256));
}

std::string next_link(std::string_view link_header) {
  // <https://...>; rel="next", <...>; rel="last"
  std::size_t at = 0;
  while ((at = link_header.find('<', at)) != link_header.npos) {
    const std::size_t end = link_header.find('>', at);
    if (end == link_header.npos) {
      break;
    }
    const std::size_t stop = std::min(link_header.find('<', end), link_header.size());
    const std::string parameters = to_lower(link_header.substr(end, stop - end));
    if (parameters.find("rel=\"next\"") != std::string::npos ||
        parameters.find("rel=next") != std::string::npos) {
      return std::string(link_header.substr(at + 1, end - at - 1));
    }
    at = end;
  }
  return {};
}

std::optional<std::int64_t> expiry_of(const Url& url) {
  if (const auto expires = number(query_value(url.query, "Expires"))) {
    return static_cast<std::int64_t>(*expires);
  }
  const auto lifetime = number(query_value(url.query, "X-Amz-Expires"));
  const std::string date = query_value(url.query, "X-Amz-Date");  // 20260821T120000Z
  if (!lifetime || date.size() != 16) {
    return std::nullopt;
  }
  std::tm time{};
  if (::strptime(date.c_str(), "%Y%m%dT%H%M%SZ", &time) == nullptr) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(::timegm(&time)) + static_cast<std::int64_t>(*lifetime);
}

}  // namespace lm::registry
