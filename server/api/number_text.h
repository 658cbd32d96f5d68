/// Numbers written as text.
#pragma once

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

namespace lm::api {

/// A finite decimal number, nothing around it but a sign.
inline std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value)
             ? std::optional(value)
             : std::nullopt;
}

}  // namespace lm::api
