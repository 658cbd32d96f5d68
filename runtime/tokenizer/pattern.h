/// Matching of pre-tokenizer expressions in linear time, whatever the text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/tokenizer/pattern_program.h"

namespace lm::tokenizer {

/// A compiled expression. Immutable and thread-safe.
///
/// Two passes, no backtracking: from the end of the text to its beginning a deterministic automaton
/// notes at every character from which nodes of the program a match exists; then a walk from the
/// beginning takes at each choice the preferred way among those that lead to a match. That finds
/// what a backtracking matcher finds, lookahead included. Source: greedy matching in two passes,
/// Frisch and Cardelli 2004.
class Pattern {
 public:
  /// Errors as of compile_pattern; limit_exceeded when the automaton would become too large.
  static Result<Pattern> compile(std::string_view expression);

  /// Memory of a call, kept between calls.
  struct Scratch {
    std::vector<std::uint16_t> states;  ///< per byte of the text, and one for its end
    std::uint64_t steps = 0;  ///< nodes and characters looked at, for tests of the running time
  };

  /// Cuts `text` into matches and what lies between them. Appends the end of each piece, counted
  /// from the beginning of `text` plus `base`; the pieces are not empty and cover the text.
  void split(std::string_view text, std::size_t base, std::vector<std::size_t>& ends,
             Scratch& scratch) const;

  std::size_t n_states() const { return n_states_; }

 private:
  class Builder;
  std::uint8_t class_of(char32_t code_point) const;
  void scan_back(std::string_view text, Scratch& scratch) const;
  std::size_t match_end(std::size_t from, std::size_t size, Scratch& scratch) const;
  bool reaches_match(std::uint16_t state, std::uint16_t node) const {
    return (reaching_[state * words_ + node / 64] >> (node % 64) & 1) != 0;
  }

  PatternProgram program_;
  // Characters that no set of the expression tells apart share a class.
  std::array<std::uint8_t, 128> ascii_class_{};
  std::vector<char32_t> class_first_;   ///< ascending: where another class begins
  std::vector<std::uint8_t> class_at_;  ///< its class
  std::size_t n_classes_ = 0;
  std::size_t n_states_ = 0;
  std::size_t words_ = 0;                ///< 64-bit words per state in reaching_
  std::vector<std::uint64_t> reaching_;  ///< per state: bit n = a match exists from node n
  std::vector<std::uint16_t>
      before_;  ///< [state][class]: state at a character of that class with `state` behind it
};

}  // namespace lm::tokenizer
