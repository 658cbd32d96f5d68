// Texts sampled under schemas from a random model, for an independent validator
// (scripts/check-grammar).
//
//   lm_grammar_samples VOCABULARY.gguf SCHEMAS.json TEXTS_PER_SCHEMA
//
// SCHEMAS.json is a list of {"name", "schema"}. Prints one JSON object a line: {"index", "name",
// "texts"}, with "skipped" (why) for schemas that lm does not enforce in full or that nothing
// satisfies.

#include <cmath>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "runtime/gguf/gguf_file.h"
#include "runtime/grammar/token_mask.h"

namespace {

using lm::Token;
using lm::grammar::Grammar;
using lm::grammar::GrammarConstraint;
using lm::grammar::TokenMasks;
using lm::grammar::TokenTrie;
using nlohmann::json;

constexpr std::size_t kFreeTokens = 40;     // sampled as they come
constexpr std::size_t kMaxTokens = 20'000;  // then the text counts as endless

/// Logits are normal and the temperature is 2, so the choice is softmax(z / 2). Later the model
/// learns to like closing characters: otherwise random texts hardly ever end.
class RandomModel {
 public:
  explicit RandomModel(const TokenTrie& trie) : trie_(trie) {}

  Token pick(const std::vector<std::uint8_t>& allowed, std::size_t n_so_far) {
    std::normal_distribution<double> logit;
    double total = 0;
    Token chosen = lm::kNoId;
    for (std::size_t i = 0; i < allowed.size(); ++i) {
      if (allowed[i] == 0) {
        continue;
      }
      const auto id = static_cast<Token>(i);
      const double weight =
          std::exp(logit(random_) / 2) * (n_so_far < kFreeTokens ? 1 : liking(id));
      total += weight;
      if (std::uniform_real_distribution<>(0, total)(random_) < weight) {
        chosen = id;
      }
    }
    return chosen;
  }

 private:
  double liking(Token id) const {
    const std::string_view piece = trie_.piece(id);
    if (piece.empty()) {
      return 1e8;
    }
    if (piece.size() == 1) {
      return std::string_view("\"]}").find(piece[0]) != std::string_view::npos ? 1e5 : 10;
    }
    return 1e-3;
  }
  const TokenTrie& trie_;
  std::mt19937_64 random_{20261121};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: lm_grammar_samples VOCABULARY.gguf SCHEMAS.json TEXTS_PER_SCHEMA\n");
    return 2;
  }
  const auto file = lm::GgufFile::open(argv[1]);
  const auto tokenizer =
      file ? lm::Tokenizer::create(file->metadata()) : std::unexpected(file.error());
  std::ifstream in(argv[2]);
  if (!tokenizer || !in) {
    fmt::print(stderr, "Error: can't read {} or {}\n", argv[1], argv[2]);
    return 1;
  }
  const json cases = json::parse(in);
  const int wanted = std::stoi(argv[3]);
  const auto trie = TokenTrie::of(**tokenizer);
  RandomModel model(*trie);
  for (std::size_t index = 0; index < cases.size(); ++index) {
    json out = {{"index", index}, {"name", cases[index]["name"]}, {"texts", json::array()}};
    const auto grammar = Grammar::from_schema(cases[index]["schema"].dump());
    if (!grammar) {
      out["skipped"] = grammar.error().subject + " " + grammar.error().problem;
    } else if (!(*grammar)->warnings().empty()) {
      out["skipped"] = (*grammar)->warnings()[0].pointer + " " + (*grammar)->warnings()[0].problem;
    } else if ((*grammar)->start() == lm::grammar::kStuck) {
      out["skipped"] = "nothing satisfies it";
    } else {
      const auto masks = std::make_shared<TokenMasks>(*grammar, trie);
      for (int k = 0; k < wanted; ++k) {
        GrammarConstraint constraint(masks);
        std::string text;
        std::string problem = "endless";
        for (std::size_t n = 0; n < kMaxTokens; ++n) {
          std::vector<std::uint8_t> allowed(trie->n_vocab(), 1);
          if (const auto masked = constraint.mask(allowed); !masked) {
            problem = masked.error().problem;
            break;
          }
          const Token chosen = model.pick(allowed, n);
          if (chosen == lm::kNoId || trie->piece(chosen).empty()) {
            problem.clear();
            break;
          }
          text += trie->piece(chosen);
          if (const auto taken = constraint.accept(chosen); !taken) {
            problem = taken.error().problem;
            break;
          }
          if (constraint.is_finished()) {
            problem.clear();
            break;
          }
        }
        if (problem.empty()) {
          out["texts"].push_back(text);
        } else {
          out["failed"].push_back(problem + ": " + text.substr(0, 200));
        }
      }
    }
    fmt::print("{}\n", out.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  return 0;
}
