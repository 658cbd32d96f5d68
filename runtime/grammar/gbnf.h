/// Grammars in llama.cpp's notation (GBNF).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/grammar/machine.h"

namespace lm::grammar {

/// The pushdown automaton of a grammar. Rules that do not recur are regular and become lexemes;
/// only the others cost a stack.
class GbnfExpander : public Expander {
 public:
  /// Parses and compiles; `root` is the first rule used. Errors: bad_value with line, missing (a
  /// rule), unsupported (left recursion, naming the rule), limit_exceeded.
  static Result<std::unique_ptr<GbnfExpander>> compile(std::string_view source, RegexPool& pool,
                                                       Lexer& lexer);

  StackId document(Machine& machine);
  void expand(Machine& machine, const Frame& frame, std::int32_t tag, std::uint32_t text,
              std::vector<StackId>& out) override;

  /// One piece of the compiled grammar.
  struct Node {
    enum class Kind : std::uint8_t { never, lexeme, sequence, choice, repeat };
    Kind kind = Kind::never;
    ByteState lexeme = kDead;
    std::vector<std::uint32_t> of = {};
    std::uint32_t least = 0, most = 0;
  };

 private:
  GbnfExpander(std::vector<Node> nodes, std::uint32_t root)
      : nodes_(std::move(nodes)), root_(root) {}

  enum Kind : std::uint8_t { start = 1, in_sequence, in_repeat };
  std::vector<Node> nodes_;
  std::uint32_t root_;
};

}  // namespace lm::grammar
