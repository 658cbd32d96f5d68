/// HTTP/1.1 requests from untrusted bytes: strict where leniency lets requests be smuggled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lm::server {

/// The head of a request, checked.
struct RequestHead {
  std::string method;
  std::string target;  ///< as sent
  std::string path;    ///< percent-decoded, without the query
  std::string query;   ///< as sent, without '?'
  int minor = 1;       ///< of HTTP/1.x
  /// Names in lower case, values without blanks around them, in the order sent.
  std::vector<std::pair<std::string, std::string>> fields;
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = true;
  bool expects_continue = false;

  /// Value of the first field of that (lower-case) name; empty when absent.
  std::string_view field(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

struct ParserLimits {
  std::size_t head_bytes = std::size_t{32} * 1024;  ///< request line and fields
  std::size_t fields = 100;
  std::uint64_t body_bytes = 64u << 20;  ///< as sent; may be changed once the head is known
};

/// Takes bytes in pieces of any size; what comes out doesn't depend on the pieces. Refused are:
/// lines that end in a bare LF, bare CR, NUL, folded fields, blanks before a colon, two lengths, a
/// length beside a transfer coding, codings other than chunked, chunk sizes that overflow.
class RequestParser {
 public:
  enum class State {
    head,
    body,  ///< the head is complete, `feed` gives body bytes
    done,
    failed  ///< `status` and `problem` say why; the connection can't be used any more
  };

  explicit RequestParser(const ParserLimits& limits = {}) : limits_(limits) {}

  /// Takes bytes and returns how many: all of them, or fewer where the head ends (so that the
  /// caller can decide before the body) and where the request ends. Body bytes are appended to
  /// `body`, framing removed.
  std::size_t feed(std::string_view bytes, std::string& body);

  State state() const { return state_; }
  const RequestHead& head() const { return head_; }
  int status() const { return status_; }                   ///< 400, 413, 431, 505
  const std::string& problem() const { return problem_; }  ///< a sentence
  /// True when nothing of a request has come yet.
  bool is_fresh() const { return state_ == State::head && line_.empty() && head_bytes_ == 0; }
  std::uint64_t body_received() const { return body_received_; }
  void set_body_limit(std::uint64_t bytes) { limits_.body_bytes = bytes; }
  /// Ready for the next request of the connection.
  void reset();

 private:
  enum class Part { request_line, fields, fixed, chunk_size, chunk_data, chunk_end, trailers };

  void fail(int status, std::string problem);
  bool take_line(std::string_view& bytes);
  void on_line();
  void read_request_line();
  void read_field(bool trailer);
  void end_head();
  void read_chunk_size();

  ParserLimits limits_;
  State state_ = State::head;
  Part part_ = Part::request_line;
  RequestHead head_;
  std::string line_;  ///< the line that has begun, without its end
  bool saw_cr_ = false;
  std::size_t head_bytes_ = 0;
  std::uint64_t left_ = 0;  ///< of the body, or of a chunk
  std::uint64_t body_received_ = 0;
  int status_ = 0;
  std::string problem_;
};

/// Bytes of a percent-encoded text; nothing for a broken escape or an encoded NUL.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace lm::server
