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
  /// The answer must have a form: its format, or a tool call.
  static bool is_asked_for(const Request& request) {
    return request.format.kind != OutputFormat::Kind::none ||
           request.tool_choice != ToolChoice::automatic;
  }
  /// Errors: those of Grammar, bad_value (nothing satisfies it), invalid_argument (no tool to
  /// call).
  Result<std::shared_ptr<CompiledFormat>> compile(const Request& request);

 private:
  Result<std::shared_ptr<grammar::Grammar>> grammar_of(const Request& request) const;
  struct Known {
    std::string key;  ///< all of the request that the form depends on
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
              const Request& request);

  /// Clears the entries [n_vocab] of tokens that can't come next. Errors: limit_exceeded,
  /// bad_value (no token fits).
  Result<void> mask(std::span<std::uint8_t> allowed);
  Result<void> accept(Token token);
  /// Nothing but white space could follow.
  bool finished() const;

 private:
  enum class Place : std::uint8_t {
    before,  ///< the answer has begun with what may be the opening tag, the form, or both
    thinking,
    content
  };
  /// The token's text begins what is left of the opening tag, or spells it to its end.
  bool continues_tag(std::string_view text) const;
  /// With control tokens as they are spelt.
  std::string_view piece(Token token) const { return tokenizer_.piece(token, true); }
  Result<void> checked(Result<void> result);

  std::shared_ptr<CompiledFormat> format_;
  grammar::GrammarConstraint constraint_;
  const Tokenizer& tokenizer_;
  std::string open_, close_;
  /// Control tokens that would end thinking otherwise than by its tag.
  std::vector<Token> ends_;
  /// Tokens that may read over the end of the closing tag, text behind it included.
  std::vector<Token> overshoot_;
  Place place_ = Place::content;
  std::string tag_;          ///< read of the opening tag
  bool may_be_tag_ = true;   ///< all that was read is in `tag_`
  bool may_be_form_ = true;  ///< all that was read is in `constraint_`
  std::string tail_;         ///< of the thinking text: where the closing tag may be beginning
};

}  // namespace lm
