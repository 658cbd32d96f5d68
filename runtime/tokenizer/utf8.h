/// UTF-8 for text that may be anything: a byte that belongs to no character counts as one U+FFFD.
#pragma once

#include <cstddef>
#include <string_view>

#include "runtime/tokenizer/unicode_tables.h"

namespace lm::utf8 {

struct Character {
  char32_t code_point;
  std::size_t bytes;
};

inline bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

/// Length that the first byte of a character announces; 0 for a byte that can't begin one.
inline std::size_t announced_bytes(char first) {
  const auto byte = static_cast<unsigned char>(first);
  if (byte < 0x80) {
    return 1;
  }
  if (byte < 0xC2 || byte > 0xF4) {
    return 0;
  }
  return byte < 0xE0 ? 2 : (byte < 0xF0 ? 3 : 4);
}

/// True when `second` may follow `first` (RFC 3629: no overlong forms, no surrogates, nothing above
/// U+10FFFF).
inline bool second_byte_fits(char first, char second) {
  const auto a = static_cast<unsigned char>(first);
  const auto b = static_cast<unsigned char>(second);
  const unsigned low = a == 0xE0 ? 0xA0 : (a == 0xF0 ? 0x90 : 0x80);
  const unsigned high = a == 0xED ? 0x9F : (a == 0xF4 ? 0x8F : 0xBF);
  return b >= low && b <= high;
}

/// The character at `at`, which must be below text.size(). Bytes that are no character: U+FFFD, one
/// byte.
inline Character decode(std::string_view text, std::size_t at) {
  const char first = text[at];
  const std::size_t n = announced_bytes(first);
  if (n == 1) {
    return {static_cast<char32_t>(first), 1};
  }
  if (n == 0 || text.size() - at < n || !second_byte_fits(first, text[at + 1])) {
    return {unicode::kReplacement, 1};
  }
  char32_t code_point = static_cast<unsigned char>(first) & (0x7Fu >> n);
  for (std::size_t i = 1; i < n; ++i) {
    if (!is_continuation(text[at + i])) {
      return {unicode::kReplacement, 1};
    }
    code_point = (code_point << 6) | (static_cast<unsigned char>(text[at + i]) & 0x3Fu);
  }
  return {code_point, n};
}

/// The character that ends before `end`, which must not be 0. Agrees with `decode`: both find the
/// same characters.
inline Character decode_before(std::string_view text, std::size_t end) {
  const std::size_t last = end - 1;
  if (static_cast<unsigned char>(text[last]) < 0x80) {
    return {static_cast<char32_t>(text[last]), 1};
  }
  std::size_t first = last;
  while (first > 0 && last - first < 3 && is_continuation(text[first])) {
    --first;
  }
  const Character found = decode(text.substr(0, end), first);
  return found.bytes == end - first ? found : Character{unicode::kReplacement, 1};
}

/// Appends `code_point` to any string-like `out`.
template <class String>
void append(String& out, char32_t code_point) {
  const auto put = [&out](char32_t byte) {
    out.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

}  // namespace lm::utf8
