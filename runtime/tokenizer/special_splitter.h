/// Finding tokens that are cut out of a text before the algorithm of the vocabulary sees it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

/// Holds the user-defined, control and unknown tokens of a vocabulary, sorted by their text.
class SpecialSplitter {
 public:
  /// Longer tokens are not looked for: that bounds the work at each byte of a text.
  static constexpr std::size_t kMaxBytes = 256;

  explicit SpecialSplitter(const Vocab& vocab);

  struct Match {
    Token id = kNoId;
    std::size_t bytes = 0;
  };
  /// The longest token that begins at `at`: a user-defined one, or one of any kind that ends at or
  /// before `parsed_end`. `kNoId` when there is none.
  Match longest_at(const Vocab& vocab, std::string_view text, std::size_t at,
                   std::size_t parsed_end) const;

  std::size_t size() const { return sorted_.size(); }
  /// How many tokens were left out for being too long.
  std::size_t n_too_long() const { return n_too_long_; }

 private:
  std::vector<Token> sorted_;
  std::array<std::uint32_t, 257>
      first_byte_{};  ///< tokens that begin with byte b: [first_byte_[b], first_byte_[b + 1])
  std::size_t n_too_long_ = 0;
};

}  // namespace lm::tokenizer
