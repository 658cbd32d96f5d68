// One thread, non-blocking sockets, callbacks. Parser, checks and framing are ours and know no
// sockets.
#include "server/http/connection.h"

#include <algorithm>

#include <fmt/format.h>

#include "server/http/reply_text.h"

namespace lm::server {
namespace {

// A client that sends requests ahead is read this far while an answer is made.
constexpr std::size_t kMaxAhead = std::size_t{64} * 1024;

}  // namespace

// ---- reading

void Connection::arm_read() {
  const bool wanted = phase_ != Phase::closed && !peer_finished_ && ahead_.size() < kMaxAhead;
  if (reading_ || !wanted) {
    return;
  }
  reading_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& ec) {
    self->reading_ = false;
    if (ec) {
      self->gone();
    } else {
      self->on_readable();
    }
  });
}

void Connection::on_readable() {
  for (int round = 0; round < 4 && phase_ != Phase::closed; ++round) {
    error_code ec;
    const std::size_t n = socket_.read_some(asio::buffer(core_.buffer), ec);
    if (ec == asio::error::would_block || ec == asio::error::try_again) {
      break;
    }
    if (ec == asio::error::eof && answering() && !closed_) {
      // Some scripts stop sending once they have asked. A short answer still reaches them; work
      // that asks to be told when its client goes ends.
      peer_finished_ = true;
      keep_ = false;
      return;
    }
    if (ec || n == 0) {
      return gone();
    }
    const std::string_view data(core_.buffer.data(), n);
    if (answering() || !ahead_.empty()) {
      ahead_.append(data);
      if (ahead_.size() >= kMaxAhead) {
        break;
      }
    } else if (phase_ != Phase::lingering) {
      process(data);
    }
  }
  arm_read();
}

void Connection::process(std::string_view data) {
  while (!data.empty() && (phase_ == Phase::head || phase_ == Phase::body)) {
    if (phase_ == Phase::head) {
      if (fresh_) {
        fresh_ = false;
        deadline_ = Clock::now() + limits().head_deadline;
        began_ = Clock::now();
      }
      data.remove_prefix(parser_.feed(data, piece_));
      if (parser_.state() == RequestParser::State::failed) {
        return refuse(parser_.status(), parser_.problem());
      }
      if (parser_.state() != RequestParser::State::head && !on_head()) {
        break;
      }
      continue;
    }
    data.remove_prefix(parser_.feed(data, piece_));
    if (!on_body_bytes()) {
      return;
    }
    if (parser_.state() == RequestParser::State::done) {
      dispatch();
    }
  }
  if (phase_ != Phase::lingering && phase_ != Phase::closed) {
    ahead_.append(data);
  }
}

/// Everything that is decided before the body is read. False: the request is answered already.
bool Connection::on_head() {
  const RequestHead& head = parser_.head();
  id_ = core_.next_id++;
  core_.requests.fetch_add(1);
  verdict_ = core_.guard.check(head, port_);
  if (verdict_.status != 0) {
    note_ = verdict_.why;
    refuse(verdict_.status, verdict_.status == 400 ? verdict_.why : std::string());
    return false;
  }
  if (head.method == "OPTIONS") {
    if (head.has_body()) {
      refuse(400, "OPTIONS takes no body");
      return false;
    }
    status_ = 204;
    keep_ = head.keep_alive && !core_.draining;
    bare_ = true;
    ReplyHead allowed{.status = 204, .content_type = {}};
    allowed.fields = {{"Access-Control-Allow-Methods", std::string(kCorsMethods)},
                      {"Access-Control-Allow-Headers", std::string(kCorsFields)},
                      {"Access-Control-Max-Age", "600"}};
    send_head(allowed, std::nullopt);
    finish();
    return false;
  }
  if (!core_.options.keys.allows(head)) {
    note_ = "no key, or a wrong one";
    refuse(401, "an API key is needed: send it as Authorization: Bearer KEY, or as x-api-key",
           "WWW-Authenticate: Bearer\r\n");
    return false;
  }
  if (!check_body_fields()) {
    return false;
  }
  if (parser_.state() == RequestParser::State::done) {
    dispatch();
    return phase_ == Phase::head || phase_ == Phase::body;
  }
  phase_ = Phase::body;
  body_began_ = Clock::now();
  deadline_ = body_began_ + limits().body_deadline;
  if (head.expects_continue) {
    queue("HTTP/1.1 100 Continue\r\n\r\n");
    queued_total_ += 25;
    send();
  }
  return phase_ == Phase::body;
}

