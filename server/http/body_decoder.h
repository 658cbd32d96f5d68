/// Content-Encoding of request bodies, undone as a stream so that a small body can't become a
/// large one unnoticed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace lm::server {

class BodyDecoder {
 public:
  enum class Outcome { ok, broken, too_large };

  virtual ~BodyDecoder() = default;
  /// Appends what `bytes` decode to; never more than `limit` in all calls together.
  virtual Outcome take(std::string_view bytes, std::uint64_t limit, std::string& out) = 0;
  /// Whether the encoded stream has come to its end.
  virtual bool complete() const = 0;
};

/// A decoder for "gzip", "zstd"; `known` is false for a coding that isn't taken. Null for "" and
/// "identity".
std::unique_ptr<BodyDecoder> make_body_decoder(std::string_view coding, bool& known);

}  // namespace lm::server
