#include "runtime/engine/thinking.h"

#include <algorithm>

namespace lm {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

/// Length of the longest suffix of `text` that begins `tag`.
std::size_t partial_tag(std::string_view text, std::string_view tag) {
  for (std::size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == tag.substr(0, n)) {
      return n;
    }
  }
  return 0;
}

}  // namespace

ThinkingSplitter::ThinkingSplitter(std::string open, std::string close, bool starts_inside)
    : open_(std::move(open)),
      close_(std::move(close)),
      inside_(starts_inside),
      enabled_(!open_.empty() && !close_.empty()),
      after_tag_(starts_inside) {}

void ThinkingSplitter::emit(std::vector<Piece>& pieces, std::string_view text) {
  if (after_tag_) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  }
  if (text.empty()) {
    return;
  }
  after_tag_ = false;
  if (!inside_ && text.find_first_not_of(kBlank) != std::string_view::npos) {
    may_open_ = false;
  }
  if (pieces.empty() || pieces.back().thinking != inside_) {
    pieces.push_back({inside_, {}});
  }
  pieces.back().text += text;
}

std::vector<ThinkingSplitter::Piece> ThinkingSplitter::push(std::string_view text) {
  std::vector<Piece> pieces;
  if (!enabled_) {
    emit(pieces, text);
    return pieces;
  }
  held_ += text;
  while (!held_.empty()) {
    if (!inside_ && !may_open_) {
      emit(pieces, held_);
      held_.clear();
      break;
    }
    const std::string& tag = inside_ ? close_ : open_;
    const std::size_t at = held_.find(tag);
    if (at != std::string::npos && (inside_ || held_.find_first_not_of(kBlank) == at)) {
      emit(pieces, std::string_view(held_).substr(0, inside_ ? at : 0));
      held_.erase(0, at + tag.size());
      inside_ = !inside_;
      after_tag_ = true;
      continue;
    }
    const std::size_t keep = partial_tag(held_, tag);
    emit(pieces, std::string_view(held_).substr(0, held_.size() - keep));
    held_.erase(0, held_.size() - keep);
    break;
  }
  return pieces;
}

std::vector<ThinkingSplitter::Piece> ThinkingSplitter::finish() {
  std::vector<Piece> pieces;
  emit(pieces, held_);
  held_.clear();
  return pieces;
}

}  // namespace lm
