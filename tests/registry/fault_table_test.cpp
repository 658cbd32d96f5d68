// Every fault of hub-protocol.md against the whole pull: the right bytes or a clear error, a
// bounded number of bytes and requests, and a store that is as it was.
#include <algorithm>
#include <ctime>
#include <set>

#include <fmt/format.h>

#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

using test::Fault;
using Kind = test::Fault::Kind;

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kChunk = 16 * kMiB;
constexpr std::size_t kLine = 18 * kMiB + 7;  // two chunks, the last one short
constexpr std::size_t kSmall = 1 * kMiB + 7;  // where the weights are not what goes wrong
constexpr int kForever = 1'000'000;
constexpr std::size_t kMostRequests = 150;

/// One way to go wrong.
struct Mode {
  std::string name;
  std::vector<Fault> faults;
  std::optional<ErrorCode> error = {};  ///< none: the pull must succeed
  /// Chunks that may travel twice; 0: none but what a broken connection had under way.
  unsigned spare_chunks = 0;
  bool damaged = false;  ///< in transit: one more pass over the file is allowed
  std::function<void(test::TestHub&, HubSettings&)> prepare = {};
  test::TestHub::Options options = {};
  PullOptions pull = {};
};

Fault cdn(Kind kind, int times, std::uint64_t after_bytes = 0) {
  return {.kind = kind, .times = times, .after_bytes = after_bytes};
}
Fault cdn_status(int status, int times, std::map<std::string, std::string> headers = {}) {
  return {.kind = Kind::status, .times = times, .status = status, .headers = std::move(headers)};
}
Fault api(Kind kind, int times, std::string target = "/api/", std::uint64_t after_bytes = 0) {
  return {.kind = kind,
          .times = times,
          .cdn = false,
          .target = std::move(target),
          .after_bytes = after_bytes};
}
Fault api_status(int status, int times, std::map<std::string, std::string> headers = {},
                 std::string body = {}, std::string target = "/api/") {
  return {.kind = Kind::status,
          .times = times,
          .cdn = false,
          .target = std::move(target),
          .status = status,
          .headers = std::move(headers),
          .body = std::move(body)};
}
Fault with_headers(bool on_cdn, int times, std::map<std::string, std::string> headers,
                   std::string target = {}) {
  return {.kind = Kind::headers,
          .times = times,
          .cdn = on_cdn,
          .target = std::move(target),
          .headers = std::move(headers)};
}

std::string http_date(int seconds_from_now) {
  const std::time_t at = std::time(nullptr) + seconds_from_now;
  std::tm parts{};
  ::gmtime_r(&at, &parts);
  char text[64];
  const std::size_t size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, size};
}

void short_stalls(test::TestHub&, HubSettings& settings) {
  using std::chrono::milliseconds;
  settings.tuning.connect_timeout = milliseconds(300);
  settings.tuning.answer_timeout = milliseconds(300);
  settings.tuning.stall_timeout = milliseconds(300);
  settings.tuning.dead_timeout = milliseconds(700);
  settings.tuning.max_tries = 3;
}

void use_token(HubSettings& settings, const std::string& token) {
  settings.token = Secret(token);
  settings.token_source = "HF_TOKEN";
}

