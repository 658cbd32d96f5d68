// How the test hub sends an answer: faults in their turn, the speed limit, the records.
#include <algorithm>

#include "tests/support/test_hub_state.h"

namespace lm::test {

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