bool Connection::check_body_fields() {
  const RequestHead& head = parser_.head();
  bool known = true;
  decoder_ = make_body_decoder(head.field("content-encoding"), known);
  if (!known) {
    refuse(415, fmt::format("Content-Encoding '{}' is not taken; send gzip, zstd or none",
                            head.field("content-encoding")));
    return false;
  }
  sink_ = core_.handler.body_sink(head);
  const std::uint64_t limit = sink_ ? limits().upload_bytes : limits().request.body_bytes;
  parser_.set_body_limit(limit);
  if (head.content_length.value_or(0) > limit) {
    refuse(413, fmt::format("the body has {} bytes, the limit is {}", *head.content_length, limit));
    return false;
  }
  return true;
}

bool Connection::on_body_bytes() {
  if (parser_.state() == RequestParser::State::failed) {
    refuse(parser_.status(), parser_.problem());
    return false;
  }
  const auto earned = std::chrono::milliseconds(parser_.body_received() / 64);  // 64 KiB a second
  deadline_ = body_began_ + limits().body_deadline + earned;
  if (piece_.empty() && parser_.state() != RequestParser::State::done) {
    return true;
  }
  const std::uint64_t limit = sink_ ? limits().upload_bytes : limits().request.body_bytes;
  std::string decoded;
  if (decoder_) {
    const BodyDecoder::Outcome outcome = decoder_->take(piece_, limit - body_decoded_, decoded);
    if (outcome == BodyDecoder::Outcome::too_large) {
      refuse(413, fmt::format("the body decodes to more than {} bytes", limit));
      return false;
    }
    const bool cut = parser_.state() == RequestParser::State::done && !decoder_->complete();
    if (outcome == BodyDecoder::Outcome::broken || cut) {
      refuse(400, "the body is not what its Content-Encoding says");
      return false;
    }
  } else {
    decoded.swap(piece_);
  }
  piece_.clear();
  body_decoded_ += decoded.size();
  if (sink_) {
    if (!sink_->take(decoded)) {
      refuse(507, "the body can't be stored");
      return false;
    }
    return true;
  }
  core_.bodies_in_memory += decoded.size();
  body_counted_ += decoded.size();
  if (core_.bodies_in_memory > limits().bodies_in_memory) {
    refuse(503, "server busy: too many large requests at once", "Retry-After: 1\r\n");
    return false;
  }
  body_ += decoded;
  return true;
}

void Connection::dispatch() {
  phase_ = Phase::handling;
  status_ = 0;
  keep_ = parser_.head().keep_alive && !core_.draining;
  bare_ = parser_.head().method == "HEAD";
  auto exchange =
      std::make_shared<Answering>(core_.weak_from_this(), weak_from_this(), id_, parser_.head(),
                                  peer_, std::move(body_), std::move(sink_));
  body_.clear();
  exchange_ = exchange;
  core_.handler.handle(std::move(exchange));
}

// ---- answering

void Connection::send_head(const ReplyHead& head, std::optional<std::size_t> length) {
  const RequestHead& request = parser_.head();
  status_ = head.status;
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", head.status,
                                 reason_of(head.status), http_date());
  if (!head.content_type.empty()) {
    text += fmt::format("Content-Type: {}\r\n", field_value(head.content_type));
  }
  chunked_ = false;
  if (length) {
    text += fmt::format("Content-Length: {}\r\n", *length);
  } else if (head.status != 204) {
    if (request.minor == 1) {
      chunked_ = true;
      text += "Transfer-Encoding: chunked\r\n";
    } else {
      keep_ = false;  // the end of the connection ends the body
    }
    text += "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
  }
  if (!verdict_.allowed_origin.empty()) {
    text += fmt::format(
        "Access-Control-Allow-Origin: {}\r\nVary: Origin\r\n"
        "Access-Control-Expose-Headers: X-LM-Warnings, Retry-After\r\n",
        field_value(verdict_.allowed_origin));
  }
  for (const auto& [name, value] : head.fields) {
    text += fmt::format("{}: {}\r\n", name, field_value(value));
  }
  if (!keep_) {
    text += "Connection: close\r\n";
  } else if (request.minor == 0) {
    text += "Connection: keep-alive\r\n";
  }
  text += "\r\n";
  answer_began_at_ = queued_total_;
  queued_total_ += text.size();
  queue(text);
}