std::vector<Mode> api_modes() {
  std::vector<Mode> modes;
  // Rate limits.
  modes.push_back({"429, Retry-After in seconds", {api_status(429, 1, {{"Retry-After", "1"}})}});
  modes.push_back(
      {"429, Retry-After as a date", {api_status(429, 1, {{"Retry-After", http_date(1)}})}});
  modes.push_back({"429, RateLimit r=0", {api_status(429, 1, {{"RateLimit", "\"api\";r=0;t=0"}})}});
  modes.push_back({"429 without a time, three times", {api_status(429, 3)}});
  modes.push_back({"429, longer than the window",
                   {api_status(429, kForever, {{"Retry-After", "4000"}})},
                   ErrorCode::rate_limited});
  modes.push_back({"429 without end", {api_status(429, kForever)}, ErrorCode::rate_limited});
  // The server is ill.
  for (const int status : {408, 500, 502, 503, 504}) {
    modes.push_back({fmt::format("{} four times", status), {api_status(status, 4)}});
  }
  modes.push_back({"503 without end", {api_status(503, kForever)}, ErrorCode::http});
  modes.push_back({"502 without end at resolve",
                   {api_status(502, kForever, {}, {}, "/resolve/")},
                   ErrorCode::http});
  modes.push_back({"API answers are reset", {api(Kind::reset, 3)}});
  modes.push_back({"API answers end early", {api(Kind::close, 3, "/api/", 10)}});
  modes.push_back({"API resets without end", {api(Kind::reset, kForever)}, ErrorCode::network});
  modes.push_back(
      {"the API stalls once", {api(Kind::stall, 1, "/api/", 5)}, {}, 0, false, short_stalls});
  modes.push_back({"the API never answers",
                   {api(Kind::stall, kForever, "/api/", 0)},
                   ErrorCode::network,
                   0,
                   false,
                   short_stalls});
  modes.push_back({"no HTTP at all", {api(Kind::garbage, kForever)}, ErrorCode::protocol});
  modes.push_back({"nobody listens",
                   {},
                   ErrorCode::network,
                   0,
                   false,
                   [](test::TestHub&, HubSettings& settings) {
                     settings.endpoint = "http://127.0.0.1:1";
                     settings.tuning.max_tries = 2;
                   }});
  // Answers that are none of the hub's.
  modes.push_back({"a log-in page", {api(Kind::web_page, kForever)}, ErrorCode::protocol});
  for (const auto& [name, body, code] :
       std::vector<std::tuple<std::string, std::string, ErrorCode>>{
           {"empty", "", ErrorCode::protocol},
           {"cut JSON", R"({"id": "u/r", )", ErrorCode::protocol},
           {"deep JSON", std::string(1 << 20, '['), ErrorCode::protocol},
           {"wide JSON", "[" + std::string(8 << 20, ',') + "]", ErrorCode::protocol},
           {"JSON of many small arrays",
            [] {
              std::string text = "[[]";
              for (int i = 0; i < 2'000'000; ++i) {
                text += ",[]";
              }
              return text + "]";
            }(),
            ErrorCode::protocol},
           {"endless JSON", std::string(20 << 20, ' '), ErrorCode::limit_exceeded}}) {
    for (const std::string target : {"/revision/", "/tree/"}) {
      modes.push_back({fmt::format("{} at {}", name, target),
                       {api_status(200, kForever, {}, body, target)},
                       code});
    }
  }
  const std::string oid(64, 'a');
  for (const auto& [name, body, code] :
       std::vector<std::tuple<std::string, std::string, ErrorCode>>{
           {"no size", R"([{"type":"file","path":"m.gguf"}])", ErrorCode::protocol},
           {"negative size", R"([{"type":"file","path":"m.gguf","size":-1}])", ErrorCode::protocol},
           {"upper-case digest",
            R"([{"type":"file","path":"m.gguf","size":1,"lfs":{"oid":")" + std::string(64, 'A') +
                R"(","size":1}}])",
            ErrorCode::protocol},
           {"path that leads away", R"([{"type":"file","path":"../m.gguf","size":1}])",
            ErrorCode::not_found},
           {"size of 2^64 - 1",
            R"([{"type":"file","path":"m.gguf","size":3,"lfs":{"oid":")" + oid +
                R"(","size":18446744073709551615}}])",
            ErrorCode::no_space}}) {
    modes.push_back(
        {fmt::format("tree: {}", name), {api_status(200, kForever, {}, body, "/tree/")}, code});
  }
  modes.push_back(
      {"tree: a page that follows itself",
       {with_headers(false, kForever,
                     {{"Link", "</api/models/u/r/tree/main?cursor=0>; rel=\"next\""}}, "/tree/")},
       ErrorCode::protocol});
  modes.push_back(
      {"tree: next page on no address",
       {with_headers(false, kForever, {{"Link", "<ftp://x/>; rel=\"next\""}}, "/tree/")},
       ErrorCode::protocol});
  modes.push_back({"tree: the rest of a long answer comes as the next one's beginning",
                   {{.kind = Kind::late_rest,
                     .times = 1,
                     .cdn = false,
                     .target = "/api/models/u/r",
                     .after_bytes = 16}},
                   ErrorCode::protocol});
  modes.push_back(
      {"60 KiB of header", {with_headers(false, 2, {{"X-Pad", std::string(60'000, 'x')}})}});
  modes.push_back({"2 MiB of header",
                   {with_headers(false, kForever, {{"X-Pad", std::string(2 << 20, 'x')}})},
                   ErrorCode::network});
  // Redirects.
  for (const std::string location :
       {"/api/models/u/r/revision/main", "ftp://127.0.0.1/x", "http://user:pw@127.0.0.1/", ""}) {
    modes.push_back({fmt::format("redirected to '{}'", location),
                     {api_status(307, kForever, {{"Location", location}})},
                     ErrorCode::protocol});
  }
  modes.push_back(
      {"resolve: redirects without end",
       {api_status(302, kForever, {{"Location", "/u/r/resolve/x/m-Q4_0.gguf"}}, {}, "/resolve/")},
       ErrorCode::protocol});
  // Who may.
  const auto gated = [](bool listed, std::string token) {
    return [listed, token](test::TestHub& hub, HubSettings& settings) {
      hub.set_gated("u/r", listed);
      if (!token.empty()) {
        use_token(settings, token);
      }
    };
  };
  const test::TestHub::Options with_token{.token = "hf_good"};
  modes.push_back({"gated, no token", {}, ErrorCode::gated, 0, false, gated(true, ""), with_token});
  modes.push_back({"gated, not on the list",
                   {},
                   ErrorCode::gated,
                   0,
                   false,
                   gated(false, "hf_good"),
                   with_token});
  modes.push_back({"gated, on the list", {}, {}, 0, false, gated(true, "hf_good"), with_token});
  modes.push_back({"an invalid token on a public repository",
                   {},
                   {},
                   0,
                   false,
                   [](test::TestHub&, HubSettings& s) { use_token(s, "hf_bad"); },
                   with_token});
  modes.push_back({"private, no token",
                   {},
                   ErrorCode::not_found,
                   0,
                   false,
                   [](test::TestHub& hub, HubSettings&) { hub.set_private("u/r"); },
                   with_token});
  modes.push_back(
      {"unknown revision", {}, ErrorCode::not_found, 0, false, {}, {}, {.revision = "no-such"}});
  modes.push_back(
      {"unknown file", {}, ErrorCode::not_found, 0, false, {}, {}, {.file = "no.gguf"}});
  modes.push_back(
      {"disabled",
       {api_status(403, kForever, {}, R"({"error":"Access to this resource is disabled."})")},
       ErrorCode::unauthorized});
  for (const int status : {404, 410, 418, 451}) {
    modes.push_back({fmt::format("API answers {}", status),
                     {api_status(status, kForever)},
                     status == 404 ? ErrorCode::not_found : ErrorCode::http});
  }
  // resolve.
  modes.push_back({"resolve names another digest",
                   {api(Kind::linked_etag, kForever, "/resolve/")},
                   ErrorCode::digest_mismatch});
  modes.push_back({"resolve names another size",
                   {api(Kind::linked_size, kForever, "/resolve/")},
                   ErrorCode::size_mismatch});
  modes.push_back(
      {"resolve belongs to another commit",
       {with_headers(false, kForever, {{"X-Repo-Commit", std::string(40, '0')}}, "/resolve/")},
       ErrorCode::protocol});
  modes.push_back({"HEAD is refused", {}, {}, 0, false, {}, {.refuse_head = true}});
  modes.push_back({"a mirror that names the real hub",
                   {},
                   {},
                   0,
                   false,
                   {},
                   {.page_entries = 1, .name_the_real_hub = true}});
  modes.push_back({"a mirror without a CDN", {}, {}, 0, false, {}, {.without_cdn = true}});
  modes.push_back({"weights without a SHA-256", {}, {}, 0, false, {}, {.without_lfs = true}});
  return modes;
}

std::vector<Mode> cdn_modes() {
  std::vector<Mode> modes;
  for (const int status : {400, 401, 403, 410, 416}) {
    modes.push_back(
        {fmt::format("CDN: address refused with {} twice", status), {cdn_status(status, 2)}});
  }
  modes.push_back(
      {"CDN: every address refused", {cdn_status(403, kForever)}, ErrorCode::unauthorized});
  modes.push_back({"CDN: 416 without end", {cdn_status(416, kForever)}, ErrorCode::protocol});
  modes.push_back(
      {"CDN: addresses that seem over", {}, {}, 0, false, [](test::TestHub& hub, HubSettings&) {
         hub.set_address_life(std::chrono::seconds(-7200));
       }});
  for (const int status : {404, 418, 451}) {
    modes.push_back({fmt::format("CDN: {}", status),
                     {cdn_status(status, kForever)},
                     status == 404 ? ErrorCode::not_found : ErrorCode::http});
  }
  for (const int status : {408, 500, 502, 503, 504}) {
    modes.push_back({fmt::format("CDN: {} four times", status), {cdn_status(status, 4)}});
  }
  modes.push_back({"CDN: 503 without end", {cdn_status(503, kForever)}, ErrorCode::http});
  modes.push_back({"CDN: 429, seconds", {cdn_status(429, 1, {{"Retry-After", "1"}})}});
  modes.push_back({"CDN: 429, a date", {cdn_status(429, 1, {{"Retry-After", http_date(2)}})}});
  modes.push_back({"CDN: 429, RateLimit", {cdn_status(429, 1, {{"RateLimit", "\"r\";r=0;t=0"}})}});
  modes.push_back({"CDN: 429 without a time", {cdn_status(429, 2)}});
  modes.push_back({"CDN: 429 too long",
                   {cdn_status(429, kForever, {{"Retry-After", "301"}})},
                   ErrorCode::rate_limited});
  modes.push_back({"CDN: 429 without end", {cdn_status(429, kForever)}, ErrorCode::rate_limited});
  // The line.
  for (const auto& [kind, name] : {std::pair{Kind::reset, "reset"}, {Kind::close, "ended early"}}) {
    modes.push_back({fmt::format("CDN: {} before a byte, four times", name), {cdn(kind, 4)}});
    modes.push_back(
        {fmt::format("CDN: {} mid-chunk, six times", name), {cdn(kind, 6, 2 * kMiB)}, {}, 6});
    modes.push_back({fmt::format("CDN: {} one byte before the end of each chunk", name),
                     {cdn(kind, 3, kChunk - 1)},
                     {},
                     3});
    modes.push_back(
        {fmt::format("CDN: {} without end", name), {cdn(kind, kForever)}, ErrorCode::network});
  }
  modes.push_back(
      {"CDN: a stall mid-chunk", {cdn(Kind::stall, 2, 3 * kMiB)}, {}, 2, false, short_stalls});
  modes.push_back({"CDN: stalls without end",
                   {cdn(Kind::stall, kForever)},
                   ErrorCode::network,
                   0,
                   false,
                   short_stalls});
  modes.push_back({"CDN: one connection drips", {cdn(Kind::drip, 1)}, {}, 1});
  modes.push_back({"CDN: no HTTP at all", {cdn(Kind::garbage, kForever)}, ErrorCode::protocol});
  // Ranges.
  modes.push_back({"CDN: Range ignored once", {cdn(Kind::ignore_range, 1)}, {}, 3});
  modes.push_back({"CDN: Range ignored always", {cdn(Kind::ignore_range, kForever)}, {}, 3});
  for (const auto& [kind, name] : {std::pair{Kind::wrong_range, "begins elsewhere"},
                                   {Kind::wrong_total, "has another total"}}) {
    modes.push_back({fmt::format("CDN: Content-Range {} once", name), {cdn(kind, 1)}, {}, 1});
    modes.push_back({fmt::format("CDN: Content-Range {} always", name),
                     {cdn(kind, kForever)},
                     ErrorCode::protocol});
  }
  for (const std::string value :
       {"", "bytes 0-99/*", "bytes */7", "lines 0-1/2",
        "bytes 0-18446744073709551615/18446744073709551615", "bytes 9-3/10"}) {
    modes.push_back({fmt::format("CDN: Content-Range '{}' once", value),
                     {with_headers(true, 1, {{"Content-Range", value}})},
                     {},
                     1});
    modes.push_back({fmt::format("CDN: Content-Range '{}' always", value),
                     {with_headers(true, kForever, {{"Content-Range", value}})},
                     ErrorCode::protocol});
  }
  modes.push_back({"CDN: short ranges", {cdn(Kind::short_range, 20, kMiB + 1)}});
  modes.push_back({"CDN: more bytes than asked for", {cdn(Kind::long_body, 3)}, {}, 3});
  modes.push_back({"CDN: a length of a thousandth",
                   {with_headers(true, 3, {{"Content-Length", "16777"}})},
                   {},
                   3});
  modes.push_back({"CDN: the rest of a long answer comes as the next one's beginning",
                   {{.kind = Kind::late_rest, .times = 3, .after_bytes = 16777}},
                   {},
                   3});
  modes.push_back({"CDN: a length of 2^63 and the connection ends",
                   {with_headers(true, 1, {{"Content-Length", "9223372036854775807"}}),
                    cdn(Kind::close, 1, 100)},
                   {},
                   3,
                   false,
                   short_stalls});
  modes.push_back({"CDN: a length that is no number",
                   {with_headers(true, 1, {{"Content-Length", "many"}})},
                   {},
                   1});
  modes.push_back(
      {"CDN: says gzip", {with_headers(true, 1, {{"Content-Encoding", "gzip"}})}, {}, 1});
  modes.push_back({"CDN: a web page", {cdn(Kind::web_page, 1)}, {}, 1});
  modes.push_back({"CDN: a web page always", {cdn(Kind::web_page, kForever)}, ErrorCode::protocol});
  modes.push_back({"CDN: another ETag each time",
                   {with_headers(true, 1, {{"ETag", "\"one\""}}),
                    with_headers(true, 1, {{"ETag", "\"two\""}})}});
  modes.push_back(
      {"CDN: 60 KiB of header", {with_headers(true, 2, {{"X-Pad", std::string(60'000, 'x')}})}});
  modes.push_back({"CDN: redirects without end",
                   {cdn_status(302, kForever, {{"Location", "/xet-bridge-us/again"}})},
                   ErrorCode::protocol});
  modes.push_back({"CDN: redirects to nowhere",
                   {cdn_status(302, kForever, {{"Location", "gopher://x"}})},
                   ErrorCode::protocol});
  // Bytes.
  modes.push_back({"one byte wrong once", {cdn(Kind::corrupt, 1, 12345)}, {}, 0, true});
  modes.push_back({"a byte of every chunk wrong once", {cdn(Kind::corrupt, 2, 999)}, {}, 0, true});
  modes.push_back({"bytes wrong always",
                   {cdn(Kind::corrupt, kForever, 12345)},
                   ErrorCode::digest_mismatch,
                   0,
                   true});
  modes.push_back({"a wrong byte where ranges are ignored",
                   {cdn(Kind::corrupt, 1, 5 * kMiB)},
                   {},
                   0,
                   true,
                   {},
                   {.ignore_ranges = true},
                   {.connections = 1}});
  return modes;
}

class FaultTableTest : public PullTest {
 protected:
  /// Name and id of every model, each of them verified.
  std::set<std::string> listed() {
    std::set<std::string> names;
    auto store = open_store();
    const auto entries = store.list();
    EXPECT_TRUE(entries);
    for (const store::ModelEntry& entry : *entries) {
      names.insert(entry.name + " " + entry.id);
      const store::Manifest manifest = *store.find(entry.name);
      for (const store::Layer& layer : manifest.layers) {
        const auto check = store.verify_blob(layer.digest, layer.size_bytes);
        EXPECT_TRUE(check && check->state == store::BlobCheck::State::good) << entry.name;
      }
    }
    return names;
  }

  void run(const Mode& mode, std::size_t size) {
    SCOPED_TRACE(mode.name);
    std::filesystem::remove_all(home());
    start(mode.options);
    settings_.token = Secret();
    const std::string& all = noise_bytes();
    const std::string bytes = all.substr(0, size);
    const int failures_before = failures();
    hub_->add_file("u/r", "m-Q4_0.gguf", bytes);
    hub_->add_file("u/r", "README.md", "hello");
    hub_->add_file("u/before", "b-Q4_0.gguf", noise(5000, 7));
    ASSERT_TRUE(pull_name("u/before"));
    const std::set<std::string> before = listed();
    if (mode.prepare) {
      mode.prepare(*hub_, settings_);
    }
    for (const Fault& fault : mode.faults) {
      hub_->add_fault(fault);
    }
    hub_->clear_log();
    const auto result = pull_name("u/r", mode.pull);
    const std::uint64_t sent = hub_->weight_bytes();
    const std::size_t requests = hub_->log().size();
    EXPECT_LE(requests, kMostRequests);
    const std::uint64_t allowed =
        mode.damaged ? 2 * size : size + (mode.spare_chunks + (mode.error ? 1 : 0)) * kChunk;
    EXPECT_LE(sent, allowed);
    if (mode.error) {
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, *mode.error) << result.error().problem;
      EXPECT_FALSE(result.error().problem.empty());
      EXPECT_EQ(listed(), before);
      // And it is not doomed: once the fault is gone, the same words work.
      hub_->clear_faults();
      settings_.endpoint = hub_->endpoint();
      settings_.tuning = quick_tuning();
      if (mode.pull.revision.empty() && mode.pull.file.empty() && !mode.prepare) {
        const auto again = pull_name("u/r");
        ASSERT_TRUE(again) << again.error().problem;
        EXPECT_TRUE(stored_bytes("hf.co/u/r:Q4_0") == bytes);
      }
    } else {
      ASSERT_TRUE(result) << result.error().subject << ": " << result.error().problem;
      EXPECT_TRUE(stored_bytes(result->name) == bytes);
      EXPECT_EQ(listed().size(), before.size() + 1);
    }
    held_ += failures() == failures_before ? 1 : 0;
    ++tried_;
  }

  static const std::string& noise_bytes() {
    static const std::string bytes = noise(kLine);
    return bytes;
  }
  static int failures() {
    return ::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
  }

  void run_all(const std::vector<Mode>& modes, std::size_t size, const char* what) {
    for (const Mode& mode : modes) {
      run(mode, size);
    }
    std::printf("%d of %zu faults of the %s ended well\n", held_, modes.size(), what);
    EXPECT_EQ(tried_, static_cast<int>(modes.size()));
    EXPECT_EQ(held_, tried_);
  }

  int held_ = 0;
  int tried_ = 0;
};

TEST_F(FaultTableTest, OfTheApi) {
  run_all(api_modes(), kSmall, "API");
}

/// Most of a fault's time is waiting; in parts they wait at the same time.
constexpr int kParts = 6;
class FaultTableOfTheLine : public FaultTableTest, public ::testing::WithParamInterface<int> {};

TEST_P(FaultTableOfTheLine, Part) {
  const std::vector<Mode> all = cdn_modes();
  std::vector<Mode> part;
  for (std::size_t i = static_cast<std::size_t>(GetParam()); i < all.size(); i += kParts) {
    part.push_back(all[i]);
  }
  run_all(part, kLine, "line");
}
INSTANTIATE_TEST_SUITE_P(Line, FaultTableOfTheLine, ::testing::Range(0, kParts));

}  // namespace LM_FILE
}  // namespace lm::registry
