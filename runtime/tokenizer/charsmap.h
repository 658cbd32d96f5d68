/// The normaliser of SentencePiece models (precompiled_charsmap): rules "these bytes become those".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"

namespace lm::tokenizer {

/// Format of SentencePiece: u32 size of a trie, the trie as a double array of u32 (darts-clone),
/// then replacement texts, each ended by a zero byte. Nothing in it is trusted.
class Charsmap {
 public:
  /// No rules.
  Charsmap() = default;
  /// Errors: bad_vocab, without subject: the sizes do not fit together.
  static Result<Charsmap> read(std::string_view bytes);

  struct Match {
    std::size_t bytes = 0;  ///< 0: no rule holds
    std::string_view replacement;
  };
  /// The rule for the longest beginning of `text` that has one.
  Match longest(std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string replacements_;  ///< ends with a zero byte
};

}  // namespace lm::tokenizer
