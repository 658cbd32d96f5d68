/// Go template source as pieces (text, actions), and an action as words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"

namespace lm::go_template {

/// Text between actions, or the inside of one action. Trim marks are carried out, comments are
/// gone.
struct Piece {
  bool action = false;
  std::uint32_t line = 1;
  std::string text;
};

/// The error of a template that can't be translated.
std::unexpected<Error> refuse(ErrorCode code, std::uint32_t line, std::string problem);

/// Errors: an action that is not closed.
Result<std::vector<Piece>> cut_into_pieces(std::string_view source);

struct Word {
  enum class Kind : std::uint8_t { name, field, variable, text, integer, symbol, end };
  Kind kind = Kind::end;
  std::string text;  ///< a variable with its $; a text without quotes; empty for a field
  std::vector<std::string> fields;  ///< names behind dots, of fields and variables
};

/// The words of an action, read from the front.
class Words {
 public:
  /// Errors: a string that is not closed or has an unknown escape.
  static Result<Words> split(const Piece& piece);

  const Word& current() const { return words_[at_]; }
  bool at_symbol(std::string_view symbol) const {
    return current().kind == Word::Kind::symbol && current().text == symbol;
  }
  bool at_end() const { return current().kind == Word::Kind::end; }
  Word take() { return at_end() ? words_[at_] : words_[at_++]; }
  bool skip_name(std::string_view name);
  bool skip_symbol(std::string_view symbol);
  std::uint32_t line() const { return line_; }

 private:
  Result<Word> next(std::string_view& rest) const;
  Result<Word> quoted_word(std::string_view& rest) const;

  std::uint32_t line_ = 1;
  std::vector<Word> words_;  ///< the last one is the end
  std::size_t at_ = 0;
};

}  // namespace lm::go_template
