/// Character classes of ECMA-262 expressions: [a-z], \d, \p{L}, escapes.
#pragma once

#include <cstddef>
#include <string_view>

#include "backends/error.h"
#include "runtime/tokenizer/code_set.h"

namespace lm::grammar {

/// Reads at `at` in `text` and moves it on. The error's `problem` is a predicate without position.
class ClassReader {
 public:
  ClassReader(std::string_view text, std::size_t& at) : text_(text), at_(at) {}

  /// One character or escape outside brackets.
  Result<tokenizer::CodeSet> single();
  /// What follows '[', with the ']'.
  Result<tokenizer::CodeSet> bracket();

 private:
  Result<tokenizer::CodeSet> escape(bool in_bracket);
  Result<tokenizer::CodeSet> property(bool inverted);
  Result<char32_t> hex(std::size_t digits);
  char32_t character();
  bool take(char wanted);

  std::string_view text_;
  std::size_t& at_;
};

}  // namespace lm::grammar
