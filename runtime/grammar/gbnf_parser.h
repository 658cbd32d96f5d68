/// GBNF text to rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/tokenizer/code_set.h"

namespace lm::grammar {

/// A piece of a rule as it is written.
struct GbnfPiece {
  enum class Kind : std::uint8_t { set, literal, sequence, choice, repeat, rule };
  Kind kind = Kind::sequence;
  tokenizer::CodeSet set = {};
  std::u32string literal = {};
  std::vector<GbnfPiece> of = {};
  std::uint32_t least = 0, most = 0;  ///< most kUnbounded: no limit
  std::uint32_t rule = 0;             ///< index into GbnfRules::rules
};

struct GbnfRules {
  struct Rule {
    std::string name;
    GbnfPiece body;
    std::uint32_t line = 0;  ///< of its definition; 0: only named
  };
  std::vector<Rule> rules;
  std::uint32_t root = 0;
};

/// Errors: bad_value with the line, missing (a rule that is named only, or `root`), limit_exceeded.
Result<GbnfRules> parse_gbnf(std::string_view source);

}  // namespace lm::grammar
