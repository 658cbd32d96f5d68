/// Words of the text at hand whose ids are known already.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/token_index.h"

namespace lm::tokenizer {

/// Remembers where in the output the ids of a word stand. Lives for one call, so it needs no lock
/// and no copies: words are views of the text, ids are positions in the result. One entry a slot:
/// the last word wins.
class WordCache {
 public:
  static constexpr std::size_t kMaxWordBytes = 64;

  explicit WordCache(std::size_t text_bytes)
      : entries_(std::clamp<std::size_t>(std::bit_ceil(text_bytes / 4 + 1), 16, 16'384)) {}

  /// Appends the ids of `word` and returns true when it is known.
  bool append(std::string_view word, std::uint64_t hash, std::vector<Token>& ids) const {
    const Entry& entry = entries_[hash & (entries_.size() - 1)];
    if (entry.word != word) {
      return false;
    }
    // The source lies in the same vector: make room first.
    const std::size_t end = ids.size();
    ids.resize(end + entry.n_ids);
    std::copy_n(ids.begin() + static_cast<std::ptrdiff_t>(entry.first_id), entry.n_ids,
                ids.begin() + static_cast<std::ptrdiff_t>(end));
    return true;
  }

  /// Notes that the ids from `first_id` to the end of `ids` are those of `word`.
  void note(std::string_view word, std::uint64_t hash, std::size_t first_id,
            const std::vector<Token>& ids) {
    entries_[hash & (entries_.size() - 1)] = {word, first_id, ids.size() - first_id};
  }

 private:
  struct Entry {
    std::string_view word;
    std::size_t first_id = 0;
    std::size_t n_ids = 0;
  };
  std::vector<Entry> entries_;
};

}  // namespace lm::tokenizer
