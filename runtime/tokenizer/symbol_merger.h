/// Joining neighbours until no rule applies: the loop that SPM and BPE share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

/// A stretch of a word on its way to becoming a token, in a list of neighbours.
struct Symbol {
  std::uint32_t begin = 0;
  std::uint32_t bytes = 0;  ///< 0: joined to its left neighbour
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  Token id = kNoId;
};

/// What a rule says about two neighbours: the lower `order` is joined first.
struct Joining {
  std::uint32_t order = 0;
  Token result = kNoId;  ///< kNoId: they can't be joined
};

/// Joins the pair with the lowest order, the leftmost of equals, until no pair is left. A heap of
/// candidates and a list of symbols: n symbols cost O(n log n), whatever the vocabulary, with at
/// most 3n candidates.
class SymbolMerger {
 public:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  void clear() { symbols_.clear(); }
  void add(std::uint32_t begin, std::uint32_t bytes, Token id) {
    const auto i = static_cast<std::uint32_t>(symbols_.size());
    symbols_.push_back({begin, bytes, i == 0 ? kNone : i - 1, i + 1, id});
  }

  /// `rule(left, right)` gives the Joining of two neighbouring symbols.
  template <class Rule>
  void merge(const Rule& rule) {
    if (symbols_.empty()) {
      return;
    }
    symbols_.back().right = kNone;
    heap_.clear();
    for (std::uint32_t i = 0; i + 1 < symbols_.size(); ++i) {
      consider(rule, i);
    }
    std::make_heap(heap_.begin(), heap_.end(), Later{});
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), Later{});
      const Candidate c = heap_.back();
      heap_.pop_back();
      ++steps_;
      join(rule, c);
    }
  }

  /// The symbols that are left, in order: `use(symbol)`.
  template <class Use>
  void for_each(const Use& use) const {
    for (std::uint32_t i = symbols_.empty() ? kNone : 0; i != kNone; i = symbols_[i].right) {
      use(symbols_[i]);
    }
  }

  /// Candidates looked at since construction, for tests of the running time.
  std::uint64_t steps() const { return steps_; }

 private:
  struct Candidate {
    std::uint64_t key;  ///< order, then the left symbol: the lowest goes first
    std::uint32_t right;
    std::uint32_t bytes;  ///< of both together when they were considered
    Token result;
  };
  struct Later {
    bool operator()(const Candidate& a, const Candidate& b) const { return a.key > b.key; }
  };

  template <class Rule>
  bool consider(const Rule& rule, std::uint32_t left) {
    const Symbol& l = symbols_[left];
    const Symbol& r = symbols_[l.right];
    const Joining joining = rule(l, r);
    if (joining.result == kNoId) {
      return false;
    }
    heap_.push_back(
        {std::uint64_t{joining.order} << 32 | left, l.right, l.bytes + r.bytes, joining.result});
    return true;
  }

  template <class Rule>
  void join(const Rule& rule, const Candidate& c) {
    const auto left = static_cast<std::uint32_t>(c.key);
    Symbol& l = symbols_[left];
    // Stale when either side has been joined to something since: then the bytes or the neighbour
    // differ.
    if (l.bytes == 0 || l.right != c.right || l.bytes + symbols_[c.right].bytes != c.bytes) {
      return;
    }
    Symbol& r = symbols_[c.right];
    l.bytes = c.bytes;
    l.id = c.result;
    l.right = r.right;
    r.bytes = 0;
    if (l.right != kNone) {
      symbols_[l.right].left = left;
      push(rule, left);
    }
    if (l.left != kNone) {
      push(rule, l.left);
    }
  }
  template <class Rule>
  void push(const Rule& rule, std::uint32_t left) {
    if (consider(rule, left)) {
      std::push_heap(heap_.begin(), heap_.end(), Later{});
    }
  }

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  std::uint64_t steps_ = 0;
};

}  // namespace lm::tokenizer
