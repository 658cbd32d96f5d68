/// A raw client for tests of the server: bytes in, bytes out, nothing helpful in between.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lm::test {

struct Response {
  int status = 0;
  std::map<std::string, std::string> fields;  ///< lower-case names
  std::string body;                           ///< without chunk framing
  std::vector<std::string> chunks;            ///< as they were framed
};

class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool send(std::string_view bytes);
  /// Reads one response; status 0 when the connection ends first. `head_only`: the answer to HEAD.
  Response read(bool head_only = false);
  /// Reads until at least the head of a response and one chunk are there.
  std::string read_some();
  /// True when the server closes within the limit; what it still sends is dropped.
  bool closed_within(std::chrono::milliseconds limit);
  void close();
  /// Ends the connection with a reset.
  void reset();
  void stop_sending();
  int fd() const { return fd_; }

 private:
  bool fill(std::chrono::milliseconds limit);
  int fd_ = -1;
  std::string in_;
};

/// "METHOD PATH HTTP/1.1" with a Host, further fields ("Name: value\r\n"...) and a body.
std::string request_text(std::uint16_t port, std::string_view method, std::string_view path,
                         std::string_view body = {}, std::string_view fields = {});

/// One request on a connection of its own.
Response ask(std::uint16_t port, std::string_view method, std::string_view path,
             std::string_view body = {}, std::string_view fields = {});

}  // namespace lm::test
