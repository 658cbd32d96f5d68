/// A form that an answer must have, compiled for a vocabulary, and how it guides one answer.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine/messages.h"
#include "runtime/grammar/token_mask.h"

namespace lm {

/// Compiled once, shared by the answers that ask for the same.
struct CompiledFormat {
  std::shared_ptr<grammar::TokenMasks> masks;
  std::vector<std::string> warnings;  ///< one sentence for each keyword that is not enforced
  std::atomic<bool> worn = false;     ///< used up: later answers compile their own
};

/// Compiles formats for one vocabulary and remembers the last few. Thread-safe; what it returns is
/// then used by one thread (the engine's loop).
class FormatCompiler {
 public:
  /// `tokenizer` must live longer.
  explicit FormatCompiler(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// Errors: those of Grammar, bad_value (nothing satisfies it).
  Result<std::shared_ptr<CompiledFormat>> compile(const OutputFormat& format);

 private:
  struct Known {
    OutputFormat format;
    std::shared_ptr<CompiledFormat> compiled;
  };
  const Tokenizer& tokenizer_;
  std::mutex mutex_;
  std::shared_ptr<const grammar::TokenTrie> trie_;
  std::deque<Known> known_;
};

/// Follows one answer: text between thinking tags is free, the rest follows the format.
class FormatGuide {
 public:
  FormatGuide(std::shared_ptr<CompiledFormat> format, const Tokenizer& tokenizer,
              std::string thinking_open, std::string thinking_close, bool starts_in_thinking);

  /// Clears the entries [n_vocab] of tokens that can't come next. Errors: limit_exceeded,
  /// bad_value (no token fits).
  Result<void> mask(std::span<std::uint8_t> allowed);
  Result<void> accept(Token token);
  /// Nothing but white space could follow.
  bool finished() const;

 private:
  enum class Place : std::uint8_t { before, in_tag, thinking, content };
  /// The token's text begins what is left of the opening tag, or spells it to its end.
  bool continues_tag(std::string_view piece) const;
  Result<void> checked(Result<void> result);

  std::shared_ptr<CompiledFormat> format_;
  grammar::GrammarConstraint constraint_;
  const Tokenizer& tokenizer_;
  std::string open_, close_;
  Place place_ = Place::content;
  std::string tag_;   ///< read of the opening tag
  std::string tail_;  ///< of the thinking text: where the closing tag may be beginning
};

}  // namespace lm
