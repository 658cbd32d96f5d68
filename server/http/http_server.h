/// An asynchronous HTTP/1.1 server: one thread, any number of connections.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/error.h"
#include "server/http/api_keys.h"
#include "server/http/browser_guard.h"
#include "server/http/exchange.h"
#include "server/http/request_parser.h"

namespace lm::server {

/// What a client may cost. Defaults are the documented limits.
struct HttpLimits {
  ParserLimits request;
  std::uint64_t upload_bytes = 1ull << 40;      ///< bodies that go to a sink
  std::uint64_t bodies_in_memory = 1ull << 30;  ///< of all connections together
  std::size_t connections = 4096;
  std::size_t send_buffer_bytes = 1u << 20;         ///< of one stream, unsent
  std::chrono::milliseconds head_deadline{10'000};  ///< after accept, or a request's first byte
  std::chrono::milliseconds idle_deadline{60'000};  ///< between requests
  std::chrono::milliseconds body_deadline{30'000};  ///< and a second more a 64 KiB received
  std::chrono::milliseconds write_stall{30'000};    ///< nothing could be written for so long
  std::chrono::milliseconds linger{2'000};          ///< for an answer given before the body's end
};

/// An answered request, for the log. No bodies, no queries, no header fields.
struct AccessRecord {
  std::uint64_t id = 0;
  std::string peer;
  std::string method;
  std::string path;
  int status = 0;  ///< 499: the client went away
  std::uint64_t sent_bytes = 0;
  std::chrono::microseconds time{0};
  std::string note;  ///< why the transport refused it
};

/// What is done with requests. Called on the server's thread: hand work on, don't block.
class Handler {
 public:
  virtual ~Handler() = default;
  /// Where a body goes; null: into memory.
  virtual std::unique_ptr<BodySink> body_sink(const RequestHead&) { return nullptr; }
  virtual void handle(std::shared_ptr<Exchange> exchange) = 0;
  /// The body of an answer that the transport gives itself, in the form of the API that `path`
  /// belongs to.
  virtual std::string error_body(std::string_view path, int status, std::string_view message);
  virtual void answered(const AccessRecord&) {}
};

struct ListenAddress {
  std::string address = "127.0.0.1";  ///< numeric
  std::uint16_t port = 11434;         ///< 0: any free one
  bool optional = false;              ///< not being able to listen here is no error
};

struct HttpOptions {
  HttpLimits limits;
  std::vector<ListenAddress> listen;
  std::vector<int> inherited;  ///< listening sockets given by the system; become the server's
  BrowserGuardSettings guard;
  ApiKeys keys;
};

/// Figures for /metrics.
struct HttpFigures {
  std::uint64_t connections = 0;
  std::uint64_t accepted = 0;
  std::uint64_t requests = 0;
  std::uint64_t refused = 0;  ///< by the transport: limits, Host, Origin, keys
};

class HttpServer {
 public:
  /// Listens, and serves on a thread of its own. `handler` outlives the server. Errors: io naming
  /// the address.
  static Result<std::unique_ptr<HttpServer>> start(HttpOptions options, Handler& handler);
  ~HttpServer();  ///< closes everything at once

  std::vector<std::uint16_t> ports() const;
  HttpFigures figures() const;

  /// No new connection and no further request on one; idle ones are closed. Returns when all
  /// answers are out, or false after `patience`.
  bool drain(std::chrono::milliseconds patience);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lm::server
