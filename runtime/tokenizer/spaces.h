/// U+2581, which stands for a space in SentencePiece vocabularies.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace lm::tokenizer {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

/// Appends `text` with every space as U+2581.
inline void append_escaped(std::string& out, std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    out.append(text.substr(at, space - at));
    if (space < text.size()) {
      out.append(kSpaceMark);
    }
    at = space + 1;
  }
}

/// `text` with every U+2581 as a space.
inline std::string unescaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t mark = std::min(text.find(kSpaceMark, at), text.size());
    out.append(text.substr(at, mark - at));
    if (mark < text.size()) {
      out.push_back(' ');
    }
    at = mark + kSpaceMark.size();
  }
  return out;
}

}  // namespace lm::tokenizer
