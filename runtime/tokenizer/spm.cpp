#include "runtime/tokenizer/spm.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "runtime/tokenizer/byte_token.h"
#include "runtime/tokenizer/spaces.h"
#include "runtime/tokenizer/splitting_tokenizer.h"
#include "runtime/tokenizer/token_index.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {
namespace {

/// Scores as numbers of which the lowest goes first.
std::uint32_t order_of(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);  // -0 and 0 are equal
  const std::uint32_t ascending = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

class SpmTokenizer final : public SplittingTokenizer {
 public:
  SpmTokenizer(Vocab vocab, std::vector<std::string>* warnings)
      : SplittingTokenizer(std::move(vocab), warnings) {
    read_byte_tokens(warnings);
    index_.reserve(vocab_.size());
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const auto id = static_cast<Token>(i);
      const std::string_view text = vocab_.text(id);
      if (vocab_.kind[i] == TokenKind::byte) {
        const char byte = static_cast<char>(byte_of_token(text).value_or(0));
        add_piece({&byte, 1});
        continue;
      }
      add_piece(unescaped(text));
      // Text never joins to control, unknown or unused tokens, even where it is spelt like one.
      if (vocab_.kind[i] != TokenKind::normal && vocab_.kind[i] != TokenKind::user_defined) {
        continue;
      }
      index_.insert(vocab_, id);
      longest_token_ = std::max(longest_token_, text.size());
      note_inner_spaces(text);
    }
  }

 private:
  void encode_plain(std::string_view text, bool begins, Work& work,
                    std::vector<Token>& ids) const override {
    bool prefix = begins && vocab_.add_space_prefix;
    while (!text.empty()) {
      std::string_view word = text.substr(0, word_end(text, prefix));
      word = word.substr(0, word_cut(word));
      encode_word(word, prefix, work, ids);
      text.remove_prefix(word.size());
      prefix = false;
    }
  }

  /// No token spans the end of a word: no token has a space behind what stands there. So words can
  /// be encoded one by one, with the ids that the whole text would give.
  std::size_t word_end(std::string_view text, bool prefix) const {
    std::size_t at = 0;
    if (prefix && text[0] == ' ' && !space_follows_space_) {
      return 0;
    }
    while (true) {
      at = text.find(' ', at + 1);
      if (at == std::string_view::npos) {
        return text.size();
      }
      const bool behind_space = text[at - 1] == ' ' || text.substr(0, at).ends_with(kSpaceMark);
      if (behind_space ? !space_follows_space_
                       : !space_follows_[static_cast<unsigned char>(text[at - 1])]) {
        return at;
      }
    }
  }

  void encode_word(std::string_view word, bool prefix, Work& work, std::vector<Token>& ids) const {
    const bool cached = !prefix && word.size() <= WordCache::kMaxWordBytes;
    const std::uint64_t hash = cached ? hash_bytes(word) : 0;
    if (cached && work.cache.append(word, hash, ids)) {
      return;
    }
    const std::size_t first_id = ids.size();
    work.escaped.assign(prefix ? kSpaceMark : std::string_view{});
    append_escaped(work.escaped, word);
    merge(work, ids);
    if (cached) {
      work.cache.note(word, hash, first_id, ids);
    }
  }

  void merge(Work& work, std::vector<Token>& ids) const {
    const std::string_view text = work.escaped;
    work.merger.clear();
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t bytes = utf8::decode(text, at).bytes;
      work.merger.add(static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(bytes),
                      index_.find(vocab_, text.substr(at, bytes)));
      at += bytes;
    }
    work.merger.merge([&](const Symbol& left, const Symbol& right) -> Joining {
      const std::size_t bytes = left.bytes + right.bytes;
      if (bytes > longest_token_) {
        return {};
      }
      const Token joined = index_.find(vocab_, text.substr(left.begin, bytes));
      return joined == kNoId
                 ? Joining{}
                 : Joining{order_of(vocab_.score[static_cast<std::size_t>(joined)]), joined};
    });
    work.merger.for_each([&](const Symbol& symbol) { append(symbol, text, ids); });
  }

  void append(const Symbol& symbol, std::string_view text, std::vector<Token>& ids) const {
    if (symbol.id != kNoId) {
      ids.push_back(symbol.id);
      return;
    }
    const std::string_view character = text.substr(symbol.begin, symbol.bytes);
    if (character == kSpaceMark) {
      append_byte(' ', ids);  // a vocabulary without U+2581: the byte keeps the text
      return;
    }
    for (const char byte : character) {
      append_byte(static_cast<unsigned char>(byte), ids);
    }
  }

  void read_byte_tokens(std::vector<std::string>* warnings) {
    // Files without types mark byte tokens by their spelling only.
    const bool by_spelling =
        std::find(vocab_.kind.begin(), vocab_.kind.end(), TokenKind::byte) == vocab_.kind.end();
    std::size_t n_malformed = 0;
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      if (by_spelling && vocab_.kind[i] == TokenKind::normal &&
          byte_of_token(vocab_.text(static_cast<Token>(i)))) {
        vocab_.kind[i] = TokenKind::byte;
      }
      if (vocab_.kind[i] != TokenKind::byte) {
        continue;
      }
      const auto byte = byte_of_token(vocab_.text(static_cast<Token>(i)));
      if (!byte) {
        ++n_malformed;
        vocab_.kind[i] = TokenKind::normal;
      } else if (byte_token_[*byte] == kNoId) {
        byte_token_[*byte] = static_cast<Token>(i);
      }
    }
    if (n_malformed > 0 && warnings != nullptr) {
      warnings->push_back(
          fmt::format("vocabulary: {} byte tokens are not spelt like <0x0A>, taken as normal text",
                      n_malformed));
    }
  }

  /// Notes behind which bytes a space stands inside this token.
  void note_inner_spaces(std::string_view text) {
    for (std::size_t at = text.find(kSpaceMark, 1); at != std::string_view::npos;
         at = text.find(kSpaceMark, at + 1)) {
      if (text.substr(0, at).ends_with(kSpaceMark)) {
        space_follows_space_ = true;
      } else {
        space_follows_[static_cast<unsigned char>(text[at - 1])] = true;
      }
    }
  }

  TokenIndex index_;  ///< tokens that text may become
  std::size_t longest_token_ = 0;
  std::array<bool, 256> space_follows_{};
  bool space_follows_space_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> make_spm(Vocab vocab, std::vector<std::string>* warnings) {
  return std::make_unique<SpmTokenizer>(std::move(vocab), warnings);
}

}  // namespace lm::tokenizer
