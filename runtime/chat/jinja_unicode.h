/// What Python's str methods know about characters: classes and case.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace lm::jinja {

/// Code points first, first + stride, … last are mapped by adding delta.
struct CaseRun {
  std::uint32_t first, last, stride;
  std::int32_t delta;
};
/// One code point that becomes up to three (unused ones are 0).
struct CaseExpansion {
  std::uint32_t from;
  std::array<std::uint32_t, 3> to;
};
std::span<const CaseRun> lower_runs();
std::span<const CaseRun> upper_runs();
std::span<const CaseExpansion> lower_expansions();
std::span<const CaseExpansion> upper_expansions();
std::span<const CaseExpansion> title_exceptions();

enum class Case : std::uint8_t { lower, upper, title };

/// The character in another case: one to three code points, the rest 0.
std::array<std::uint32_t, 3> to_case(std::uint32_t code_point, Case wanted);

bool is_space(std::uint32_t code_point);
bool is_alpha(std::uint32_t code_point);
bool is_decimal(std::uint32_t code_point);
bool is_numeric(std::uint32_t code_point);
bool is_upper(std::uint32_t code_point);
bool is_lower(std::uint32_t code_point);
bool is_title(std::uint32_t code_point);
/// What repr() shows as it is.
bool is_printable(std::uint32_t code_point);
/// May begin, or stand inside, a name.
bool begins_name(std::uint32_t code_point);
bool continues_name(std::uint32_t code_point);

}  // namespace lm::jinja
