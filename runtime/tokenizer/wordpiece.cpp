// Wu et al. 2016 (WordPiece); normalisation and splitting as BERT's BasicTokenizer does them.
#include "runtime/tokenizer/wordpiece.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tokenizer/characters.h"
#include "runtime/tokenizer/spaces.h"
#include "runtime/tokenizer/splitting_tokenizer.h"
#include "runtime/tokenizer/token_index.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {
namespace {

using unicode::Category;

/// A word of more characters is unknown as a whole, as in BERT's own tokenizer. That also bounds
/// the work: a word of n characters takes at most n² / 2 look-ups.
constexpr std::size_t kMaxWordCharacters = 100;

/// The blocks whose characters are words of their own.
bool is_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    const bool alphanumeric =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return c > ' ' && c < 0x7F && !alphanumeric;
  }
  const Category category = unicode::category(c);
  return category >= Category::pc && category <= Category::po;
}

bool is_space(char32_t c) {
  if (c < 0x80) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
  }
  const Category category = unicode::category(c);
  return category >= Category::zs && category <= Category::zp;
}

/// Characters that leave no trace: controls, formats, private use, and what is no text.
bool is_dropped(char32_t c) {
  const Category category = unicode::category(c);
  return c == unicode::kReplacement || (category >= Category::cc && category <= Category::co);
}

class WordPieceTokenizer final : public SplittingTokenizer {
 public:
  WordPieceTokenizer(Vocab vocab, bool lowercase, bool strip_accents,
                     std::vector<std::string>* warnings)
      : SplittingTokenizer(std::move(vocab), warnings),
        lowercase_(lowercase),
        strip_accents_(strip_accents) {
    index_.reserve(vocab_.size());
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const auto id = static_cast<Token>(i);
      const std::string_view text = vocab_.text(id);
      add_piece(unescaped(text));
      if (vocab_.kind[i] == TokenKind::normal || vocab_.kind[i] == TokenKind::user_defined) {
        index_.insert(vocab_, id);
        longest_piece_ = std::max(longest_piece_, text.size());
      }
    }
  }

  bool drops_leading_space() const override { return true; }

 private:
  /// A word with the ends of its characters.
  struct Word {
    std::string text;
    std::vector<std::size_t> ends;
    void clear() {
      text.assign(kSpaceMark);
      ends.assign(1, kSpaceMark.size());
    }
    bool empty() const { return ends.size() == 1; }
    void add(char32_t c) {
      if (ends.size() <= kMaxWordCharacters + 1) {  // one too many tells that it is too long
        utf8::append(text, c);
        ends.push_back(text.size());
      }
    }
  };

  void encode_plain(std::string_view text, bool, Work&, std::vector<Token>& ids) const override {
    Word word;
    word.clear();
    const auto flush = [&] {
      if (!word.empty()) {
        encode_word(word, ids);
        word.clear();
      }
    };
    for (std::size_t at = 0; at < text.size();) {
      const utf8::Character c = utf8::decode(text, at);
      at += c.bytes;
      if (is_space(c.code_point)) {
        flush();
      } else if (!is_dropped(c.code_point)) {
        std::array<std::uint32_t, 3> parts = {c.code_point, 0, 0};
        if (strip_accents_) {
          parts = unicode::without_accents(c.code_point);
        }
        for (std::size_t i = 0; i < parts.size() && parts[i] != 0; ++i) {
          // Asked of the part: U+2260 becomes '=', which is a word of its own.
          const bool alone = is_ideograph(parts[i]) || is_punctuation(parts[i]);
          if (alone) {
            flush();
          }
          add_cased(word, parts[i]);
          if (alone) {
            flush();
          }
        }
      }
    }
    flush();
  }

  void add_cased(Word& word, char32_t code_point) const {
    if (!lowercase_) {
      word.add(code_point);
      return;
    }
    for (const std::uint32_t small : unicode::to_case(code_point, unicode::Case::lower)) {
      if (small != 0) {
        word.add(small);
      }
    }
  }

  void encode_word(const Word& word, std::vector<Token>& ids) const {
    const std::size_t first_id = ids.size();
    const std::size_t n = word.ends.size();
    const std::string_view text = word.text;
    std::size_t from = 0;  // in bytes
    std::size_t next = 1;  // the first character behind it
    bool known = n <= kMaxWordCharacters + 1;
    while (known && next < n) {
      std::size_t to = n;
      Token found = kNoId;
      for (; to > next && found == kNoId; --to) {
        const std::size_t bytes = word.ends[to - 1] - from;
        found = bytes > longest_piece_ ? kNoId : index_.find(vocab_, text.substr(from, bytes));
      }
      known = found != kNoId;
      if (known) {
        ids.push_back(found);
        from = word.ends[to];
        next = to + 1;
      }
    }
    if (!known) {
      ids.resize(first_id);
      if (vocab_.unk != kNoId) {
        ids.push_back(vocab_.unk);
      }
    }
  }

  TokenIndex index_;
  std::size_t longest_piece_ = 0;
  bool lowercase_;
  bool strip_accents_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_wordpiece(Vocab vocab, const Metadata& metadata,
                                                  std::vector<std::string>* warnings) {
  LM_TRY(const bool lowercase, metadata.bool_or("tokenizer.ggml.normalizer.lowercase", true));
  // BERT's own rule: accents go with the case unless something else is said.
  LM_TRY(const bool strip_accents,
         metadata.bool_or("tokenizer.ggml.normalizer.strip_accents", lowercase));
  return std::make_unique<WordPieceTokenizer>(std::move(vocab), lowercase, strip_accents, warnings);
}

}  // namespace lm::tokenizer
