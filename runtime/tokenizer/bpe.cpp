#include "runtime/tokenizer/bpe.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/byte_token.h"
#include "runtime/tokenizer/merge_list.h"
#include "runtime/tokenizer/pretokenize.h"
#include "runtime/tokenizer/spaces.h"
#include "runtime/tokenizer/splitting_tokenizer.h"
#include "runtime/tokenizer/token_index.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {
namespace {

class BpeTokenizer final : public SplittingTokenizer {
 public:
  BpeTokenizer(Vocab vocab, Pretokenizer pretokenizer, const PretokenizerSpec& spec,
               std::vector<std::string>* warnings)
      : SplittingTokenizer(std::move(vocab), warnings),
        pretokenizer_(std::move(pretokenizer)),
        byte_level_(spec.byte_level),
        ignore_merges_(spec.ignore_merges) {
    index_.reserve(vocab_.size());
    std::string bytes;
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const auto id = static_cast<Token>(i);
      const std::string_view text = vocab_.text(id);
      index_.insert(vocab_, id);
      const auto byte = byte_level_ ? std::nullopt : byte_of_token(text);
      if (byte && vocab_.kind[i] == TokenKind::byte) {
        bytes.assign(1, static_cast<char>(*byte));
      } else if (!byte_level_) {
        bytes = unescaped(text);
      } else if (vocab_.kind[i] == TokenKind::user_defined) {
        bytes.assign(text);
      } else {
        bytes.clear();
        kByteAlphabet.append_bytes(bytes, text);
      }
      add_piece(bytes);
    }
    find_byte_tokens();
  }

  Result<void> read_merges(const Metadata& metadata, std::vector<std::string>* warnings) {
    LM_TRY(merges_, tokenizer::read_merges(metadata, vocab_, index_, warnings));
    return {};
  }

 private:
  void encode_plain(std::string_view text, bool, Work& work,
                    std::vector<Token>& ids) const override {
    std::string escaped;
    if (!byte_level_) {
      append_escaped(escaped, text);
      text = escaped;
    }
    pretokenizer_.split(text, work.ends, work.scratch);
    std::size_t begin = 0;
    for (const std::size_t end : work.ends) {
      while (begin < end) {
        const std::size_t bytes = word_cut(text.substr(begin, end - begin));
        encode_word(text.substr(begin, bytes), work, ids);
        begin += bytes;
      }
    }
  }

  void encode_word(std::string_view word, Work& work, std::vector<Token>& ids) const {
    // Escaped text does not outlive encode_plain, so its words can't be remembered.
    const bool cached = byte_level_ && word.size() <= WordCache::kMaxWordBytes;
    const std::uint64_t hash = cached ? hash_bytes(word) : 0;
    if (cached && work.cache.append(word, hash, ids)) {
      return;
    }
    const std::size_t first_id = ids.size();
    if (const Token whole = ignore_merges_ ? whole_word(word, work) : kNoId; whole != kNoId) {
      ids.push_back(whole);
    } else {
      merge(word, work, ids);
    }
    if (cached) {
      work.cache.note(word, hash, first_id, ids);
    }
  }

  Token whole_word(std::string_view word, Work& work) const {
    work.escaped.clear();
    if (byte_level_) {
      kByteAlphabet.append_characters(work.escaped, word);
    } else {
      work.escaped.assign(word);
    }
    return token_of(work.escaped);
  }

  /// The token of this text, if text may become it.
  Token token_of(std::string_view text) const {
    const Token id = index_.find(vocab_, text);
    if (id == kNoId) {
      return kNoId;
    }
    const TokenKind kind = vocab_.kind[static_cast<std::size_t>(id)];
    const bool may_come_from_text = kind == TokenKind::normal || kind == TokenKind::user_defined ||
                                    (byte_level_ && kind == TokenKind::byte);
    return may_come_from_text ? id : kNoId;
  }

  void merge(std::string_view word, Work& work, std::vector<Token>& ids) const {
    work.merger.clear();
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t bytes = byte_level_ ? 1 : utf8::decode(word, at).bytes;
      const Token id = byte_level_ ? byte_token_[static_cast<unsigned char>(word[at])]
                                   : token_of(word.substr(at, bytes));
      work.merger.add(static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(bytes), id);
      at += bytes;
    }
    work.merger.merge([this](const Symbol& left, const Symbol& right) -> Joining {
      const Merge found = merges_.find(left.id, right.id);
      return {found.rank, found.result};
    });
    work.merger.for_each([&](const Symbol& symbol) {
      if (symbol.id != kNoId) {
        ids.push_back(symbol.id);
        return;
      }
      for (const char byte : word.substr(symbol.begin, symbol.bytes)) {
        append_byte(static_cast<unsigned char>(byte), ids);
      }
    });
  }

  void find_byte_tokens() {
    if (byte_level_) {
      for (unsigned byte = 0; byte < 256; ++byte) {
        std::string character;
        utf8::append(character, kByteAlphabet.character(static_cast<unsigned char>(byte)));
        byte_token_[byte] = token_of(character);
      }
      return;
    }
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const auto byte = vocab_.kind[i] == TokenKind::byte
                            ? byte_of_token(vocab_.text(static_cast<Token>(i)))
                            : std::nullopt;
      if (byte && byte_token_[*byte] == kNoId) {
        byte_token_[*byte] = static_cast<Token>(i);
      }
    }
  }

  Pretokenizer pretokenizer_;
  TokenIndex index_;
  MergeIndex merges_;
  bool byte_level_;
  bool ignore_merges_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_bpe(Vocab vocab, const Metadata& metadata,
                                            std::vector<std::string>* warnings) {
  const std::string pre = vocab.model == "gemma4" ? "gemma4" : vocab.pre;
  auto pretokenizer = Pretokenizer::create(pre);
  if (!pretokenizer) {
    Error error = std::move(pretokenizer).error();
    error.problem = error.subject + ": " + error.problem;
    error.subject = metadata.subject();
    return std::unexpected(std::move(error));
  }
  vocab.add_space_prefix = false;  // never done by BPE, whatever the file says
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(vocab), std::move(*pretokenizer),
                                                  *find_pretokenizer(pre), warnings);
  LM_CHECK(tokenizer->read_merges(metadata, warnings));
  return tokenizer;
}

}  // namespace lm::tokenizer
