/// Durations as clients write them (keep_alive).
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace lm::api {

/// A Go duration ("1h30m", "1.5h") or a number of seconds; negative: forever, given back as nullopt
/// in `value`.
struct ParsedDuration {
  bool forever = false;
  std::chrono::nanoseconds value{0};
};
std::optional<ParsedDuration> parse_duration(std::string_view text);

}  // namespace lm::api
