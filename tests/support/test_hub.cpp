#include "tests/support/test_hub.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include <sys/stat.h>

#include "store/sha256.h"
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

TestHub::TestHub() : TestHub(Options{}) {}

TestHub::TestHub(Options options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  if (!state_->options.log.empty()) {
    state_->log.open(state_->options.log, std::ios::app);
  }
  cdn_ = std::make_unique<LoopbackHttp>(
      [this](const ServerRequest& request, Wire& wire) { state_->serve(request, wire, true); });
  hub_ = std::make_unique<LoopbackHttp>(
      [this](const ServerRequest& request, Wire& wire) { state_->serve(request, wire, false); });
  const std::scoped_lock lock(state_->mutex);
  state_->hub_origin = hub_->origin();
  state_->cdn_origin = cdn_->origin();
}

TestHub::~TestHub() = default;

void TestHub::State::snapshot(Repo& repo, const std::string& name) {
  std::string list = name + "\n";
  for (const auto& [path, file] : repo.files) {
    list += path + " " + file.sha256 + "\n";
  }
  repo.commit = store::sha256(list).hex().substr(0, 40);
  repo.snapshots[repo.commit] = repo.files;
}

void TestHub::add_file(const std::string& repo, const std::string& path, std::string content) {
  File file{.content = std::make_shared<Content>(std::move(content)),
            .sha256 = {},
            .lfs = !state_->options.without_lfs && lower(path).ends_with(".gguf")};
  file.sha256 = store::sha256(file.content->bytes()).hex();
  const std::scoped_lock lock(state_->mutex);
  state_->by_sha[file.sha256] = file.content;
  state_->repos[repo].files[path] = std::move(file);
  state_->snapshot(state_->repos[repo], repo);
}

void TestHub::add_folder(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    const fs::path relative = fs::relative(entry.path(), folder);
    auto part = relative.begin();
    const std::string user = (part++)->string();
    if (part == relative.end() || std::next(part) == relative.end()) {
      continue;
    }
    const std::string repo = user + "/" + (part++)->string();
    fs::path path;
    for (; part != relative.end(); ++part) {
      path /= *part;
    }
    File file{.content = std::make_shared<Content>(entry.path()),
              .sha256 = {},
              .lfs = lower(path.string()).ends_with(".gguf")};
    file.sha256 = store::sha256(file.content->bytes()).hex();
    const std::scoped_lock lock(state_->mutex);
    state_->by_sha[file.sha256] = file.content;
    state_->repos[repo].files[path.string()] = std::move(file);
    state_->snapshot(state_->repos[repo], repo);
  }
}

void TestHub::set_gated(const std::string& repo, bool token_on_list) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].gated = true;
  state_->repos[repo].token_on_list = token_on_list;
}

void TestHub::set_private(const std::string& repo) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].is_private = true;
}

void TestHub::set_license(const std::string& repo, const std::string& license) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].license = license;
}

void TestHub::set_downloads(const std::string& repo, std::uint64_t downloads) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].downloads = downloads;
}

void TestHub::rename(const std::string& from, const std::string& to) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[to] = std::move(state_->repos.at(from));
  state_->repos.erase(from);
  state_->renamed[from] = to;
}

void TestHub::add_fault(Fault fault) {
  const std::scoped_lock lock(state_->mutex);
  state_->faults.push_back(std::move(fault));
}

void TestHub::clear_faults() {
  const std::scoped_lock lock(state_->mutex);
  state_->faults.clear();
}

void TestHub::expire_addresses() {
  const std::scoped_lock lock(state_->mutex);
  ++state_->generation;
}

void TestHub::set_address_life(std::chrono::seconds life) {
  const std::scoped_lock lock(state_->mutex);
  state_->address_life = life;
}

std::string TestHub::commit(const std::string& repo) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->repos.at(repo).commit;
}

std::string TestHub::digest_hex(const std::string& repo, const std::string& path) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->repos.at(repo).files.at(path).sha256;
}

std::vector<RequestRecord> TestHub::log() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->records;
}