void Connection::refuse(int status, std::string message, std::string extra) {
  core_.refused.fetch_add(1);
  if (id_ == 0) {
    id_ = core_.next_id++;
  }
  if (note_.empty()) {
    note_ = message;
  }
  keep_ = false;
  bare_ = parser_.head().method == "HEAD";
  const std::string body = status == 403
                               ? std::string()
                               : core_.handler.error_body(parser_.head().path, status, message);
  ReplyHead head{.status = status};
  if (body.empty()) {
    head.content_type.clear();
  }
  while (!extra.empty()) {
    const std::size_t colon = extra.find(": ");
    const std::size_t line_end = extra.find("\r\n");
    head.fields.emplace_back(extra.substr(0, colon), extra.substr(colon + 2, line_end - colon - 2));
    extra.erase(0, line_end + 2);
  }
  send_head(head, body.size());
  if (!bare_) {
    queued_total_ += body.size();
    queue(body);
  }
  finish();
}

void Connection::reply(std::uint64_t id, ReplyHead head, std::string body) {
  if (id != id_ || phase_ != Phase::handling || status_ != 0) {
    return;
  }
  send_head(head, head.status == 204 ? std::nullopt : std::optional(body.size()));
  if (!bare_ && head.status != 204) {
    queued_total_ += body.size();
    queue(body);
  }
  finish();
}

void Connection::begin(std::uint64_t id, ReplyHead head) {
  if (id != id_ || phase_ != Phase::handling || status_ != 0) {
    return;
  }
  send_head(head, std::nullopt);
  send();
}

void Connection::write(std::uint64_t id, std::string bytes, std::function<void()> sent) {
  if (id != id_ || phase_ != Phase::handling || status_ == 0) {
    return;
  }
  if (out_.size() - out_done_ > limits().send_buffer_bytes) {
    note_ = "reads too slowly";
    return gone();
  }
  if (!bare_ && !bytes.empty()) {
    if (chunked_) {
      bytes = fmt::format("{:x}\r\n", bytes.size()) + bytes + "\r\n";
    }
    queued_total_ += bytes.size();
    queue(bytes);
  }
  if (sent) {
    on_sent_.emplace_back(queued_total_, std::move(sent));
  }
  send();
}

void Connection::end(std::uint64_t id) {
  if (id != id_ || phase_ != Phase::handling || status_ == 0) {
    return;
  }
  if (chunked_ && !bare_) {
    queue("0\r\n\r\n");
    queued_total_ += 5;
  }
  finish();
}

void Connection::abandon(std::uint64_t id) {
  if (id != id_ || phase_ != Phase::handling) {
    return;
  }
  if (status_ != 0) {
    note_ = "the answer was not ended";
    return gone();
  }
  keep_ = false;
  reply(id, {.status = 500},
        core_.handler.error_body(parser_.head().path, 500, "the request was dropped"));
}

void Connection::set_closed(std::uint64_t id, const std::shared_ptr<Answering>& exchange,
                            std::function<void()> closed) {
  if (exchange->is_closed()) {
    closed();
  } else if (id == id_ && phase_ == Phase::handling) {
    closed_ = std::move(closed);
    if (peer_finished_) {
      gone();
    }
  }
}

