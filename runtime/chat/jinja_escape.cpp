#include "runtime/chat/jinja_escape.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include "runtime/chat/jinja_unicode.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {
namespace {

std::optional<std::uint32_t> hex(std::string_view source, std::size_t from, std::size_t n) {
  std::uint32_t value = 0;
  const std::string_view digits = source.substr(std::min(from, source.size()), n);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  const bool whole = digits.size() == n && parsed.ptr == digits.data() + n;
  return whole && parsed.ec == std::errc() ? std::optional(value) : std::nullopt;
}

}  // namespace

std::size_t read_escape(std::string_view source, std::string& text) {
  constexpr std::size_t kMalformed = 0;
  const char c = source[1];
  constexpr std::string_view kFrom = "ntrbfav\\'\"";
  constexpr std::string_view kTo = "\n\t\r\b\f\a\v\\'\"";
  if (const auto simple = kFrom.find(c); simple != std::string_view::npos) {
    text += kTo[simple];
    return 2;
  }
  if (c == '\n') {
    return 2;
  }
  if (c >= '0' && c <= '7') {
    std::uint32_t value = 0;
    std::size_t n = 1;
    for (; n <= 3 && n < source.size() && source[n] >= '0' && source[n] <= '7'; ++n) {
      value = value * 8 + static_cast<std::uint32_t>(source[n] - '0');
    }
    utf8::append(text, value);
    return n;
  }
  const std::size_t n = c == 'x' ? 2 : (c == 'u' ? 4 : (c == 'U' ? 8 : 0));
  if (n == 0) {
    if (c == 'N') {
      return kMalformed;  // character names would need a table of them all
    }
    text += '\\';
    return 1;  // an unknown escape stays as it is
  }
  auto value = hex(source, 2, n);
  if (!value || *value > 0x10FFFF) {
    return kMalformed;
  }
  std::size_t bytes = 2 + n;
  if (*value >= 0xD800 && *value < 0xDC00 && source.substr(bytes).starts_with("\\u")) {
    const auto low = hex(source, bytes + 2, 4);
    if (low && *low >= 0xDC00 && *low < 0xE000) {
      value = 0x10000 + ((*value - 0xD800) << 10) + (*low - 0xDC00);
      bytes += 6;
    }
  }
  const bool surrogate = *value >= 0xD800 && *value < 0xE000;
  utf8::append(text, surrogate ? unicode::kReplacement : static_cast<char32_t>(*value));
  return bytes;
}

}  // namespace lm::jinja
