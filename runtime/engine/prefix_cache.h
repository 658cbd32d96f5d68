/// Sequences of finished requests, kept for the next one that begins alike.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "runtime/kv/sequence.h"
#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// Holds a few idle sequences with their tokens, least recently used first to go. A conversation's
/// next turn finds its own past here and evaluates only what is new.
class PrefixCache {
 public:
  explicit PrefixCache(std::size_t max_entries) : max_entries_(max_entries) {}

  /// The sequence that shares the longest prefix with `tokens`, rolled back to it; at most
  /// tokens.size() - 1 tokens, so that there is something left to evaluate. Sequences that can't be
  /// rolled back that far (recurrent state, pages behind a window) are left alone. A checkpoint
  /// stays in the cache: its fork is given. Null when none shares anything.
  std::unique_ptr<Sequence> take(const std::vector<Token>& tokens);
  void put(std::vector<Token> tokens, std::unique_ptr<Sequence> sequence);
  /// As put, for a fork made on the way. It replaces checkpoints that it continues.
  void put_checkpoint(std::vector<Token> tokens, std::unique_ptr<Sequence> sequence);
  /// Gives back the memory of the least recently used entry. False when there is none.
  bool drop_oldest();
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    std::vector<Token> tokens;
    std::unique_ptr<Sequence> sequence;
    bool checkpoint = false;
  };
  void put(Entry entry);

  std::size_t max_entries_;
  std::list<Entry> entries_;  ///< oldest first
};

}  // namespace lm
