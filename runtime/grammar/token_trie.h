/// The byte strings of a vocabulary as one tree, so that a grammar reads shared beginnings once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::grammar {

/// Built once per vocabulary and shared. Immutable.
class TokenTrie {
 public:
  /// `pieces[id]` are the bytes of a token; empty: it never stands for text. `end_of_generation`
  /// are the tokens that end an answer.
  TokenTrie(std::span<const std::string_view> pieces, std::vector<Token> end_of_generation);
  /// Of a tokenizer: unknown and unused tokens never stand for text, control tokens only for their
  /// `mark`.
  static std::shared_ptr<const TokenTrie> of(const Tokenizer& tokenizer);
  /// Bytes that stand for a control token: no UTF-8, so that no text can ever be taken for it.
  static std::string mark(Token id);

  /// A node in depth-first order: its children lie in (itself, end).
  struct Node {
    std::uint32_t end;
    std::uint32_t first_token;  ///< its tokens are token_ids[first_token .. of the next node)
    std::uint16_t depth;        ///< bytes from the root
    std::uint8_t byte;
  };
  /// Node 0 is the root. One more entry stands behind the last.
  const std::vector<Node>& nodes() const { return nodes_; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(nodes_.size()) - 1; }
  std::span<const Token> tokens(std::uint32_t node) const {
    return std::span(token_ids_)
        .subspan(nodes_[node].first_token, nodes_[node + 1].first_token - nodes_[node].first_token);
  }
  std::string_view piece(Token id) const { return pieces_view(id); }
  std::size_t n_vocab() const { return piece_begin_.size() - 1; }
  const std::vector<Token>& end_of_generation() const { return end_of_generation_; }
  std::uint32_t max_depth() const { return max_depth_; }

 private:
  std::string_view pieces_view(Token id) const {
    const auto i = static_cast<std::size_t>(id);
    return i + 1 < piece_begin_.size() ? std::string_view(bytes_).substr(
                                             piece_begin_[i], piece_begin_[i + 1] - piece_begin_[i])
                                       : std::string_view();
  }

  std::string bytes_;
  std::vector<std::size_t> piece_begin_;
  std::vector<Node> nodes_;
  std::vector<Token> token_ids_;
  std::vector<Token> end_of_generation_;
  std::uint32_t max_depth_ = 0;
};

}  // namespace lm::grammar
