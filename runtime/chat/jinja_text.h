/// Text that remembers where it came from. Every byte is either a literal of the template (which
/// may spell control tokens) or data (messages, tools, variables: never). The mark survives
/// whatever a template does with the text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/jinja_budget.h"

namespace lm::jinja {

enum class Origin : std::uint8_t { literal, data };

inline Origin mixed(Origin a, Origin b) {
  return a == Origin::data || b == Origin::data ? Origin::data : Origin::literal;
}

/// Immutable once it is inside a value. Characters are code points, as in Python; offsets are
/// bytes.
class Text {
 public:
  Text() = default;
  Text(std::string bytes, Origin origin);

  std::string_view view() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  bool ascii() const { return ascii_; }

  /// Origin of the byte at `at`; past the end that of the last byte.
  Origin origin_at(std::size_t at) const;
  /// True when any byte is data.
  bool has_data() const { return first_ == Origin::data || !switches_.empty(); }
  /// Where the origin changes, ascending; it begins with `first_origin()`.
  const std::vector<std::uint32_t>& switches() const { return switches_; }
  Origin first_origin() const { return first_; }

  /// Number of characters. Linear unless the text is ASCII.
  std::size_t n_chars() const;
  /// Byte offset of character number `n_char`; size() when there are not as many.
  std::size_t offset_of(std::size_t n_char) const;

  /// Marked by `safe` and `escape`: escaping leaves it alone, and `+` escapes what it is joined
  /// with.
  bool markup = false;

 private:
  friend class TextBuilder;
  std::string bytes_;
  std::vector<std::uint32_t> switches_;
  Origin first_ = Origin::literal;
  bool ascii_ = true;
};

class Value;

/// Builds a text piece by piece. Bytes are charged before the text grows; after a failure the
/// pieces are dropped and `finish` reports it, so callers check once.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(&budget) {}
  ~TextBuilder() { budget_->give_back(charged_); }
  TextBuilder(const TextBuilder&) = delete;
  TextBuilder& operator=(const TextBuilder&) = delete;

  void append(std::string_view bytes, Origin origin);
  void append(const Text& text) { append(text, 0, text.size()); }
  /// Bytes [begin, end) of `text`.
  void append(const Text& text, std::size_t begin, std::size_t end);
  void append_code_point(char32_t code_point, Origin origin);
  /// `piece` so many times; the whole growth is charged first.
  void repeat(const Text& piece, std::uint64_t times);
  void repeat(char byte, std::uint64_t times, Origin origin);

  std::size_t size() const { return text_.bytes_.size(); }
  std::string_view view() const { return text_.bytes_; }
  const Text& text() const { return text_; }
  bool failed() const { return failure_ != nullptr; }
  void set_failure(Failure failure) { failure_ = std::make_unique<Failure>(std::move(failure)); }
  void set_markup(bool markup) { text_.markup = markup; }
  /// Limits this text by the budget's output bytes instead of live bytes.
  void count_as_output() { output_ = true; }

  /// The text as a value.
  Eval<Value> finish();
  /// The text itself, no longer charged.
  Eval<Text> take();

 private:
  bool grow(std::uint64_t bytes);
  /// Charges a piece of one origin and notes where it begins; false when there is nothing to
  /// append.
  bool begin_piece(std::uint64_t bytes, Origin origin);

  Budget* budget_;
  Text text_;
  Origin last_ = Origin::literal;  ///< of the last byte
  std::uint64_t charged_ = 0;
  bool output_ = false;
  std::unique_ptr<Failure> failure_;
};

}  // namespace lm::jinja
