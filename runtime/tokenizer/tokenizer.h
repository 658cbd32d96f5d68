/// Text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/gguf/metadata.h"

namespace lm {

using Token = std::int32_t;
constexpr Token kNoId = -1;

/// Kinds of vocabulary entries, ids as in tokenizer.ggml.token_type.
enum class TokenKind : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

/// The vocabulary of a file, checked: as many scores and types as tokens, special ids in range.
/// Immutable.
class Vocab;

/// How a piece of text is to be read.
enum class SpecialTokens : bool { as_text = false, parsed = true };

/// A part of a text with its own rule.
struct TextPart {
  std::string_view text;
  SpecialTokens special = SpecialTokens::as_text;
};

/// A vocabulary with its algorithm (SPM, BPE, WordPiece, Unigram). Immutable and thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Builds from tokenizer.* keys. The views in `metadata` need not outlive the call. `warnings`
  /// gets what is odd and harmless (special ids out of range). Errors: missing, bad_vocab,
  /// bad_value, unsupported (a model or pre-tokenizer outside the list, by name).
  static Result<std::unique_ptr<Tokenizer>> create(const Metadata& metadata,
                                                   std::vector<std::string>* warnings = nullptr);

  /// Appends the ids of `text`. No BOS or EOS is added. With `as_text`, text that spells a control
  /// token stays plain text: message text can never produce a control token. `at_start` says that
  /// no text stands before this piece (SPM puts its space in front only there). Linear time on any
  /// input; invalid UTF-8 is taken byte by byte. After each special token SPM begins anew and puts
  /// its space in front again, as llama.cpp does.
  virtual void encode(std::string_view text, SpecialTokens special, bool at_start,
                      std::vector<Token>& ids) const = 0;

  /// Encodes parts that follow each other as one text: words may span them, control tokens only
  /// stand within parts (or neighbouring parts) that are `parsed`.
  virtual void encode_parts(std::span<const TextPart> parts, bool at_start,
                            std::vector<Token>& ids) const = 0;

  /// Bytes of one token as they appear in text (SPM: "▁" is a space, "<0x0A>" the byte; control
  /// tokens: nothing, unless `spell_control`). Ids out of range give nothing.
  virtual std::string_view piece(Token id, bool spell_control = false) const = 0;

  /// Text of many ids: drops the one space that SPM put in front when `ids` begin a text.
  virtual std::string decode(std::span<const Token> ids, bool spell_control = false) const = 0;

  virtual const Vocab& vocab() const = 0;
  std::size_t n_vocab() const;

  /// True when decoding a text from its first token drops one leading space (SPM and Unigram with
  /// add_space_prefix, WordPiece).
  virtual bool drops_leading_space() const = 0;
};

/// The vocabulary of a file. Strings are copied out of the file once, into one block.
class Vocab {
 public:
  std::size_t size() const { return text_begin.empty() ? 0 : text_begin.size() - 1; }
  std::string_view text(Token id) const {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(bytes).substr(text_begin[i], text_begin[i + 1] - text_begin[i]);
  }
  bool is_end_of_generation(Token id) const;
  bool is_control(Token id) const {
    return id >= 0 && static_cast<std::size_t>(id) < kind.size() &&
           kind[static_cast<std::size_t>(id)] == TokenKind::control;
  }

  std::string model;                      ///< tokenizer.ggml.model: "llama", "gpt2", "bert" …
  std::string pre;                        ///< tokenizer.ggml.pre, or "default"
  std::string bytes;                      ///< all token texts, one after the other
  std::vector<std::uint32_t> text_begin;  ///< [n + 1]
  std::vector<float> score;
  std::vector<TokenKind> kind;
  Token bos = kNoId, eos = kNoId, unk = kNoId, pad = kNoId, sep = kNoId;  ///< bert: bos is [CLS]
  bool add_bos = false, add_eos = false, add_sep = false, add_space_prefix = false;
  std::vector<Token> end_of_generation;  ///< sorted: eos, eot, eom and every token spelt like one
  std::vector<Token> suppressed;         ///< never to be sampled
};

/// Appends the ids of a whole text with what the vocabulary puts around one: BOS or [CLS] in front,
/// EOS or [SEP] behind, each only where the vocabulary wants it and the text does not spell it
/// itself.
void encode_whole(const Tokenizer& tokenizer, std::string_view text, SpecialTokens special,
                  std::vector<Token>& ids);

/// Reads and checks tokenizer.* keys.
Result<Vocab> read_vocab(const Metadata& metadata, std::vector<std::string>* warnings = nullptr);

}  // namespace lm
