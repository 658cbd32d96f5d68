/// Splits an answer into thinking and content at a model's tags.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lm {

/// Streams text through; a tag that may be starting is held back until it is clear. White space
/// right after a tag belongs to the tag.
class ThinkingSplitter {
 public:
  struct Piece {
    bool thinking = false;
    std::string text;
  };
  /// Empty tags: everything is content.
  ThinkingSplitter(std::string open, std::string close, bool starts_inside);

  std::vector<Piece> push(std::string_view text);
  std::vector<Piece> finish();  ///< what was held back

 private:
  void emit(std::vector<Piece>& pieces, std::string_view text);

  std::string open_, close_;
  bool inside_;
  bool enabled_;
  bool after_tag_;
  bool may_open_ = true;  ///< an opening tag counts only at the start of an answer
  std::string held_;
};

}  // namespace lm
