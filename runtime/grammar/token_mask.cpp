#include "runtime/grammar/token_mask.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/core.h>

namespace lm::grammar {
namespace {

constexpr std::size_t kKeptBytes = 24u << 20;  // of masks, of each kind

/// Eight bytes of 0xFF or 0 for eight bits.
constexpr std::array<std::uint64_t, 256> kSpread = [] {
  std::array<std::uint64_t, 256> out{};
  for (std::size_t bits = 0; bits < 256; ++bits) {
    for (std::size_t i = 0; i < 8; ++i) {
      out[bits] |= (bits >> i & 1) != 0 ? 0xFFull << (8 * i) : 0;
    }
  }
  return out;
}();

}  // namespace

TokenMasks::TokenMasks(std::shared_ptr<Grammar> grammar, std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::move(grammar)),
      trie_(std::move(trie)),
      words_((trie_->n_vocab() + 63) / 64),
      below_(trie_->max_depth() + 1) {}

void TokenMasks::add_tokens(std::uint32_t node, Bits& bits) const {
  for (const Token id : trie_->tokens(node)) {
    bits[static_cast<std::size_t>(id) / 64] |= 1ull << (id % 64);
  }
}

/// Walks the whole vocabulary through one lexeme.
const TokenMasks::LexemeMask& TokenMasks::lexeme_mask(ByteState state) {
  Lexer& lexer = grammar_->machine().lexer();
  state = lexer.alike(state, trie_->max_depth());
  if (const auto known = lexemes_.find(state); known != lexemes_.end()) {
    return known->second;
  }
  if (lexemes_.size() * words_ * 8 > kKeptBytes) {
    lexemes_.clear();
  }
  LexemeMask& out = lexemes_[state];
  out.bits.assign(words_, 0);
  const std::vector<TokenTrie::Node>& nodes = trie_->nodes();
  std::vector<ByteState> path(trie_->max_depth() + 1);
  path[0] = state;
  for (std::uint32_t i = 1; i < trie_->size();) {
    const TokenTrie::Node& node = nodes[i];
    const ByteState next = lexer.next(path[node.depth - 1], node.byte);
    if (next == kDead) {
      i = node.end;
      continue;
    }
    path[node.depth] = next;
    if (const std::int32_t tag = lexer.accepts(next); tag != kNotAccepting) {
      out.exits.push_back({i, tag});
      if (!lexer.goes_on(next)) {
        i = node.end;
        continue;
      }
    }
    add_tokens(i, out.bits);
    ++i;
  }
  return out;
}

std::string TokenMasks::path_to(std::uint32_t node) const {
  // Any token at or below the node begins with its bytes.
  const TokenTrie::Node& at = trie_->nodes()[node];
  const Token id = trie_->tokens(node).empty() ? kNoId : trie_->tokens(node)[0];
  if (id != kNoId) {
    return std::string(trie_->piece(id));
  }
  std::uint32_t below = node;
  while (trie_->tokens(below).empty()) {
    ++below;
  }
  return std::string(trie_->piece(trie_->tokens(below)[0]).substr(0, at.depth));
}

/// What may follow the end of the lexeme, for tokens that reach it.
void TokenMasks::add_exits(const Frame& frame, const LexemeMask& mask, Bits& bits) {
  Machine& machine = grammar_->machine();
  using Interest = Expander::Interest;
  const Frame parent = machine.frame(frame.parent);
  const Interest interest = frame.b == 0 ? Interest::none : machine.expander().interest(parent);
  const std::string before =
      interest == Interest::permit ? machine.recorded(frame.b) : std::string();
  std::map<std::int32_t, ConfigId> behind;
  for (const Exit& exit : mask.exits) {
    ConfigId config = kStuck;
    if (interest == Interest::exact) {
      config =
          machine.after_lexeme(frame.parent, exit.tag, machine.record(frame.b, path_to(exit.node)));
    } else {
      if (interest == Interest::permit &&
          !machine.expander().allows(parent, before + path_to(exit.node))) {
        continue;
      }
      const auto [at, fresh] = behind.try_emplace(exit.tag, kStuck);
      if (fresh) {
        at->second = machine.after_lexeme(frame.parent, exit.tag, frame.b == 0 ? 0 : kAnyText);
      }
      config = at->second;
    }
    if (config != kStuck) {
      add_tokens(exit.node, bits);
      add_below(config, exit.node, bits);
    }
  }
}

void TokenMasks::add_below(ConfigId config, std::uint32_t node, Bits& bits) {
  Machine& machine = grammar_->machine();
  const std::vector<TokenTrie::Node>& nodes = trie_->nodes();
  below_[nodes[node].depth] = config;
  for (std::uint32_t i = node + 1; i < nodes[node].end;) {
    const ConfigId next = machine.step(below_[nodes[i].depth - 1u], nodes[i].byte);
    if (next == kStuck) {
      i = nodes[i].end;
      continue;
    }
    below_[nodes[i].depth] = next;
    add_tokens(i, bits);
    ++i;
  }
}

Result<const TokenMasks::Bits*> TokenMasks::of(ConfigId config) {
  if (const auto known = configs_.find(config); known != configs_.end()) {
    return &known->second;
  }
  Machine& machine = grammar_->machine();
  machine.budget().start_phase();
  Bits bits(words_, 0);
  const std::vector<StackId> stacks = machine.stacks(config);
  for (const StackId stack : stacks) {
    const Frame frame = machine.frame(stack);
    const LexemeMask& mask = lexeme_mask(frame.a);
    for (std::size_t i = 0; i < words_; ++i) {
      bits[i] |= mask.bits[i];
    }
    add_exits(frame, mask, bits);
  }
  if (machine.complete(config)) {
    for (const Token id : trie_->end_of_generation()) {
      if (id >= 0 && static_cast<std::size_t>(id) < trie_->n_vocab()) {
        bits[static_cast<std::size_t>(id) / 64] |= 1ull << (id % 64);
      }
    }
  }
  LM_CHECK(grammar_->check());
  if (configs_.size() * words_ * 8 > kKeptBytes) {
    configs_.clear();
  }
  return &configs_.emplace(config, std::move(bits)).first->second;
}

ConfigId TokenMasks::after(ConfigId config, Token token) {
  grammar_->machine().budget().start_phase();
  return grammar_->machine().step(config, trie_->piece(token));
}

GrammarConstraint::GrammarConstraint(std::shared_ptr<TokenMasks> masks)
    : masks_(std::move(masks)), config_(masks_->grammar().start()) {}

Result<void> GrammarConstraint::mask(std::span<std::uint8_t> allowed) {
  LM_TRY(const TokenMasks::Bits* bits, masks_->of(config_));
  std::size_t i = 0;
  for (; i + 8 <= allowed.size() && i < masks_->trie().n_vocab(); i += 8) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, allowed.data() + i, 8);
    bytes &= kSpread[(*bits)[i / 64] >> (i % 64) & 0xFF];
    std::memcpy(allowed.data() + i, &bytes, 8);
  }
  for (; i < allowed.size(); ++i) {
    const bool set = i < masks_->trie().n_vocab() && ((*bits)[i / 64] >> (i % 64) & 1) != 0;
    allowed[i] = set ? allowed[i] : 0;
  }
  if (std::all_of(bits->begin(), bits->end(), [](std::uint64_t word) { return word == 0; })) {
    return fail(ErrorCode::bad_value, "format", "allows no token of the vocabulary here");
  }
  return {};
}

Result<void> GrammarConstraint::accept(Token token) {
  return accept_text(masks_->trie().piece(token));
}

Result<void> GrammarConstraint::accept_text(std::string_view bytes) {
  Machine& machine = masks_->grammar().machine();
  machine.budget().start_phase();
  config_ = machine.step(config_, bytes);
  LM_CHECK(masks_->grammar().check());
  if (config_ == kStuck) {
    return fail(ErrorCode::bad_value, "format", "does not allow the text that was chosen");
  }
  return {};
}

}  // namespace lm::grammar