std::uint64_t TestHub::weight_bytes(const std::string& path) const {
  const std::scoped_lock lock(state_->mutex);
  std::uint64_t sum = 0;
  for (const RequestRecord& record : state_->records) {
    const std::string target = percent_decoded(record.target.substr(0, record.target.find('?')));
    if ((record.status == 200 || record.status == 206) && lower(target).ends_with(".gguf") &&
        target.ends_with(path)) {
      sum += record.body_bytes;
    }
  }
  return sum;
}

void TestHub::clear_log() {
  const std::scoped_lock lock(state_->mutex);
  state_->records.clear();
}

void TestHub::set_bytes_per_second(std::uint64_t limit) {
  const std::scoped_lock lock(state_->mutex);
  state_->options.bytes_per_second = limit;
}

void TestHub::hold_after(std::uint64_t bytes) {
  const std::scoped_lock lock(state_->mutex);
  state_->cdn_bytes = 0;
  state_->hold = bytes;
}

void TestHub::release() {
  const std::scoped_lock lock(state_->mutex);
  state_->hold.reset();
}

bool TestHub::wait_for_weight_bytes(std::uint64_t bytes, std::chrono::milliseconds limit) const {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (weight_bytes() < bytes) {
    if (std::chrono::steady_clock::now() > until) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::optional<Fault> TestHub::State::take_fault(const ServerRequest& request, bool cdn) {
  const std::scoped_lock lock(mutex);
  for (Fault& fault : faults) {
    const bool in_resolve =
        fault.kind == Fault::Kind::linked_etag || fault.kind == Fault::Kind::linked_size;
    if (fault.times > 0 && fault.cdn == cdn && !in_resolve &&
        request.target.find(fault.target) != std::string::npos) {
      --fault.times;
      return fault;
    }
  }
  return std::nullopt;
}

/// Waits for the turn of `bytes` under the common limit.
bool TestHub::State::pay(std::uint64_t bytes, Wire& wire) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point turn;
  {
    const std::scoped_lock lock(mutex);
    if (options.bytes_per_second == 0) {
      return true;
    }
    turn = std::max(Clock::now(), next_free);
    next_free =
        turn +
        std::chrono::nanoseconds(static_cast<std::int64_t>(
            1e9 * static_cast<double>(bytes) / static_cast<double>(options.bytes_per_second)));
  }
  const auto wait =
      std::chrono::duration_cast<std::chrono::milliseconds>(turn - Clock::now()).count();
  return wait <= 0 || wire.sleep_ms(static_cast<int>(wait));
}

/// Counts `bytes` of the CDN, once they are allowed.
bool TestHub::State::pass(std::uint64_t bytes, Wire& wire) {
  while (true) {
    {
      const std::scoped_lock lock(mutex);
      if (!hold || cdn_bytes + bytes <= *hold) {
        cdn_bytes += bytes;
        return true;
      }
    }
    if (!wire.sleep_ms(5)) {
      return false;
    }
  }
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

void TestHub::State::serve(const ServerRequest& request, Wire& wire, bool cdn) {
  const auto fault = take_fault(request, cdn);
  const auto is = [&](Fault::Kind kind) { return fault && fault->kind == kind; };
  const bool head = request.method == "HEAD";
  Answer answer;
  if (is(Fault::Kind::status)) {
    answer = {.status = fault->status, .headers = fault->headers, .text = fault->body};
  } else if (is(Fault::Kind::web_page)) {
    answer.text = "<!doctype html><html><body>Log in to the network</body></html>";
    answer.headers["Content-Type"] = "text/html";
  } else if (head && options.refuse_head) {
    answer.status = 405;
  } else {
    ServerRequest seen = request;
    if (is(Fault::Kind::ignore_range) || options.ignore_ranges) {
      seen.headers.erase("range");
    }
    answer = cdn ? answer_cdn(seen) : answer_hub(seen);
  }
  std::string_view body = answer.text;
  std::string flipped;
  if (answer.content) {
    Range range = answer.range;
    if (is(Fault::Kind::short_range)) {
      range.end = std::min(range.end, range.begin + fault->after_bytes);
    }
    const std::uint64_t size = answer.content->bytes().size();
    body = answer.content->bytes().substr(range.begin, range.end - range.begin);
    const std::uint64_t shift = is(Fault::Kind::wrong_range) ? 7 : 0;
    const std::uint64_t extra = is(Fault::Kind::wrong_total) ? 1 : 0;
    if (answer.status == 206) {
      answer.headers["Content-Range"] =
          fmt::format("bytes {}-{}/{}", range.begin + shift, range.end - 1 + shift, size + extra);
    }
    if (is(Fault::Kind::corrupt) && fault->after_bytes < body.size()) {
      flipped = std::string(body);
      flipped[fault->after_bytes] = static_cast<char>(flipped[fault->after_bytes] ^ 0x20);
      body = flipped;
    }
  }
  if (is(Fault::Kind::long_body)) {
    flipped = std::string(body) + std::string(64 << 10, 'x');
    body = flipped;
  }
  answer.headers.try_emplace("Content-Length", fmt::format("{}", body.size()));
  if (is(Fault::Kind::headers)) {
    for (const auto& [name, value] : fault->headers) {
      answer.headers[name] = value;
    }
  }
  if (is(Fault::Kind::late_rest)) {
    answer.headers["Content-Length"] = fmt::format("{}", fault->after_bytes);
  }
  std::string text = fmt::format("HTTP/1.1 {} X\r\n", answer.status);
  for (const auto& [name, value] : answer.headers) {
    text += fmt::format("{}: {}\r\n", name, value);
  }
  text += "X-Request-Id: test-1\r\nRateLimit: \"api\";r=100;t=60\r\n\r\n";
  std::size_t record = 0;
  {
    const std::scoped_lock lock(mutex);
    record = records.size();
    records.push_back({.cdn = cdn,
                       .method = request.method,
                       .target = request.target,
                       .range = request.header("range"),
                       .authorized = !request.header("authorization").empty(),
                       .status = answer.status});
  }
  if (is(Fault::Kind::garbage)) {
    wire.send("\x16\x03\x01 no HTTP here\r\n\r\n");
    wire.close();
    return;
  }
  bool alive = wire.send(text);
  const bool cut = is(Fault::Kind::stall) || is(Fault::Kind::reset) || is(Fault::Kind::close);
  const std::uint64_t limit =
      cut ? std::min<std::uint64_t>(fault->after_bytes, body.size()) : body.size();
  std::uint64_t sent = 0;
  while (alive && !head && sent < limit) {
    constexpr std::uint64_t kBlock = 64 << 10;
    std::uint64_t block = std::min(kBlock, limit - sent);
    {
      const std::scoped_lock lock(mutex);
      if (options.bytes_per_second > 0) {
        block = std::min(block, std::max<std::uint64_t>(1, options.bytes_per_second / 20));
      }
    }
    if (is(Fault::Kind::late_rest) && sent <= fault->after_bytes) {
      block = sent < fault->after_bytes ? std::min(block, fault->after_bytes - sent) : block;
      alive = sent < fault->after_bytes || wire.sleep_ms(100);
    }
    if (is(Fault::Kind::drip)) {
      block = std::min<std::uint64_t>(block, 1024);
      alive = wire.sleep_ms(5);
    }
    alive = alive && (!cdn || pass(block, wire)) && pay(block, wire) &&
            wire.send(body.substr(sent, block));
    sent += alive ? block : 0;
    const std::scoped_lock lock(mutex);
    if (record < records.size()) {
      records[record].body_bytes = sent;
    }
  }
  // A length that was a lie leaves the connection in no state to go on.
  const auto length = answer.headers.find("Content-Length");
  const bool lied =
      !head && length != answer.headers.end() && length->second != fmt::format("{}", body.size());
  if (alive && is(Fault::Kind::stall)) {
    wire.sleep_ms(120'000);
    wire.close();
  } else if (is(Fault::Kind::reset)) {
    wire.reset();
  } else if (is(Fault::Kind::close) || lied) {
    wire.close();
  }
  const std::scoped_lock lock(mutex);
  if (log.is_open()) {
    const std::string range = request.header("range");
    log << fmt::format("{} {} {} {} {}\n", request.method, request.target,
                       range.empty() ? "-" : range, answer.status, sent)
        << std::flush;
  }
}

}  // namespace lm::test
