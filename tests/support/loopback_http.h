/// A small HTTP/1.1 server on 127.0.0.1 for tests: keep-alive, one thread a connection, and full
/// control over what goes over the wire, including breaking the protocol on purpose.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>

namespace lm::test {

struct ServerRequest {
  std::string method;
  std::string target;                          ///< path and query as sent
  std::string path;                            ///< percent-decoded, without query
  std::map<std::string, std::string> headers;  ///< lower-case names

  std::string header(const std::string& name) const;
};

/// The wire of one answer.
class Wire {
 public:
  virtual ~Wire() = default;
  /// False: the client is gone or the server stops.
  virtual bool send(std::string_view bytes) = 0;
  /// Ends the connection: with a TCP reset, or orderly.
  virtual void reset() = 0;
  virtual void close() = 0;
  /// Sleeps until the time is over; false at once when the server stops or the client went away.
  virtual bool sleep_ms(int ms) = 0;
};

class LoopbackHttp {
 public:
  using Handler = std::function<void(const ServerRequest&, Wire&)>;
  /// Listens on a free port at once; `handler` is called from many threads.
  explicit LoopbackHttp(Handler handler);
  ~LoopbackHttp();
  LoopbackHttp(const LoopbackHttp&) = delete;
  LoopbackHttp& operator=(const LoopbackHttp&) = delete;

  int port() const { return port_; }
  std::string origin() const;
  int connections_now() const { return open_; }
  int connections_most() const { return most_; }

 private:
  void accept_loop();
  void serve(int fd);

  Handler handler_;
  int listen_fd_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> open_{0};
  std::atomic<int> most_{0};
  std::mutex mutex_;  // guards fds_
  std::condition_variable idle_;
  std::set<int> fds_;
  std::thread acceptor_;
};

std::string percent_decoded(std::string_view text);

}  // namespace lm::test
