#include "runtime/tokenizer/splitting_tokenizer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/core.h>

#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {

SplittingTokenizer::SplittingTokenizer(Vocab vocab, std::vector<std::string>* warnings)
    : vocab_(std::move(vocab)), splitter_(vocab_) {
  if (splitter_.n_too_long() > 0 && warnings != nullptr) {
    warnings->push_back(
        fmt::format("vocabulary: {} special tokens are longer than {} bytes and not found in text",
                    splitter_.n_too_long(), SpecialSplitter::kMaxBytes));
  }
  std::fill(std::begin(byte_token_), std::end(byte_token_), kNoId);
  piece_bytes_.reserve(vocab_.bytes.size());
  piece_begin_.reserve(vocab_.size() + 1);
}

void SplittingTokenizer::add_piece(std::string_view bytes) {
  piece_bytes_.append(bytes);
  piece_begin_.push_back(static_cast<std::uint32_t>(piece_bytes_.size()));
}

void SplittingTokenizer::append_byte(unsigned char byte, std::vector<Token>& ids) const {
  if (byte_token_[byte] != kNoId) {
    ids.push_back(byte_token_[byte]);
  } else if (vocab_.unk != kNoId && !vocab_.is_control(vocab_.unk)) {
    // Some files name a control token (StarCoder: <|endoftext|>), which text must not produce.
    ids.push_back(vocab_.unk);
  }
}

void SplittingTokenizer::encode(std::string_view text, SpecialTokens special, bool at_start,
                                std::vector<Token>& ids) const {
  const Run whole{0, text.size()};
  encode_runs(text, std::span(&whole, special == SpecialTokens::parsed ? 1 : 0), at_start, ids);
}

void SplittingTokenizer::encode_parts(std::span<const TextPart> parts, bool at_start,
                                      std::vector<Token>& ids) const {
  std::string text;
  std::vector<Run> parsed;
  for (const TextPart& part : parts) {
    const std::size_t begin = text.size();
    text.append(part.text);
    if (part.special != SpecialTokens::parsed || part.text.empty()) {
      continue;
    }
    if (!parsed.empty() && parsed.back().end == begin) {
      parsed.back().end = text.size();
    } else {
      parsed.push_back({begin, text.size()});
    }
  }
  encode_runs(text, parsed, at_start, ids);
}

void SplittingTokenizer::encode_runs(std::string_view text, std::span<const Run> parsed,
                                     bool begins, std::vector<Token>& ids) const {
  Work work(text.size());
  std::size_t plain = 0;
  const auto flush = [&](std::size_t end) {
    if (end > plain) {
      encode_plain(text.substr(plain, end - plain), begins, work, ids);
      begins = false;
    }
  };
  std::size_t run = 0;
  for (std::size_t at = 0; at < text.size() && splitter_.size() > 0;) {
    while (run < parsed.size() && parsed[run].end <= at) {
      ++run;
    }
    const bool inside = run < parsed.size() && parsed[run].begin <= at;
    const SpecialSplitter::Match match =
        splitter_.longest_at(vocab_, text, at, inside ? parsed[run].end : 0);
    if (match.id == kNoId) {
      ++at;
      continue;
    }
    flush(at);
    ids.push_back(match.id);
    at += match.bytes;
    plain = at;
    begins = true;
  }
  flush(text.size());
}

std::string_view SplittingTokenizer::piece(Token id, bool spell_control) const {
  if (id < 0 || static_cast<std::size_t>(id) >= vocab_.size()) {
    return {};
  }
  const auto i = static_cast<std::size_t>(id);
  switch (vocab_.kind[i]) {
    case TokenKind::unknown:
    case TokenKind::control:
    case TokenKind::unused:
      return spell_control ? vocab_.text(id) : std::string_view{};
    case TokenKind::normal:
    case TokenKind::user_defined:
    case TokenKind::byte:
      break;
  }
  return std::string_view(piece_bytes_)
      .substr(piece_begin_[i], piece_begin_[i + 1] - piece_begin_[i]);
}

std::string SplittingTokenizer::decode(std::span<const Token> ids, bool spell_control) const {
  std::string text;
  bool drop_space = drops_leading_space();
  for (const Token id : ids) {
    std::string_view bytes = piece(id, spell_control);
    // Tokens that show nothing, like BOS, do not begin the text.
    if (drop_space && !bytes.empty()) {
      const TokenKind kind = vocab_.kind[static_cast<std::size_t>(id)];
      if (bytes[0] == ' ' && (kind == TokenKind::normal || kind == TokenKind::byte)) {
        bytes.remove_prefix(1);
      }
      drop_space = vocab_.is_control(id);
    }
    text.append(bytes);
  }
  return text;
}

std::size_t word_cut(std::string_view word) {
  if (word.size() <= kMaxWordBytes) {
    return word.size();
  }
  std::size_t cut = kMaxWordBytes;
  for (int i = 0; i < 3 && utf8::is_continuation(word[cut]); ++i) {
    --cut;
  }
  return cut;
}

}  // namespace lm::tokenizer
