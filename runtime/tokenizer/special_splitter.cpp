#include "runtime/tokenizer/special_splitter.h"

#include <algorithm>

namespace lm::tokenizer {
namespace {

/// Control tokens may only stand where they are parsed.
bool may_take(const Vocab& vocab, Token id, std::size_t at, std::size_t parsed_end) {
  return vocab.kind[static_cast<std::size_t>(id)] == TokenKind::user_defined ||
         at + vocab.text(id).size() <= parsed_end;
}

}  // namespace

SpecialSplitter::SpecialSplitter(const Vocab& vocab) {
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const auto id = static_cast<Token>(i);
    const TokenKind kind = vocab.kind[i];
    const bool is_special =
        kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown;
    if (!is_special || vocab.text(id).empty()) {
      continue;
    }
    if (vocab.text(id).size() > kMaxBytes) {
      ++n_too_long_;
      continue;
    }
    sorted_.push_back(id);
  }
  std::sort(sorted_.begin(), sorted_.end(), [&vocab](Token a, Token b) {
    const int order = vocab.text(a).compare(vocab.text(b));
    return order != 0 ? order < 0 : a < b;
  });
  // Of equal texts the lowest id counts.
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end(),
                            [&vocab](Token a, Token b) { return vocab.text(a) == vocab.text(b); }),
                sorted_.end());
  for (const Token id : sorted_) {
    ++first_byte_[static_cast<unsigned char>(vocab.text(id)[0]) + 1];
  }
  for (std::size_t b = 1; b < first_byte_.size(); ++b) {
    first_byte_[b] += first_byte_[b - 1];
  }
}

SpecialSplitter::Match SpecialSplitter::longest_at(const Vocab& vocab, std::string_view text,
                                                   std::size_t at, std::size_t parsed_end) const {
  const auto first = static_cast<unsigned char>(text[at]);
  std::size_t low = first_byte_[first];
  std::size_t high = first_byte_[first + 1];
  Match longest;
  // All tokens in [low, high) begin with the first `n` bytes of the text here; the one that is no
  // longer comes first.
  for (std::size_t n = 1; low < high; ++n) {
    const Token id = sorted_[low];
    if (vocab.text(id).size() == n) {
      if (vocab.kind[static_cast<std::size_t>(id)] == TokenKind::user_defined ||
          at + n <= parsed_end) {
        longest = {id, n};
      }
      ++low;
    }
    if (at + n == text.size()) {
      break;
    }
    if (high - low == 1) {  // the usual case: one token to compare with
      const std::string_view token = vocab.text(sorted_[low]);
      if (text.substr(at).starts_with(token) && may_take(vocab, sorted_[low], at, parsed_end)) {
        longest = {sorted_[low], token.size()};
      }
      break;
    }
    const auto byte = static_cast<unsigned char>(text[at + n]);
    const auto begin = sorted_.begin() + static_cast<std::ptrdiff_t>(low);
    const auto end = sorted_.begin() + static_cast<std::ptrdiff_t>(high);
    const auto byte_of = [&vocab, n](Token t) {
      return static_cast<unsigned char>(vocab.text(t)[n]);
    };
    const auto from = std::partition_point(begin, end, [&](Token t) { return byte_of(t) < byte; });
    const auto to = std::partition_point(from, end, [&](Token t) { return byte_of(t) == byte; });
    low = static_cast<std::size_t>(from - sorted_.begin());
    high = static_cast<std::size_t>(to - sorted_.begin());
  }
  return longest;
}

}  // namespace lm::tokenizer
