/// What Unicode says about characters, as far as the pre-tokenizers ask.
#pragma once

#include <cstdint>
#include <span>

namespace lm::unicode {

/// General categories, in the order of the generated table.
enum class Category : std::uint8_t {
  lu,
  ll,
  lt,
  lm,
  lo,
  mn,
  mc,
  me,
  nd,
  nl,
  no,
  pc,
  pd,
  ps,
  pe,
  pi,
  pf,
  po,
  sm,
  sc,
  sk,
  so,
  zs,
  zl,
  zp,
  cc,
  cf,
  cs,
  co,
  cn,
};

constexpr char32_t kEnd = 0x110000;  ///< one behind the last code point
constexpr char32_t kReplacement = 0xFFFD;

/// Runs of one general category, ascending: `first code point << 5 | category`. The first run
/// begins at 0; the last one ends at kEnd.
std::span<const std::uint32_t> category_runs();
/// The Han script as bounds: [0] begins a range, [1] is the first code point behind it, and so on.
std::span<const char32_t> han_bounds();

}  // namespace lm::unicode
