/// ASCII letters without regard to the locale: names and header fields compare without case.
#pragma once

#include <string>
#include <string_view>

namespace lm::registry {

constexpr char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr bool ascii_alnum(char c) {
  return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b);
bool ends_with_ignoring_case(std::string_view text, std::string_view ending);
bool contains_ignoring_case(std::string_view text, std::string_view part);
/// Without blanks, tabs, CR and LF at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace lm::registry
