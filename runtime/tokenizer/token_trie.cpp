#include "runtime/tokenizer/token_trie.h"

#include <algorithm>
#include <utility>

namespace lm::tokenizer {

TokenTrie::TokenTrie(const Vocab& vocab, std::vector<Token> ids) : nodes_(1) {
  n_too_long_ = static_cast<std::size_t>(
      std::erase_if(ids, [&](Token id) { return vocab.text(id).size() > kMaxBytes; }));
  std::erase_if(ids, [&](Token id) { return vocab.text(id).empty(); });
  std::sort(ids.begin(), ids.end(), [&](Token a, Token b) {
    return std::pair(vocab.text(a), a) < std::pair(vocab.text(b), b);
  });
  // Level by level: a node owns the range of sorted tokens that share its text.
  struct Range {
    std::uint32_t node;
    std::size_t begin, end, depth;
  };
  std::vector<Range> level = {{0, 0, ids.size(), 0}};
  while (!level.empty()) {
    std::vector<Range> next;
    for (Range range : level) {
      Node& owner = nodes_[range.node];
      while (range.begin < range.end && vocab.text(ids[range.begin]).size() == range.depth) {
        owner.id = owner.id == kNoId ? ids[range.begin] : owner.id;
        ++range.begin;
      }
      owner.first_edge = static_cast<std::uint32_t>(edge_byte_.size());
      while (range.begin < range.end) {
        const char byte = vocab.text(ids[range.begin])[range.depth];
        std::size_t end = range.begin + 1;
        while (end < range.end && vocab.text(ids[end])[range.depth] == byte) {
          ++end;
        }
        const auto target = static_cast<std::uint32_t>(nodes_.size());
        ++nodes_[range.node].n_edges;
        nodes_.emplace_back();
        edge_byte_.push_back(static_cast<unsigned char>(byte));
        edge_target_.push_back(target);
        next.push_back({target, range.begin, end, range.depth + 1});
        range.begin = end;
      }
    }
    level = std::move(next);
  }
}

std::uint32_t TokenTrie::child(std::uint32_t node, unsigned char byte) const {
  const auto first = edge_byte_.begin() + nodes_[node].first_edge;
  const auto last = first + nodes_[node].n_edges;
  const auto at = std::lower_bound(first, last, byte);
  return at != last && *at == byte ? edge_target_[static_cast<std::size_t>(at - edge_byte_.begin())]
                                   : 0;
}

}  // namespace lm::tokenizer
