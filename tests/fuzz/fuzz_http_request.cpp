// Requests as bytes, in pieces of any size, then the checks that every head goes through.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/http/api_keys.h"
#include "server/http/body_decoder.h"
#include "server/http/browser_guard.h"
#include "server/http/request_parser.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;
using lm::server::RequestParser;

struct Outcome {
  RequestParser::State state = RequestParser::State::head;
  int status = 0;
  std::string target, body;
  std::size_t taken = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome parse(std::string_view bytes, std::size_t piece) {
  RequestParser parser({.head_bytes = 2048, .fields = 20, .body_bytes = 4096});
  Outcome out;
  while (out.taken < bytes.size()) {
    const std::string_view part = bytes.substr(out.taken, piece);
    const std::size_t n = parser.feed(part, out.body);
    require(n <= part.size(), "no more is taken than was given");
    out.taken += n;
    out.state = parser.state();
    if (out.state == RequestParser::State::failed || out.state == RequestParser::State::done) {
      break;
    }
    require(n > 0, "a parser that isn't at its end goes on");
  }
  out.status = parser.status();
  out.target = parser.head().target;
  if (out.state == RequestParser::State::failed) {
    require(out.status >= 400 && out.status < 600 && !parser.problem().empty(),
            "a refusal has a status and a reason");
    out.body.clear();
    out.taken = 0;  // how much of a bad request was read depends on the pieces
    return out;
  }
  const lm::server::RequestHead& head = parser.head();
  for (const auto& [name, value] : head.fields) {
    require(name.find_first_of("\r\n: ") == std::string::npos, "a name is a word");
    require(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
            "a value is one line");
  }
  require(head.path.find('\0') == std::string::npos, "a path has no NUL");
  return out;
}

}  // namespace

int lm_fuzz_http_request(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Outcome whole = parse(bytes, bytes.size() + 1);
  for (const std::size_t piece : {1u, 3u, 17u}) {
    require(parse(bytes, piece) == whole, "the pieces change nothing");
  }
  RequestParser parser({.head_bytes = 2048, .fields = 20, .body_bytes = 4096});
  std::string body;
  parser.feed(bytes, body);
  static const lm::server::BrowserGuard guard({.allowed_hosts = {"a.example", "*.b.example:*"},
                                               .origins = {"https://*.c.example:*", "null"},
                                               .host_name = "box",
                                               .interfaces = {"203.0.113.7"}});
  const lm::server::Verdict verdict = guard.check(parser.head(), 11434);
  require(verdict.status == 0 || verdict.status == 400 || verdict.status == 403,
          "a verdict is one of three");
  require(verdict.allowed_origin != "null", "null is nobody's origin");
  static_cast<void>(lm::server::ApiKeys({"key"}).allows(parser.head()));
  for (const char* coding : {"gzip", "zstd"}) {
    bool known = false;
    const auto decoder = lm::server::make_body_decoder(coding, known);
    std::string out;
    static_cast<void>(decoder->take(bytes, 65'536, out));
    require(out.size() <= 65'536, "a body grows to its limit at most");
  }
  return 0;
}
