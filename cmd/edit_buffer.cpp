#include "cmd/edit_buffer.h"

#include <algorithm>
#include <utility>

namespace lm::cmd {
namespace {

bool is_word_byte(char c) {
  return c != ' ' && c != '\n' && c != '\t';
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

}  // namespace

void EditBuffer::assign(std::string text) {
  text_ = std::move(text);
  cursor_ = text_.size();
}

void EditBuffer::insert(std::string_view text) {
  if (text.size() > kMaxBytes || text_.size() > kMaxBytes - text.size()) {
    return;
  }
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

void EditBuffer::replace_from(std::size_t begin, std::string_view text) {
  text_.replace(begin, std::string::npos, text);
  cursor_ = text_.size();
}

void EditBuffer::move_word_left() {
  while (cursor_ > 0 && !is_word_byte(text_[cursor_ - 1])) {
    --cursor_;
  }
  while (cursor_ > 0 && is_word_byte(text_[cursor_ - 1])) {
    --cursor_;
  }
}

void EditBuffer::move_word_right() {
  while (cursor_ < text_.size() && !is_word_byte(text_[cursor_])) {
    ++cursor_;
  }
  while (cursor_ < text_.size() && is_word_byte(text_[cursor_])) {
    ++cursor_;
  }
}

void EditBuffer::erase_left() {
  erase(previous(cursor_), cursor_);
}

void EditBuffer::erase_right() {
  erase(cursor_, next(cursor_));
}

void EditBuffer::erase_word_left() {
  const std::size_t end = cursor_;
  move_word_left();
  erase(cursor_, end);
}

void EditBuffer::erase_to_line_begin() {
  erase(line_begin(), cursor_);
}

void EditBuffer::erase_to_line_end() {
  erase(cursor_, line_end());
}

void EditBuffer::erase(std::size_t from, std::size_t to) {
  text_.erase(from, to - from);
  cursor_ = from;
}

std::size_t EditBuffer::line_begin() const {
  const std::size_t at = cursor_ == 0 ? std::string::npos : text_.rfind('\n', cursor_ - 1);
  return at == std::string::npos ? 0 : at + 1;
}

std::size_t EditBuffer::line_end() const {
  return std::min(text_.find('\n', cursor_), text_.size());
}

std::size_t EditBuffer::previous(std::size_t at) const {
  if (at == 0) {
    return 0;
  }
  --at;
  while (at > 0 && is_continuation(text_[at])) {
    --at;
  }
  return at;
}

std::size_t EditBuffer::next(std::size_t at) const {
  if (at >= text_.size()) {
    return text_.size();
  }
  ++at;
  while (at < text_.size() && is_continuation(text_[at])) {
    ++at;
  }
  return at;
}

}  // namespace lm::cmd
