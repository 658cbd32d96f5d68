/// Facts about single characters: category, case, canonical decomposition.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "runtime/tokenizer/unicode_tables.h"

namespace lm::unicode {

/// Code points first, first + stride, … last are mapped by adding delta.
struct CaseRun {
  std::uint32_t first, last, stride;
  std::int32_t delta;
};
/// One code point that becomes up to three (unused ones are 0).
struct Expansion {
  std::uint32_t from;
  std::array<std::uint32_t, 3> to;
};
std::span<const CaseRun> lower_runs();
std::span<const CaseRun> upper_runs();
std::span<const Expansion> lower_expansions();
std::span<const Expansion> upper_expansions();
std::span<const Expansion> title_exceptions();
/// Characters with a canonical decomposition, less the nonspacing marks in it. Hangul syllables are
/// not listed.
std::span<const Expansion> base_expansions();

Category category(std::uint32_t code_point);

enum class Case : std::uint8_t { lower, upper, title };

/// The character in another case: one to three code points, the rest 0.
std::array<std::uint32_t, 3> to_case(std::uint32_t code_point, Case wanted);

/// The character decomposed (NFD) without its accents (general category Mn): up to three code
/// points, the rest 0; none for an accent alone.
std::array<std::uint32_t, 3> without_accents(std::uint32_t code_point);

}  // namespace lm::unicode
