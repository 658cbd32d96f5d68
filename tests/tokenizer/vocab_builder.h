/// Small vocabularies for tests, through a GGUF in memory.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/gguf/gguf_file.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"
#include "tests/support/gguf_writer.h"

namespace lm::test {

class VocabBuilder {
 public:
  explicit VocabBuilder(std::string model) : model_(std::move(model)) {}

  Token add(std::string text, float score = 0.0f, TokenKind kind = TokenKind::normal) {
    texts_.push_back(std::move(text));
    scores_.push_back(score);
    kinds_.push_back(static_cast<std::int32_t>(kind));
    return static_cast<Token>(texts_.size()) - 1;
  }
  Token add(std::string text, TokenKind kind) { return add(std::move(text), 0.0f, kind); }
  /// <0x00> … <0xFF>; the id of the first one.
  Token add_byte_tokens() {
    const auto first = static_cast<Token>(texts_.size());
    for (int byte = 0; byte < 256; ++byte) {
      add(fmt::format("<0x{:02X}>", byte), TokenKind::byte);
    }
    return first;
  }
  /// The 256 characters of byte-level BPE: the printable bytes in order, then U+0100 … for the
  /// others.
  void add_byte_characters() {
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      std::string text;
      utf8::append(text, printable ? byte : next++);
      add(text);
    }
  }
  /// A merge of BPE, and the token that it makes unless there is one.
  Token merge(const std::string& left, const std::string& right) {
    merges_.push_back(left + " " + right);
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      if (texts_[i] == left + right) {
        return static_cast<Token>(i);
      }
    }
    return add(left + right);
  }

  std::vector<std::string>& merges() { return merges_; }
  std::vector<float>& scores() { return scores_; }
  std::vector<std::int32_t>& kinds() { return kinds_; }
  bool with_scores = true;
  bool with_kinds = true;
  bool with_merges = true;
  std::string pre;
  GgufWriter extra;  ///< further keys

  /// The file. Its metadata views point into it.
  Result<GgufFile> file() const {
    GgufWriter writer = extra;
    writer.add_string("general.architecture", "llama").add_string("tokenizer.ggml.model", model_);
    writer.add_strings("tokenizer.ggml.tokens", texts_);
    if (with_scores) {
      writer.add_array("tokenizer.ggml.scores", scores_);
    }
    if (with_kinds) {
      writer.add_array("tokenizer.ggml.token_type", kinds_);
    }
    if (model_ != "llama" && with_merges) {
      writer.add_strings("tokenizer.ggml.merges", merges_);
    }
    if (!pre.empty()) {
      writer.add_string("tokenizer.ggml.pre", pre);
    }
    std::vector<std::unique_ptr<ByteSource>> parts;
    parts.push_back(memory_source(writer.build(), "test.gguf"));
    return GgufFile::read(std::move(parts));
  }

  Result<std::unique_ptr<Tokenizer>> make() {
    warnings.clear();
    LM_TRY(const GgufFile built, file());
    return Tokenizer::create(built.metadata(), &warnings);
  }
  /// A tokenizer that must come out.
  std::unique_ptr<Tokenizer> tokenizer() {
    auto made = make();
    if (!made) {
      ADD_FAILURE() << made.error().subject << ": " << made.error().problem;
      return nullptr;
    }
    return std::move(*made);
  }

  std::vector<std::string> warnings;

 private:
  std::string model_;
  std::vector<std::string> texts_;
  std::vector<float> scores_;
  std::vector<std::int32_t> kinds_;
  std::vector<std::string> merges_;
};

inline std::vector<Token> encode(const Tokenizer& tokenizer, std::string_view text,
                                 SpecialTokens special = SpecialTokens::as_text,
                                 bool at_start = true) {
  std::vector<Token> ids;
  tokenizer.encode(text, special, at_start, ids);
  return ids;
}

/// The tokens of a text as they are spelt in the vocabulary, with | between.
inline std::string spelt(const Tokenizer& tokenizer, std::string_view text,
                         SpecialTokens special = SpecialTokens::as_text, bool at_start = true) {
  std::string out;
  for (const Token id : encode(tokenizer, text, special, at_start)) {
    out += (out.empty() ? "" : "|") + std::string(tokenizer.vocab().text(id));
  }
  return out;
}

}  // namespace lm::test
