/// Walks over the start of a file, field by field, asking the source only for bytes that are
/// needed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "backends/error.h"
#include "runtime/gguf/byte_source.h"

namespace lm::gguf {

class HeaderCursor {
 public:
  explicit HeaderCursor(ByteSource& source) : source_(source) {
    const std::span<const std::byte> mapping = source.mapping();
    if (!mapping.empty()) {
      window_ = mapping;
    }
  }

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return source_.size() - position_; }

  /// The next `length` bytes, without moving on. `what` names the field in the error "truncated at
  /// N of M bytes".
  Result<std::span<const std::byte>> peek(std::uint64_t length, std::string_view what) {
    if (length > left()) {
      return truncated(length, what);
    }
    if (position_ < window_begin_ || position_ - window_begin_ > window_.size() ||
        length > window_.size() - (position_ - window_begin_)) {
      // Whole windows, so that a source of ranges sees few requests and none beyond the step it
      // fetches anyway.
      constexpr std::uint64_t kWindow = 64 << 10;
      const std::uint64_t past = (kWindow - (position_ + length) % kWindow) % kWindow;
      const std::uint64_t wanted = length + std::min(past, left() - length);
      LM_TRY(window_, source_.view(position_, wanted));
      window_begin_ = position_;
    }
    return window_.subspan(position_ - window_begin_, length);
  }

  Result<std::span<const std::byte>> take(std::uint64_t length, std::string_view what) {
    LM_TRY(const std::span<const std::byte> bytes, peek(length, what));
    position_ += length;
    return bytes;
  }

  template <class T>
  Result<T> number(std::string_view what) {
    LM_TRY(const std::span<const std::byte> bytes, take(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  /// A length of u64 and that many bytes. The text lives as long as the source.
  Result<std::string_view> string(std::uint64_t max_bytes, std::string_view what) {
    LM_TRY(const std::uint64_t length, number<std::uint64_t>(what));
    if (length > max_bytes) {
      return fail(ErrorCode::limit_exceeded, source_.name(),
                  fmt::format("{} at offset {} is {} bytes long, the limit is {}", what,
                              position_ - sizeof(length), length, max_bytes),
                  "the file is malformed, get it again");
    }
    LM_TRY(const std::span<const std::byte> bytes, take(length, what));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  /// Walks over `count` strings. Vocabularies have hundreds of thousands, so those inside the
  /// window take the short way.
  Result<void> skip_strings(std::uint64_t count, std::uint64_t max_bytes, std::string_view what) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = position_ - window_begin_;
      std::uint64_t length = 0;
      if (position_ >= window_begin_ && at <= window_.size() &&
          window_.size() - at >= sizeof(length)) {
        std::memcpy(&length, window_.data() + at, sizeof(length));
        if (length <= max_bytes && length <= window_.size() - at - sizeof(length)) {
          position_ += sizeof(length) + length;
          continue;
        }
      }
      LM_CHECK(string(max_bytes, what));
    }
    return {};
  }

  /// Goes back to or forward to an offset that has been seen.
  void seek(std::uint64_t position) { position_ = position; }

  std::unexpected<Error> truncated(std::uint64_t needed, std::string_view what) const {
    const std::uint64_t total = needed > UINT64_MAX - position_ ? UINT64_MAX : position_ + needed;
    return fail(ErrorCode::truncated, source_.name(),
                fmt::format("truncated at {} of {} bytes or more, in {} at offset {}",
                            source_.size(), total, what, position_),
                "the download is incomplete, get the file again (lm pull NAME)");
  }

 private:
  ByteSource& source_;
  std::uint64_t position_ = 0;
  std::uint64_t window_begin_ = 0;
  std::span<const std::byte> window_;
};

}  // namespace lm::gguf
