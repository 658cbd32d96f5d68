/// Expressions of pre-tokenizers as small programs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/tokenizer/code_set.h"

namespace lm::tokenizer {

/// A nondeterministic automaton with preferences: of two ways on, `next` is the preferred one.
struct PatternProgram {
  enum class Kind : std::uint8_t {
    accept,
    character,  ///< one character of sets[set], then `next`
    split,      ///< `next` if a match lies there, else `other`
    ahead,      ///< needs that the program at `other` matches here; goes on at `next`
    not_ahead,  ///< needs that it does not
  };
  struct Node {
    Kind kind = Kind::accept;
    std::uint16_t next = 0;
    std::uint16_t other = 0;
    std::uint16_t set = 0;
  };

  std::vector<Node> nodes;
  std::vector<CodeSet> sets;
  std::uint16_t start = 0;
  /// Nodes other than `character`, each one behind those that it leads to without reading a
  /// character.
  std::vector<std::uint16_t> evaluation_order;
};

/// Compiles the part of Perl's syntax that pre-tokenizers use: literals, escapes (\s \S \d \r \n \t
/// \p{..} \x{..} and punctuation), classes, alternatives, groups `(..)` `(?:..)` `(?i:..)` `(?=..)`
/// `(?!..)`, the quantifiers ? * + {n} {n,m}, also lazy, and `$` (end of text). Errors: bad_value
/// with the byte offset; also for what would loop without reading, like `(a*)*`.
Result<PatternProgram> compile_pattern(std::string_view expression);

}  // namespace lm::tokenizer
