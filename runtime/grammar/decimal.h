/// Decimal numbers as text, and the automata that compare and divide them while they are read.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lm::grammar {

/// A decimal number of any length: digits without zeros in front of `whole` (zero is "0") or behind
/// `fraction`.
struct Decimal {
  bool negative = false;
  std::string whole = "0";
  std::string fraction;

  /// Reads JSON's number syntax. Nothing for other text and for numbers that need more than 512
  /// digits written out.
  static std::optional<Decimal> parse(std::string_view text);
  bool is_integer() const { return fraction.empty(); }
  bool is_zero() const { return whole == "0" && fraction.empty(); }
  std::string text() const;
  bool operator==(const Decimal&) const = default;
};

/// -1, 0, 1: a below, equal to, above b.
int compare(const Decimal& a, const Decimal& b);

enum class Relation : std::uint8_t { equal, at_least, above, at_most, below };

struct Comparison {
  Relation relation;
  Decimal bound;
};

/// How far a text has been compared. The magnitude is compared digit by digit; a whole part that is
/// longer than the bound's is larger.
struct CompareState {
  enum class Phase : std::uint8_t { begin, whole, fraction };
  Phase phase = Phase::begin;
  bool negative = false;
  bool zero = true;         ///< all digits so far are 0
  std::int8_t order = 0;    ///< magnitude so far against the same digits of the bound
  std::uint32_t place = 0;  ///< digits read in this phase, at most one more than the bound has
  auto operator<=>(const CompareState&) const = default;
};
/// False: `c` can't stand here in a number.
bool read(const Comparison& comparison, CompareState& state, char32_t c);
/// Does the relation hold if the text ends here?
bool holds(const Comparison& comparison, const CompareState& state);

/// Multiples of modulus / 10^scale.
struct Multiple {
  std::uint64_t modulus;
  std::uint32_t scale;
};
struct MultipleState {
  bool fraction = false;
  bool begun = false;
  std::uint32_t place = 0;  ///< digits read behind the point, at most `scale`
  std::uint64_t rest = 0;   ///< digits read so far, as one integer, modulo the modulus
  auto operator<=>(const MultipleState&) const = default;
};
bool read(const Multiple& multiple, MultipleState& state, char32_t c);
bool holds(const Multiple& multiple, const MultipleState& state);

}  // namespace lm::grammar