void Connection::send() {
  while (out_done_ < out_.size() && !writing_ && phase_ != Phase::closed) {
    error_code ec;
    const std::size_t n =
        socket_.write_some(asio::buffer(out_.data() + out_done_, out_.size() - out_done_), ec);
    if (ec == asio::error::would_block || ec == asio::error::try_again) {
      writing_ = true;
      progress_ = Clock::now();
      socket_.async_wait(tcp::socket::wait_write,
                         [self = shared_from_this()](const error_code& failed) {
                           self->writing_ = false;
                           if (failed) {
                             self->gone();
                           } else {
                             self->send();
                           }
                         });
      break;
    }
    if (ec) {
      return gone();
    }
    out_done_ += n;
    sent_total_ += n;
  }
  if (out_done_ == out_.size() || out_done_ > (256u << 10)) {
    out_.erase(0, out_done_);
    out_done_ = 0;
    if (out_.empty() && out_.capacity() > (64u << 10)) {
      out_.shrink_to_fit();
    }
  }
  while (!on_sent_.empty() && on_sent_.front().first <= sent_total_) {
    const std::function<void()> sent = std::move(on_sent_.front().second);
    on_sent_.pop_front();
    sent();
  }
  if (phase_ == Phase::finishing && out_.empty()) {
    on_all_sent();
  }
}

/// The answer is queued whole.
void Connection::finish() {
  phase_ = Phase::finishing;
  closed_ = nullptr;
  exchange_.reset();
  progress_ = Clock::now();
  send();
}

void Connection::on_all_sent() {
  log(status_);
  release_body();
  if (keep_) {
    // Not from here: a long chain of requests sent ahead must not become a deep stack.
    phase_ = Phase::head;
    fresh_ = true;
    id_ = 0;
    deadline_ = Clock::now() + limits().idle_deadline;
    parser_.set_body_limit(limits().request.body_bytes);
    parser_.reset();
    note_.clear();
    decoder_.reset();
    piece_.clear();
    body_decoded_ = 0;
    asio::post(core_.io, [self = shared_from_this()] { self->next_request(); });
    return;
  }
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  phase_ = Phase::lingering;
  ahead_.clear();
  deadline_ = Clock::now() + limits().linger;
  arm_read();
}

void Connection::next_request() {
  if (phase_ != Phase::head) {
    return;
  }
  if (core_.draining && ahead_.empty()) {
    return close();
  }
  std::string data;
  data.swap(ahead_);
  process(data);
  arm_read();
}

void Connection::release_body() {
  core_.bodies_in_memory -= body_counted_;
  body_counted_ = 0;
  body_.clear();
  body_.shrink_to_fit();
  sink_.reset();
}

void Connection::log(int status) {
  core_.handler.answered(
      {.id = id_,
       .peer = peer_,
       .method = parser_.head().method,
       .path = parser_.head().path,
       .status = status,
       .sent_bytes = queued_total_ - answer_began_at_,
       .time = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began_),
       .note = note_});
}

/// The client is gone, or is treated as gone.
void Connection::gone() {
  if (phase_ == Phase::closed) {
    return;
  }
  if (answering()) {
    log(499);
  }
  if (const std::shared_ptr<Answering> exchange = exchange_.lock()) {
    exchange->is_closed_ = true;
  }
  std::function<void()> closed;
  closed.swap(closed_);
  close();
  if (closed) {
    closed();
  }
}

void Connection::close() {
  if (phase_ == Phase::closed) {
    return;
  }
  phase_ = Phase::closed;
  release_body();
  on_sent_.clear();
  error_code ignored;
  socket_.close(ignored);
  core_.drop(this);
}

void Connection::tick(Clock::time_point now) {
  switch (phase_) {
    case Phase::head:
      if (now >= deadline_) {
        if (fresh_) {
          close();
        } else {
          refuse(408, "the request's head took too long");
        }
      }
      break;
    case Phase::body:
      if (now >= deadline_) {
        refuse(408, "the request's body took too long");
      }
      break;
    case Phase::lingering:
      if (now >= deadline_) {
        close();
      }
      break;
    case Phase::handling:
    case Phase::finishing:
      if (writing_ && now - progress_ >= limits().write_stall) {
        note_ = "reads nothing";
        gone();
      }
      break;
    case Phase::closed:
      break;
  }
}

void Connection::drain() {
  keep_ = false;
  if (phase_ == Phase::head && fresh_) {
    close();
  }
}

}  // namespace lm::server
