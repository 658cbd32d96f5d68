/// Sets of code points, as sorted ranges: what a character class of an expression denotes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lm::tokenizer {

class CodeSet {
 public:
  /// Code points first <= c < end.
  struct Range {
    char32_t first;
    char32_t end;
    bool operator==(const Range&) const = default;
  };

  static CodeSet range(char32_t first, char32_t last);
  static CodeSet single(char32_t code_point) { return range(code_point, code_point); }
  /// Unicode White_Space, which is the categories Z* and six control characters.
  static CodeSet white_space();
  /// `\p{name}`: a general category ("Lu"), a group of them ("L") or "Han"; nothing for other
  /// names.
  static std::optional<CodeSet> property(std::string_view name);

  void add(const CodeSet& other);
  void invert();
  bool contains(char32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  /// Ascending, neither overlapping nor touching.
  const std::vector<Range>& ranges() const { return ranges_; }
  bool operator==(const CodeSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace lm::tokenizer
