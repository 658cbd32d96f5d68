#include "runtime/grammar/token_trie.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <string>

namespace lm::grammar {
namespace {

constexpr std::size_t kMaxPiece = 4096;  // a longer token is never offered
constexpr char kMarkByte = '\xFF';

}  // namespace

TokenTrie::TokenTrie(std::span<const std::string_view> pieces, std::vector<Token> end)
    : end_of_generation_(std::move(end)) {
  piece_begin_.reserve(pieces.size() + 1);
  for (const std::string_view piece : pieces) {
    piece_begin_.push_back(bytes_.size());
    bytes_ += piece.size() <= kMaxPiece ? piece : std::string_view();
  }
  piece_begin_.push_back(bytes_.size());
  std::vector<Token> order(pieces.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](Token id) { return piece(id).empty(); });
  std::sort(order.begin(), order.end(), [&](Token a, Token b) {
    const int c = piece(a).compare(piece(b));
    return c != 0 ? c < 0 : a < b;
  });
  nodes_.push_back({0, 0, 0, 0});
  std::vector<std::uint32_t> path = {0};  // nodes from the root to the last token
  std::string_view last;
  for (const Token id : order) {
    const std::string_view text = piece(id);
    const auto common = static_cast<std::size_t>(
        std::mismatch(text.begin(), text.end(), last.begin(), last.end()).first - text.begin());
    while (path.size() > common + 1) {
      nodes_[path.back()].end = static_cast<std::uint32_t>(nodes_.size());
      path.pop_back();
    }
    for (std::size_t i = common; i < text.size(); ++i) {
      path.push_back(static_cast<std::uint32_t>(nodes_.size()));
      nodes_.push_back({0, static_cast<std::uint32_t>(token_ids_.size()),
                        static_cast<std::uint16_t>(i + 1), static_cast<std::uint8_t>(text[i])});
    }
    max_depth_ = std::max(max_depth_, static_cast<std::uint32_t>(text.size()));
    token_ids_.push_back(id);
    last = text;
  }
  for (const std::uint32_t node : path) {
    nodes_[node].end = static_cast<std::uint32_t>(nodes_.size());
  }
  nodes_.push_back({static_cast<std::uint32_t>(nodes_.size()) + 1,
                    static_cast<std::uint32_t>(token_ids_.size()), 0, 0});
}

std::string TokenTrie::mark(Token id) {
  std::string out(1, kMarkByte);
  for (int shift = 21; shift >= 0; shift -= 7) {
    out.push_back(static_cast<char>(id >> shift & 0x7F));
  }
  return out;
}

std::shared_ptr<const TokenTrie> TokenTrie::of(const Tokenizer& tokenizer) {
  const Vocab& vocab = tokenizer.vocab();
  std::vector<std::string_view> pieces(tokenizer.n_vocab());
  std::deque<std::string> marks;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto id = static_cast<Token>(i);
    const TokenKind kind = i < vocab.kind.size() ? vocab.kind[i] : TokenKind::normal;
    const bool is_text =
        kind == TokenKind::normal || kind == TokenKind::user_defined || kind == TokenKind::byte;
    if (vocab.is_end_of_generation(id)) {
      continue;
    }
    if (kind == TokenKind::control) {
      pieces[i] = marks.emplace_back(mark(id));
    } else if (is_text && !tokenizer.piece(id).contains(kMarkByte)) {
      pieces[i] = tokenizer.piece(id);
    }
  }
  for (const Token id : vocab.suppressed) {
    if (id >= 0 && static_cast<std::size_t>(id) < pieces.size()) {
      pieces[static_cast<std::size_t>(id)] = {};
    }
  }
  return std::make_shared<const TokenTrie>(pieces, vocab.end_of_generation);
}

}  // namespace lm::grammar
