/// One request and its answer, as the rest of the server sees them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/http/request_parser.h"

namespace lm::server {

/// Where a request's body goes instead of memory: uploads. Called on the server's thread.
class BodySink {
 public:
  virtual ~BodySink() = default;
  /// False: the bytes can't be taken; the request is answered 507 and the connection closed.
  virtual bool take(std::string_view bytes) = 0;
};

struct ReplyHead {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> fields = {};
};

/// Answers exactly once: either `reply`, or `begin`, any number of `write`, `end`. All functions
/// may be called from any thread; the callbacks run on the server's thread and must not block.
/// Dropped without an answer it becomes a 500.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual std::uint64_t id() const = 0;
  virtual const RequestHead& head() const = 0;
  virtual const std::string& peer() const = 0;  ///< address of the client
  virtual const std::string& body() const = 0;  ///< decoded; empty when it went to a sink
  virtual BodySink* sink() = 0;

  virtual void reply(ReplyHead head, std::string body) = 0;

  virtual void begin(ReplyHead head) = 0;
  /// A frame, sent at once. `sent` is called when its last byte has been handed to the system, so
  /// that who makes frames can wait for a slow reader; never, when the client is gone.
  virtual void write(std::string bytes, std::function<void()> sent = {}) = 0;
  virtual void end() = 0;

  /// Called once when the client has gone before the end of the answer, or reads nothing for too
  /// long; at once when that is so already.
  virtual void on_closed(std::function<void()> closed) = 0;
  virtual bool is_closed() const = 0;
};

/// {"error":"..."}: the native API's form, also that of the transport itself.
std::string error_json(std::string_view message);

}  // namespace lm::server
