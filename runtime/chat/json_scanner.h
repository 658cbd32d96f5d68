/// Finds the end of a JSON value while its text arrives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lm {

/// Knows strings and brackets only: what it calls complete may still be no JSON.
class JsonScanner {
 public:
  enum class State : std::uint8_t { open, complete, broken };
  static constexpr std::size_t kMaxDepth = 128;

  /// Takes one byte of an object or list, its first bracket included.
  State take(char c) {
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
      return State::open;
    }
    if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      --depth_;
    }
    if (depth_ > kMaxDepth) {
      return State::broken;
    }
    return depth_ == 0 ? State::complete : State::open;
  }
  bool in_string() const { return in_string_; }

 private:
  std::size_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

/// Bytes of the object or list that `text` begins with; npos when it does not end or is nested too
/// deeply.
inline std::size_t json_end(std::string_view text) {
  JsonScanner scanner;
  for (std::size_t i = 0; i < text.size(); ++i) {
    switch (scanner.take(text[i])) {
      case JsonScanner::State::complete:
        return i + 1;
      case JsonScanner::State::broken:
        return std::string_view::npos;
      case JsonScanner::State::open:
        break;
    }
  }
  return std::string_view::npos;
}

}  // namespace lm
