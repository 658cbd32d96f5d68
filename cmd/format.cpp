#include "cmd/format.h"

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>

#include <fmt/format.h>

namespace lm::cmd {
namespace {

/// "About a minute", "3 weeks": the length of a span in words.
std::string words_for(std::int64_t seconds) {
  const auto plural = [](std::int64_t n, std::string_view unit) {
    return fmt::format("{} {}", n, unit);
  };
  constexpr std::int64_t kMinute = 60, kHour = 3600, kDay = 86'400;
  if (seconds < 1) {
    return "Less than a second";
  }
  if (seconds == 1) {
    return "1 second";
  }
  if (seconds < kMinute) {
    return plural(seconds, "seconds");
  }
  if (seconds < 2 * kMinute) {
    return "About a minute";
  }
  if (seconds < kHour) {
    return plural(seconds / kMinute, "minutes");
  }
  if (seconds < 2 * kHour) {
    return "About an hour";
  }
  if (seconds < 48 * kHour) {
    return plural(seconds / kHour, "hours");
  }
  if (seconds < 14 * kDay) {
    return plural(seconds / kDay, "days");
  }
  if (seconds < 60 * kDay) {
    return plural(seconds / kDay / 7, "weeks");
  }
  if (seconds < 2 * 365 * kDay) {
    return plural(seconds / kDay / 30, "months");
  }
  return plural(seconds / kDay / 365, "years");
}

/// A fraction without trailing zeros: 45.100 -> "45.1".
std::string trimmed_decimal(std::uint64_t whole, std::uint64_t fraction, int digits) {
  std::string text = fmt::format("{}.{:0{}}", whole, fraction, digits);
  while (text.back() == '0') {
    text.pop_back();
  }
  if (text.back() == '.') {
    text.pop_back();
  }
  return text;
}

}  // namespace

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"B", "KB", "MB", "GB", "TB"};
  if (bytes < 1000) {
    return fmt::format("{} B", bytes);
  }
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  // Cut, not rounded: 999.96 MB must not become "1000 MB".
  const double tenth = std::floor(value * 10) / 10;
  if (value >= 10 || tenth == std::floor(value)) {
    return fmt::format("{} {}", static_cast<std::uint64_t>(value), kUnits[unit]);
  }
  return fmt::format("{:.1f} {}", tenth, kUnits[unit]);
}

std::string format_count(std::uint64_t count) {
  const auto scaled = [count](double unit, int digits, char suffix) {
    const double value = static_cast<double>(count) / unit;
    const std::string text = fmt::format("{:.{}f}", value, digits);
    const bool whole = text.ends_with(digits == 1 ? ".0" : ".00");
    return (whole ? text.substr(0, text.find('.')) : text) + suffix;
  };
  if (count >= 1'000'000'000) {
    return scaled(1e9, 1, 'B');
  }
  if (count >= 1'000'000) {
    return scaled(1e6, 2, 'M');
  }
  return count >= 1000 ? fmt::format("{}K", count / 1000) : fmt::format("{}", count);
}

std::string format_duration(std::chrono::nanoseconds duration) {
  std::string sign;
  auto ns = static_cast<std::uint64_t>(duration.count());
  if (duration.count() < 0) {
    sign = "-";
    ns = 0 - ns;
  }
  if (ns == 0) {
    return "0s";
  }
  if (ns < 1000) {
    return fmt::format("{}{}ns", sign, ns);
  }
  if (ns < 1'000'000) {
    return sign + trimmed_decimal(ns / 1000, ns % 1000, 3) + "µs";
  }
  if (ns < 1'000'000'000) {
    return sign + trimmed_decimal(ns / 1'000'000, ns % 1'000'000, 6) + "ms";
  }
  const std::uint64_t seconds = ns / 1'000'000'000;
  const std::string last = trimmed_decimal(seconds % 60, ns % 1'000'000'000, 9) + "s";
  if (seconds < 60) {
    return sign + last;
  }
  if (seconds < 3600) {
    return fmt::format("{}{}m{}", sign, seconds / 60, last);
  }
  return fmt::format("{}{}h{}m{}", sign, seconds / 3600, seconds % 3600 / 60, last);
}

std::string format_remaining(std::chrono::seconds duration) {
  const std::int64_t s = std::max<std::int64_t>(duration.count(), 0);
  if (s < 60) {
    return fmt::format("{}s", s);
  }
  if (s < 3600) {
    return fmt::format("{}m{}s", s / 60, s % 60);
  }
  if (s < 86'400) {
    return fmt::format("{}h{}m", s / 3600, s % 3600 / 60);
  }
  return s / 86'400 > 99 ? "99d+" : fmt::format("{}d{}h", s / 86'400, s % 86'400 / 3600);
}

std::string format_relative(std::int64_t unix_time, std::int64_t now) {
  if (unix_time == 0) {
    return "Never";
  }
  constexpr std::int64_t kForever = 20LL * 365 * 86'400;
  if (unix_time > now) {
    return unix_time - now > kForever ? "Forever" : words_for(unix_time - now) + " from now";
  }
  return words_for(now - unix_time) + " ago";
}

std::string format_time(std::int64_t unix_time) {
  const auto time = static_cast<std::time_t>(unix_time);
  std::tm parts{};
  if (gmtime_r(&time, &parts) == nullptr) {
    return "1970-01-01T00:00:00Z";
  }
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
  }
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || text.empty()) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::optional<double> number = parse_number(text.substr(0, digits));
  if (!number) {
    return std::nullopt;
  }
  std::string_view unit = text.substr(digits);
  while (unit.starts_with(' ')) {
    unit.remove_prefix(1);
  }
  if (unit.ends_with('B') || unit.ends_with('b')) {
    unit.remove_suffix(1);
  }
  const double step = unit.ends_with('i') ? 1024 : 1000;
  if (unit.ends_with('i')) {
    unit.remove_suffix(1);
  }
  constexpr std::string_view kUnits = "KMGT";
  double factor = 1;
  if (!unit.empty()) {
    const char letter =
        unit[0] >= 'a' && unit[0] <= 'z' ? static_cast<char>(unit[0] - 32) : unit[0];
    const std::size_t power = kUnits.find(letter);
    if (unit.size() != 1 || power == std::string_view::npos) {
      return std::nullopt;
    }
    factor = std::pow(step, static_cast<double>(power + 1));
  }
  const double bytes = *number * factor;
  return bytes < 0 || bytes > 9e18 ? std::nullopt
                                   : std::optional(static_cast<std::uint64_t>(bytes));
}

}  // namespace lm::cmd
