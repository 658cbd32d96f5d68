/// Numbers, sizes and times as people read them (display formats of the command line).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/api/number_text.h"

namespace lm::cmd {

/// Decimal units: "999 B", "637 MB", "4.1 GB", "18 GB", "2 GB".
std::string format_bytes(std::uint64_t bytes);
/// Parameters of a model: "8B", "7.6B", "270.50M", "12K", "0".
std::string format_count(std::uint64_t count);
/// Go's form: "1.234567891s", "45.1ms", "1m2.5s", "0s".
std::string format_duration(std::chrono::nanoseconds duration);
/// At most two units, for a remaining time: "1m2s", "3h5m", "12s".
std::string format_remaining(std::chrono::seconds duration);
/// "2 days ago", "Less than a second ago", "4 minutes from now", "Never" for 0.
std::string format_relative(std::int64_t unix_time, std::int64_t now);
/// RFC 3339 in UTC: "2026-01-31T12:00:00Z".
std::string format_time(std::int64_t unix_time);
/// "20M", "1.5G", "512K", "4096": bytes, units of 1000 (of 1024 with an i: "1Gi"); a trailing B is
/// allowed.
std::optional<std::uint64_t> parse_bytes(std::string_view text);
/// A whole decimal number, nothing around it.
std::optional<std::int64_t> parse_integer(std::string_view text);
using api::parse_number;

}  // namespace lm::cmd
