#include "store/digest.h"

#include <fmt/format.h>

namespace lm::store {
namespace {

// Only lower case: one digest has one spelling, so text can be compared and used as a file name.
int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return -1;
}

Error invalid(std::string_view text, std::string_view expected) {
  constexpr std::size_t kShown = 80;
  return {.code = ErrorCode::invalid_name,
          .subject = std::string(text.substr(0, kShown)),
          .problem = fmt::format("not a digest ({} bytes, expected {})", text.size(), expected)};
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  constexpr std::string_view kExpected = "sha256: and 64 lower-case hex digits";
  if (!text.starts_with("sha256:") && !text.starts_with("sha256-")) {
    return std::unexpected(invalid(text, kExpected));
  }
  auto digest = parse_hex(text.substr(7));
  if (!digest) {
    return std::unexpected(invalid(text, kExpected));
  }
  return digest;
}

Result<Digest> Digest::parse_hex(std::string_view hex) {
  Digest digest;
  if (hex.size() != 2 * digest.bytes.size()) {
    return std::unexpected(invalid(hex, "64 lower-case hex digits"));
  }
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) {
      return std::unexpected(invalid(hex, "64 lower-case hex digits"));
    }
    digest.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

std::string Digest::hex() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace lm::store
