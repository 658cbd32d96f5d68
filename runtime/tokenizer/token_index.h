/// Flat hash tables of a vocabulary: text to id, and pair of ids to merge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

/// A number drawn once per process. It goes into every hash, so that no file can be made to
/// collide.
std::uint64_t hash_key();
std::uint64_t hash_bytes(std::string_view bytes);
inline std::uint64_t hash_number(std::uint64_t number, std::uint64_t key) {
  std::uint64_t hash = (number ^ key) * 0x9E3779B97F4A7C15ull;
  hash = (hash ^ (hash >> 32)) * (key | 1);
  return hash ^ (hash >> 29);
}

/// Ids by token text. Holds no text itself: the vocabulary given to every call must be the same
/// one.
class TokenIndex {
 public:
  void reserve(std::size_t n_tokens);
  /// Of equal texts the first one stays.
  void insert(const Vocab& vocab, Token id);
  Token find(const Vocab& vocab, std::string_view text) const {
    return find(vocab, text, hash_bytes(text));
  }
  Token find(const Vocab& vocab, std::string_view text, std::uint64_t hash) const;
  /// Asks the memory of this hash's place, ahead of `find`.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    Token id = kNoId;
  };
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  std::size_t size_ = 0;
};

/// A merge of BPE: `rank` is its place in the list (the lower one goes first), `result` the token
/// that it makes.
struct Merge {
  std::uint32_t rank = 0;
  Token result = kNoId;
};

/// Merges by the two tokens that they join.
class MergeIndex {
 public:
  void reserve(std::size_t n_merges);
  /// Of equal pairs the first one stays.
  void insert(Token left, Token right, Merge merge);
  /// Asks the memory of a pair's place, ahead of `insert`.
  void prefetch(Token left, Token right) const {
    __builtin_prefetch(&slots_[hash_number(key_of(left, right), hash_key_) & mask_], 1);
  }
  /// The merge of a pair, or one with result kNoId.
  Merge find(Token left, Token right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t at = hash_number(key, hash_key_) & mask_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.key == key) {
        return slot.merge;
      }
      if (slot.merge.result == kNoId) {
        return {};
      }
    }
  }
  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint64_t key = ~std::uint64_t{0};
    Merge merge;
  };
  static std::uint64_t key_of(Token left, Token right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::uint64_t hash_key_ = hash_key();
  std::vector<Slot> slots_ =
      std::vector<Slot>(1);  ///< never full: there is always an empty slot to stop at
  std::size_t mask_ = 0;
  std::size_t size_ = 0;
};

}  // namespace lm::tokenizer
