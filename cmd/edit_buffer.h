// The text being typed and the cursor in it: movements and deletions as a line editor's keys mean
// them. Knows neither keys nor terminals.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lm::cmd {

/// UTF-8 text of one or several lines with a cursor that stands between characters.
class EditBuffer {
 public:
  static constexpr std::size_t kMaxBytes = 16u << 20;

  const std::string& text() const { return text_; }
  std::size_t cursor() const { return cursor_; }  ///< in bytes
  bool at_end() const { return cursor_ == text_.size(); }
  /// No character on the cursor's line.
  bool line_is_empty() const { return line_begin() == line_end(); }

  /// Replaces the text; the cursor goes to its end.
  void assign(std::string text);
  void clear() { assign({}); }
  /// Puts `text` in at the cursor; nothing happens if the whole would exceed kMaxBytes.
  void insert(std::string_view text);
  /// Replaces everything from byte `begin` on; the cursor goes to the end.
  void replace_from(std::size_t begin, std::string_view text);

  void move_left() { cursor_ = previous(cursor_); }
  void move_right() { cursor_ = next(cursor_); }
  void move_to_line_begin() { cursor_ = line_begin(); }
  void move_to_line_end() { cursor_ = line_end(); }
  void move_to_end() { cursor_ = text_.size(); }
  /// To the begin of this or the last word; words end at blanks and line ends.
  void move_word_left();
  /// Behind the end of this or the next word.
  void move_word_right();

  void erase_left();           ///< the character before the cursor
  void erase_right();          ///< the character under it
  void erase_word_left();      ///< back to where move_word_left goes
  void erase_to_line_begin();  ///< the cursor's line before the cursor
  void erase_to_line_end();    ///< the cursor's line behind it

 private:
  void erase(std::size_t from, std::size_t to);
  std::size_t line_begin() const;
  std::size_t line_end() const;
  std::size_t previous(std::size_t at) const;
  std::size_t next(std::size_t at) const;

  std::string text_;
  std::size_t cursor_ = 0;
};

}  // namespace lm::cmd
