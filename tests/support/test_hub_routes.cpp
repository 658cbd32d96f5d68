// What the test hub answers: its API, resolve, search and the CDN's files, by hub-protocol.md.
#include <algorithm>
#include <charconv>

#include "tests/support/test_hub_state.h"

namespace lm::test {

using nlohmann::json;

namespace {

std::optional<Range> parse_range(const std::string& text, std::uint64_t size) {
  if (!text.starts_with("bytes=")) {
    return std::nullopt;
  }
  const std::size_t dash = text.find('-');
  Range range{0, size};
  const char* end = text.data() + text.size();
  if (dash == 6) {
    std::uint64_t last = 0;
    std::from_chars(text.data() + 7, end, last);
    range.begin = size - std::min(size, last);
    return range;
  }
  std::from_chars(text.data() + 6, end, range.begin);
  std::uint64_t last = size == 0 ? 0 : size - 1;
  std::from_chars(text.data() + dash + 1, end, last);
  range.end = std::min(size, last + 1);
  return range;
}

}  // namespace

std::string lower(std::string text) {
  for (char& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return text;
}

Answer error_answer(int status, const std::string& code, const std::string& message) {
  Answer answer{.status = status, .text = json{{"error", message}}.dump()};
  answer.headers["Content-Type"] = "application/json";
  answer.headers["X-Error-Message"] = message;
  if (!code.empty()) {
    answer.headers["X-Error-Code"] = code;
  }
  return answer;
}

const Snapshot* TestHub::State::find(const Repo& repo, const std::string& revision,
                                     std::string& commit) const {
  commit = revision == "main" ? repo.commit : revision;
  const auto it = repo.snapshots.find(commit);
  return it == repo.snapshots.end() ? nullptr : &it->second;
}

void TestHub::State::with_range(Answer& answer, const ServerRequest& request,
                                const std::shared_ptr<Content>& content) {
  const std::uint64_t size = content->bytes().size();
  answer.content = content;
  answer.range = {0, size};
  answer.headers["Accept-Ranges"] = "bytes";
  const auto range = parse_range(request.header("range"), size);
  if (range && range->begin >= range->end) {
    answer.status = 416;
    answer.content.reset();
    answer.headers["Content-Range"] = fmt::format("bytes */{}", size);
  } else if (range) {
    answer.status = 206;
    answer.range = *range;
    answer.headers["Content-Range"] =
        fmt::format("bytes {}-{}/{}", range->begin, range->end - 1, size);
  }
}

Answer TestHub::State::tree(const ServerRequest& request, const std::string& name, const Repo&,
                            const Snapshot& files, const std::string& commit) {
  std::size_t start = 0;
  if (const std::size_t at = request.target.find("cursor="); at != std::string::npos) {
    start = std::stoul(request.target.substr(at + 7));
  }
  json list = json::array();
  std::size_t index = 0;
  for (const auto& [path, file] : files) {
    if (index++ < start || list.size() >= options.page_entries) {
      continue;
    }
    json entry = {{"type", "file"},
                  {"path", path},
                  {"size", file.content->bytes().size()},
                  {"oid", file.sha256.substr(0, 40)}};
    if (file.lfs) {
      entry["lfs"] = {
          {"oid", file.sha256}, {"size", file.content->bytes().size()}, {"pointerSize", 134}};
    }
    list.push_back(std::move(entry));
  }
  Answer answer{.text = list.dump()};
  answer.headers["Content-Type"] = "application/json; charset=utf-8";
  if (start + options.page_entries < files.size()) {
    answer.headers["Link"] =
        fmt::format("<{}/api/models/{}/tree/{}?recursive=true&cursor={}>; rel=\"next\"",
                    options.name_the_real_hub ? "https://huggingface.co" : hub_origin, name, commit,
                    start + options.page_entries);
  }
  return answer;
}

Answer TestHub::State::answer_resolve(const ServerRequest& request, const std::string& repo_name,
                                      const std::string& revision, const std::string& path) {
  const Repo& repo = repos.at(repo_name);
  std::string commit;
  const Snapshot* files = find(repo, revision, commit);
  if (files == nullptr) {
    return error_answer(404, "RevisionNotFound", "Invalid rev id: " + revision);
  }
  const auto it = files->find(path);
  if (it == files->end()) {
    Answer answer = error_answer(404, "EntryNotFound", "Entry not found");
    answer.headers["X-Repo-Commit"] = commit;
    return answer;
  }
  if (repo.gated && !token_ok(request)) {
    return error_answer(401, "GatedRepo", "Access to model " + repo_name + " is restricted.");
  }
  if (repo.gated && !repo.token_on_list) {
    return error_answer(403, "GatedRepo", "You are not in the authorized list.");
  }
  const File& file = it->second;
  Answer answer;
  answer.headers["X-Repo-Commit"] = commit;
  answer.headers["Accept-Ranges"] = "bytes";
  if (!file.lfs) {
    answer.status = 307;
    answer.headers["ETag"] = "\"" + file.sha256.substr(0, 40) + "\"";
    answer.headers["Location"] =
        fmt::format("/api/resolve-cache/models/{}/{}/{}", repo_name, commit, path);
    return answer;
  }
  std::string etag = file.sha256;
  std::uint64_t size = file.content->bytes().size();
  for (Fault& fault : faults) {
    if (fault.times > 0 && request.target.find(fault.target) != std::string::npos) {
      if (fault.kind == Fault::Kind::linked_etag) {
        --fault.times;
        etag = std::string(64, 'e');
      } else if (fault.kind == Fault::Kind::linked_size) {
        --fault.times;
        size += 1;
      }
    }
  }
  answer.headers["X-Linked-Size"] = fmt::format("{}", size);
  answer.headers["X-Linked-ETag"] = "\"" + etag + "\"";
  answer.headers["ETag"] = "\"" + etag + "\"";
  if (options.without_cdn) {
    with_range(answer, request, file.content);
    return answer;
  }
  answer.status = 302;
  answer.headers["Location"] = fmt::format(
      "{}/xet-bridge-us/{}/{}?Expires={}&Policy=x&Signature={}&Key-Pair-Id=K", cdn_origin,
      file.sha256, path, std::time(nullptr) + address_life.count(), generation);
  return answer;
}

/// /api/models?search=TERM&filter=gguf&sort=downloads&direction=-1&limit=N
Answer TestHub::State::search(const ServerRequest& request) const {
  const auto value = [&](const std::string& name) {
    const std::size_t at = request.target.find(name + "=");
    const std::string rest =
        at == std::string::npos ? "" : request.target.substr(at + name.size() + 1);
    return percent_decoded(rest.substr(0, rest.find('&')));
  };
  std::vector<std::pair<std::uint64_t, std::string>> found;
  for (const auto& [name, repo] : repos) {
    const bool has_gguf = std::ranges::any_of(
        repo.files, [](const auto& file) { return lower(file.first).ends_with(".gguf"); });
    if (has_gguf && !repo.is_private && lower(name).find(lower(value("search"))) != name.npos) {
      found.emplace_back(repo.downloads, name);
    }
  }
  std::ranges::sort(found, std::greater{});
  json list = json::array();
  for (const auto& [downloads, name] : found) {
    if (list.size() < std::stoul(value("limit"))) {
      list.push_back({{"id", name},
                      {"downloads", downloads},
                      {"likes", 3},
                      {"lastModified", "2026-08-20T10:00:00.000Z"},
                      {"gated", repos.at(name).gated ? json("manual") : json(false)}});
    }
  }
  Answer answer{.text = list.dump()};
  answer.headers["Content-Type"] = "application/json; charset=utf-8";
  return answer;
}

Answer TestHub::State::answer_api(const ServerRequest& request, const std::string& rest) {
  // user/repo[/revision/R | /tree/R[...] | /refs]
  const std::size_t first = rest.find('/');
  const std::size_t second = rest.find('/', first == rest.npos ? first : first + 1);
  const std::string name = rest.substr(0, second);
  const std::string tail = second == rest.npos ? "" : rest.substr(second + 1);
  const auto it = repos.find(name);
  const Repo& repo = it->second;
  if (tail == "refs") {
    Answer answer{.text =
                      json{{"branches", {{{"name", "main"}, {"ref", "refs/heads/main"}}}}}.dump()};
    return answer;
  }
  const std::string revision = tail.empty() ? "main" : tail.substr(tail.find('/') + 1);
  std::string commit;
  const Snapshot* files = find(repo, revision, commit);
  if (files == nullptr) {
    return error_answer(404, "RevisionNotFound", "Invalid rev id: " + revision);
  }
  if (tail.starts_with("tree/")) {
    return tree(request, name, repo, *files, commit);
  }
  json body = {{"id", name},        {"sha", commit},         {"private", repo.is_private},
               {"disabled", false}, {"tags", json::array()}, {"siblings", json::array()}};
  body["gated"] = repo.gated ? json("manual") : json(false);
  if (!repo.license.empty()) {
    body["cardData"] = {{"license", repo.license}};
  }
  Answer answer{.text = body.dump()};
  answer.headers["Content-Type"] = "application/json; charset=utf-8";
  return answer;
}

Answer TestHub::State::answer_hub(const ServerRequest& request) {
  const std::scoped_lock lock(mutex);
  if (request.path.starts_with("/v2/") || request.path == "/token") {
    return answer_registry(request);
  }
  const std::string authorization = request.header("authorization");
  if (!authorization.empty() && !token_ok(request)) {
    return error_answer(401, "", "Invalid credentials in Authorization header");
  }
  if (request.path == "/api/whoami-v2") {
    return token_ok(request) ? Answer{.text = R"({"name":"tester"})"}
                             : error_answer(401, "", "Invalid username or password.");
  }
  if (request.path == "/api/models") {
    return search(request);
  }
  constexpr std::string_view kCache = "/api/resolve-cache/models/";
  constexpr std::string_view kApi = "/api/models/";
  const bool cache = request.path.starts_with(kCache);
  const bool api = !cache && request.path.starts_with(kApi);
  const std::string rest = request.path.substr(cache ? kCache.size()
                                               : api ? kApi.size()
                                                     : std::size_t{1});
  const std::size_t slash = rest.find('/');
  const std::size_t end = rest.find('/', slash == rest.npos ? slash : slash + 1);
  const std::string name = rest.substr(0, end);
  auto it = repos.find(name);
  if (it == repos.end()) {
    std::string moved = renamed.contains(name) ? renamed.at(name) : "";
    for (const auto& [known, repo] : repos) {
      moved = lower(known) == lower(name) ? known : moved;
    }
    if (!moved.empty()) {
      std::string target = request.target;
      target.replace(target.find(name), name.size(), moved);
      Answer answer{.status = 307};
      answer.headers["Location"] =
          (options.name_the_real_hub ? "https://huggingface.co" : "") + target;
      return answer;
    }
  }
  if (it == repos.end() || (it->second.is_private && !token_ok(request))) {
    return authorization.empty()
               ? error_answer(401, "RepoNotFound", "Invalid username or password.")
               : error_answer(404, "RepoNotFound", "Repository not found");
  }
  const std::string tail = end == rest.npos ? "" : rest.substr(end + 1);
  if (api) {
    return answer_api(request, rest);
  }
  if (cache) {
    const std::size_t commit_end = tail.find('/');
    const auto& files = it->second.snapshots.at(tail.substr(0, commit_end));
    Answer answer;
    const File& file = files.at(tail.substr(commit_end + 1));
    answer.headers["ETag"] = "\"" + file.sha256.substr(0, 40) + "\"";
    with_range(answer, request, file.content);
    return answer;
  }
  if (tail.starts_with("resolve/")) {
    // A revision with a slash is percent-encoded, so it is split in the raw target.
    const std::string raw = request.target.substr(0, request.target.find('?'));
    const std::size_t start = raw.find("/resolve/") + 9;
    const std::size_t stop = raw.find('/', start);
    return answer_resolve(request, name, percent_decoded(raw.substr(start, stop - start)),
                          percent_decoded(raw.substr(stop + 1)));
  }
  if (tail.starts_with("raw/")) {
    return answer_raw(it->second, tail.substr(4));
  }
  return error_answer(404, "", "no such page");
}

/// <revision>/<path> as git has it: of weights the pointer.
Answer TestHub::State::answer_raw(const Repo& repo, const std::string& rest) const {
  const std::size_t slash = rest.find('/');
  std::string commit;
  const Snapshot* files = find(repo, rest.substr(0, slash), commit);
  const auto file = files == nullptr || slash == rest.npos ? Snapshot::const_iterator()
                                                           : files->find(rest.substr(slash + 1));
  if (files == nullptr || slash == rest.npos || file == files->end()) {
    return error_answer(404, "EntryNotFound", "Entry not found");
  }
  const std::string_view bytes = file->second.content->bytes();
  return {.text = file->second.lfs
                      ? fmt::format("version https://git-lfs.github.com/spec/v1\noid sha256:{}\n"
                                    "size {}\n",
                                    file->second.sha256, bytes.size())
                      : std::string(bytes)};
}

Answer TestHub::State::answer_cdn(const ServerRequest& request) {
  const std::scoped_lock lock(mutex);
  const auto xml = [](int status, const std::string& code) {
    Answer answer{.status = status, .text = "<Error><Code>" + code + "</Code></Error>"};
    answer.headers["Content-Type"] = "application/xml";
    return answer;
  };
  if (!request.header("authorization").empty()) {
    return xml(400, "InvalidArgument: Only one auth mechanism allowed");
  }
  const std::string sha = request.path.substr(std::string("/xet-bridge-us/").size(), 64);
  const auto it = by_sha.find(sha);
  if (it == by_sha.end()) {
    return xml(404, "NoSuchKey");
  }
  if (request.target.find(fmt::format("Signature={}&", generation)) == std::string::npos) {
    return xml(403, "AccessDenied: Request has expired");
  }
  Answer answer;
  answer.headers["ETag"] = "\"" + sha.substr(0, 32) + "\"";  // the CDN's own, not the hub's
  answer.headers["Content-Type"] = "binary/octet-stream";
  with_range(answer, request, it->second);
  return answer;
}

}  // namespace lm::test
