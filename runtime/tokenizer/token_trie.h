/// A trie of token texts: all tokens that begin at a place, in one walk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

class TokenTrie {
 public:
  /// Longer tokens are left out: that bounds the work at each byte of a text.
  static constexpr std::size_t kMaxBytes = 256;

  TokenTrie() : nodes_(1) {}
  /// Of equal texts the first id stays; empty texts are left out. `ids` must be ids of `vocab`.
  TokenTrie(const Vocab& vocab, std::vector<Token> ids);

  /// Calls `use(n_bytes, id)` for each token that `text` begins with, the shortest first. Returns
  /// how many bytes were looked at.
  template <class Use>
  std::size_t walk(std::string_view text, const Use& use) const {
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node == 0) {
        return i + 1;
      }
      if (nodes_[node].id != kNoId) {
        use(i + 1, nodes_[node].id);
      }
    }
    return text.size();
  }

  std::size_t n_too_long() const { return n_too_long_; }

 private:
  struct Node {
    std::uint32_t first_edge = 0;
    std::uint32_t n_edges = 0;
    Token id = kNoId;
  };
  /// 0: none (no edge leads back to the root).
  std::uint32_t child(std::uint32_t node, unsigned char byte) const;

  std::vector<Node> nodes_;
  // Edges of a node lie together, ascending by byte.
  std::vector<unsigned char> edge_byte_;
  std::vector<std::uint32_t> edge_target_;
  std::size_t n_too_long_ = 0;
};

}  // namespace lm::tokenizer
