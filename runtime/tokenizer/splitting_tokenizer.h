/// What all tokenizers have in common: special tokens are cut out first, pieces of ids are looked
/// up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/pattern.h"
#include "runtime/tokenizer/special_splitter.h"
#include "runtime/tokenizer/symbol_merger.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/word_cache.h"

namespace lm::tokenizer {

/// A longer word is cut after so many bytes, at a character. That bounds the memory of a call: one
/// word needs some 70 bytes for each of its own.
constexpr std::size_t kMaxWordBytes = 1u << 20;

class SplittingTokenizer : public Tokenizer {
 public:
  void encode(std::string_view text, SpecialTokens special, bool at_start,
              std::vector<Token>& ids) const final;
  void encode_parts(std::span<const TextPart> parts, bool at_start,
                    std::vector<Token>& ids) const final;
  std::string_view piece(Token id, bool spell_control) const final;
  std::string decode(std::span<const Token> ids, bool spell_control) const final;
  const Vocab& vocab() const final { return vocab_; }
  bool drops_leading_space() const override { return vocab_.add_space_prefix; }

 protected:
  SplittingTokenizer(Vocab vocab, std::vector<std::string>* warnings);

  /// Memory of one call.
  struct Work {
    explicit Work(std::size_t text_bytes) : cache(text_bytes) {}
    WordCache cache;
    SymbolMerger merger;
    Pattern::Scratch scratch;
    std::vector<std::size_t> ends;
    std::string escaped;
  };

  /// Appends the ids of a text without special tokens. `begins`: it begins a text or follows a
  /// special token.
  virtual void encode_plain(std::string_view text, bool begins, Work& work,
                            std::vector<Token>& ids) const = 0;

  /// To be called for 0, 1, 2 … by the constructors: the bytes that a token stands for.
  void add_piece(std::string_view bytes);
  /// Appends the token of a byte, else the one for unknown text, else nothing.
  void append_byte(unsigned char byte, std::vector<Token>& ids) const;

  Vocab vocab_;
  Token byte_token_[256];

 private:
  struct Run {
    std::size_t begin;
    std::size_t end;
  };
  void encode_runs(std::string_view text, std::span<const Run> parsed, bool begins,
                   std::vector<Token>& ids) const;

  SpecialSplitter splitter_;
  std::string piece_bytes_;
  std::vector<std::uint32_t> piece_begin_ = {0};
};

/// Length of the first cut of a word that is too long: at most kMaxWordBytes, not inside a
/// character.
std::size_t word_cut(std::string_view word);

}  // namespace lm::tokenizer
