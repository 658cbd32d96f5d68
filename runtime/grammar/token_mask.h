/// Which tokens of a vocabulary a grammar allows next.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "runtime/grammar/grammar.h"
#include "runtime/grammar/token_trie.h"

namespace lm::grammar {

/// Masks of one grammar over one vocabulary. What a lexeme's state says by itself is worked out
/// once; only tokens that go on behind the lexeme's end are looked at again for each stack (the
/// split of XGrammar between context-independent and context-dependent tokens). Shared by the
/// sequences that use the grammar; not for two threads at once.
class TokenMasks {
 public:
  using Bits = std::vector<std::uint64_t>;

  TokenMasks(std::shared_ptr<Grammar> grammar, std::shared_ptr<const TokenTrie> trie);

  /// Bits of the tokens whose bytes may follow; end-of-generation tokens where the text may end.
  /// Valid until the next call. Errors: limit_exceeded.
  Result<const Bits*> of(ConfigId config);
  ConfigId after(ConfigId config, Token token);
  Grammar& grammar() { return *grammar_; }
  const TokenTrie& trie() const { return *trie_; }

 private:
  /// A place where the lexeme can end inside a token: at `node`, in the language `tag`.
  struct Exit {
    std::uint32_t node;
    std::int32_t tag;
  };
  struct LexemeMask {
    Bits bits;  ///< tokens that stay inside the lexeme
    std::vector<Exit> exits;
  };
  const LexemeMask& lexeme_mask(ByteState state);
  void add_exits(const Frame& frame, const LexemeMask& mask, Bits& bits);
  void add_below(ConfigId config, std::uint32_t node, Bits& bits);
  void add_tokens(std::uint32_t node, Bits& bits) const;
  std::string path_to(std::uint32_t node) const;

  std::shared_ptr<Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  std::size_t words_;
  std::unordered_map<ByteState, LexemeMask> lexemes_;
  std::unordered_map<ConfigId, Bits> configs_;
  std::vector<ConfigId> below_;  ///< positions along the path walked
};

/// The constraint of one sequence: copyable, so that speculative steps can be taken back.
class GrammarConstraint {
 public:
  explicit GrammarConstraint(std::shared_ptr<TokenMasks> masks);

  /// Clears the entries [n_vocab] of tokens that can't come next. Errors: limit_exceeded, bad_value
  /// (nothing is allowed).
  Result<void> mask(std::span<std::uint8_t> allowed);
  /// A token was chosen. Errors: bad_value (the mask did not allow it), limit_exceeded.
  Result<void> accept(Token token);
  /// The same for text that came otherwise.
  Result<void> accept_text(std::string_view bytes);
  ConfigId position() const { return config_; }
  /// May the text end here?
  bool is_complete() const { return masks_->grammar().machine().complete(config_); }
  /// Complete, and nothing but white space could follow.
  bool is_finished() const { return masks_->grammar().finished(config_); }

 private:
  std::shared_ptr<TokenMasks> masks_;
  ConfigId config_;
};

}  // namespace lm::grammar
