#include "runtime/gguf/split_name.h"

#include <cstddef>

#include <fmt/core.h>

namespace lm::gguf {
namespace {

constexpr std::size_t kDigits = 5;
constexpr std::string_view kEnding = ".gguf";
constexpr std::string_view kOf = "-of-";

/// Five decimal digits, or nothing.
std::optional<std::uint64_t> parse_number(std::string_view digits) {
  std::uint64_t number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') {
      return std::nullopt;
    }
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return number;
}

}  // namespace

std::optional<SplitName> parse_split_name(std::string_view path) {
  constexpr std::size_t kTail = 1 + kDigits + kOf.size() + kDigits + kEnding.size();
  if (path.size() <= kTail || !path.ends_with(kEnding)) {
    return std::nullopt;
  }
  const std::string_view tail = path.substr(path.size() - kTail);
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf) {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> number = parse_number(tail.substr(1, kDigits));
  const std::optional<std::uint64_t> count =
      parse_number(tail.substr(1 + kDigits + kOf.size(), kDigits));
  if (!number || !count || *number < 1 || *number > *count) {
    return std::nullopt;
  }
  return SplitName{std::string(path.substr(0, path.size() - kTail)), *number, *count};
}

std::string split_path(std::string_view prefix, std::uint64_t number, std::uint64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number, count);
}

}  // namespace lm::gguf
