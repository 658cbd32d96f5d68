#include "server/api/duration.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "server/api/number_text.h"

namespace lm::api {
namespace {

struct Unit {
  std::string_view name;
  double seconds;
};

}  // namespace

std::optional<ParsedDuration> parse_duration(std::string_view text) {
  constexpr std::array<Unit, 7> kUnits{
      {{"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"h", 3600}, {"m", 60}, {"s", 1}}};
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  if (text.empty()) {
    return std::nullopt;
  }
  double seconds = 0;
  if (const std::optional<double> plain = parse_number(text); plain && text[0] != '-') {
    seconds = *plain;
    text = {};
  }
  while (!text.empty()) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    const std::optional<double> number = parse_number(text.substr(0, digits));
    text.remove_prefix(digits);
    const Unit* found = nullptr;
    for (const Unit& unit : kUnits) {
      if (text.starts_with(unit.name)) {
        found = &unit;
        break;
      }
    }
    if (!number || found == nullptr) {
      return std::nullopt;
    }
    seconds += *number * found->seconds;
    text.remove_prefix(found->name.size());
  }
  if (negative) {
    return ParsedDuration{.forever = true, .value = {}};
  }
  if (seconds > 9e9) {
    return std::nullopt;
  }
  return ParsedDuration{
      .forever = false,
      .value = std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9))};
}

}  // namespace lm::api
