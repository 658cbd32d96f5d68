#include "registry/range_connection.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "registry/ascii.h"

namespace lm::registry {
namespace {

struct ContentRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  ///< one past
  std::uint64_t total = 0;
};

/// "bytes 0-99/200". A total of '*' is refused: the size is what ties the parts together.
std::optional<ContentRange> parse_content_range(std::string_view text) {
  if (!to_lower(text.substr(0, 6)).starts_with("bytes ")) {
    return std::nullopt;
  }
  text.remove_prefix(6);
  ContentRange range;
  const char* at = text.data();
  const char* end = text.data() + text.size();
  for (const auto& [number, follower] : {std::pair{&range.begin, '-'}, {&range.end, '/'}}) {
    const auto [next, error] = std::from_chars(at, end, *number);
    if (error != std::errc() || next == end || *next != follower) {
      return std::nullopt;
    }
    at = next + 1;
  }
  const auto [next, error] = std::from_chars(at, end, range.total);
  if (error != std::errc() || next != end || range.end < range.begin || range.end >= range.total) {
    return std::nullopt;
  }
  ++range.end;
  return range;
}

}  // namespace

void RangeConnection::start(TransferLoop& loop, const Url& url, const Secret* token,
                            ByteRange wanted, bool whole) {
  range = whole ? ByteRange{} : wanted;
  position = wanted.begin;
  end = wanted.end;
  whole_file = whole;
  active = true;
  paused = false;
  broken = false;
  arrived = 0;
  fresh = 0;
  started = Clock::now();
  last_byte = started;
  const HttpRequest request{.url = url,
                            .headers = {fmt::format("Range: bytes={}-{}", position, end - 1)}};
  transfer.prepare(request, token, *this);
  loop.add(transfer);
}

bool RangeConnection::refuse(std::string problem) {
  broken = true;
  error = {.code = ErrorCode::protocol,
           .subject = transfer.url().for_display(),
           .problem = std::move(problem),
           .hint = "run the command again; check HF_ENDPOINT and the proxy settings"};
  return false;
}

/// 206 for the asked range, or 200 with the whole file: rules 5 and 6 of hub-protocol.md 3.
bool RangeConnection::on_answer(int status, const Headers& headers) {
  last_byte = Clock::now();
  const std::uint64_t size = owner_.size_bytes();
  if (status != 200 && status != 206) {
    return false;
  }
  const std::string_view encoding = headers.get("content-encoding");
  if (!encoding.empty() && !equal_ignoring_case(encoding, "identity")) {
    return refuse(fmt::format("the bytes come encoded as '{}'", encoding.substr(0, 40)));
  }
  if (!owner_.is_same_file(headers.get("etag"))) {
    return refuse("the file has changed on the server");
  }
  if (to_lower(headers.get("content-type")).starts_with("text/html")) {
    return refuse("the answer is a web page, not the file");
  }
  if (status == 206) {
    const auto given = parse_content_range(headers.get("content-range"));
    if (!given || given->begin != position) {
      return refuse(fmt::format("asked for bytes from {}, the answer has '{}'", position,
                                headers.get("content-range").substr(0, 80)));
    }
    if (given->total != size) {
      return refuse(
          fmt::format("the file has {} bytes there, {} were announced", given->total, size));
    }
    end = std::min(end, given->end);
    return true;
  }
  const std::string length(headers.get("content-length"));
  if (!length.empty() && length != fmt::format("{}", size)) {
    return refuse(
        fmt::format("the file has {} bytes there, {} were announced", length.substr(0, 24), size));
  }
  position = 0;
  end = size;
  whole_file = true;
  owner_.on_range_ignored();
  return true;
}

TransferSink::Take RangeConnection::on_body(std::span<const char> bytes) {
  last_byte = Clock::now();
  if (!owner_.may_take(bytes.size())) {
    paused = true;
    return Take::pause;
  }
  return owner_.take_bytes(*this, bytes) ? Take::all : Take::abort;
}

}  // namespace lm::registry
