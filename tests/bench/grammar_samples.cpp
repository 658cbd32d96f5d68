// Texts sampled under schemas from a random model, for an independent validator
// (scripts/check-grammar).
//
//   lm_grammar_samples VOCABULARY.gguf SCHEMAS.json TEXTS_PER_SCHEMA
//
// SCHEMAS.json is a list of {"name", "schema"}. Prints one JSON object a line: {"index", "name",
// "texts"}, with "warning" (pointer and problem) for schemas that lm names a keyword of, "skipped"
// for those that nothing satisfies, "failed" for texts that can't be brought to an end. A text is
// up to 40 tokens sampled at temperature 2, and then, unless it has ended, its shortest end.

#include <cmath>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <unordered_set>
#include <utility>
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

constexpr std::size_t kMostFreeTokens = 40;  // sampled; then the text is brought to an end
constexpr std::size_t kMaxSearch = 4'000;    // positions looked at for an end

/// The shortest text that completes what was read, found breadth first over the automaton's
/// positions; nothing when there is none. Without `any_byte` only visible ASCII is tried.
std::optional<std::string> shortest_end(Grammar& grammar, lm::grammar::ConfigId from, bool any_byte,
                                        bool& exhausted) {
  struct Step {
    lm::grammar::ConfigId config;
    std::size_t before;
    char byte;
  };
  std::vector<Step> steps = {{from, 0, 0}};
  std::unordered_set<lm::grammar::ConfigId> seen = {from};
  lm::grammar::Machine& machine = grammar.machine();
  for (std::size_t at = 0; at < steps.size() && at < kMaxSearch; ++at) {
    if (machine.complete(steps[at].config)) {
      std::string text;
      for (std::size_t back = at; back != 0; back = steps[back].before) {
        text.push_back(steps[back].byte);
      }
      return std::string(text.rbegin(), text.rend());
    }
    machine.budget().start_phase();
    for (int byte = any_byte ? 0 : 0x21; byte < (any_byte ? 0x100 : 0x7F); ++byte) {
      if (!any_byte && byte == '\\') {
        continue;
      }
      const auto next = machine.step(steps[at].config, static_cast<std::uint8_t>(byte));
      if (next != lm::grammar::kStuck && seen.insert(next).second) {
        steps.push_back({next, at, static_cast<char>(byte)});
      }
    }
  }
  exhausted = steps.size() < kMaxSearch;
  return std::nullopt;
}

/// Logits are normal and the temperature is 2, so the choice is softmax(z / 2).
class RandomModel {
 public:
  RandomModel() : weights_(kWeights) {
    std::normal_distribution<double> logit;
    for (double& weight : weights_) {
      weight = std::exp(logit(random_) / 2);
    }
  }

  Token pick(const std::vector<std::uint8_t>& allowed) {
    // Each step reads the table from another place.
    const std::size_t shift = random_() % kWeights;
    const auto weight = [&](std::size_t i) { return weights_[(i + shift) % kWeights]; };
    double total = 0;
    for (std::size_t i = 0; i < allowed.size(); ++i) {
      total += allowed[i] != 0 ? weight(i) : 0;
    }
    double left = std::uniform_real_distribution<>(0, total)(random_);
    Token chosen = lm::kNoId;
    for (std::size_t i = 0; i < allowed.size() && left >= 0; ++i) {
      if (allowed[i] != 0) {
        chosen = static_cast<Token>(i);
        left -= weight(i);
      }
    }
    return chosen;
  }
  std::size_t length() { return random_() % (kMostFreeTokens + 1); }

 private:
  static constexpr std::size_t kWeights = std::size_t{1} << 19;
  std::mt19937_64 random_{20261121};
  std::vector<double> weights_;
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
  RandomModel model;
  for (std::size_t index = 0; index < cases.size(); ++index) {
    json out = {{"index", index}, {"name", cases[index]["name"]}, {"texts", json::array()}};
    const std::string schema = cases[index]["schema"].dump();
    auto grammar = Grammar::from_schema(schema);
    if (!grammar) {
      out["skipped"] = grammar.error().subject + " " + grammar.error().problem;
    } else if ((*grammar)->start() == lm::grammar::kStuck) {
      out["skipped"] = "nothing satisfies it";
    } else {
      if (const auto& warnings = (*grammar)->warnings(); !warnings.empty()) {
        out["warning"] = warnings[0].pointer + " " + warnings[0].problem;
      }
      auto masks = std::make_shared<TokenMasks>(*grammar, trie);
      for (int k = 0; k < wanted; ++k) {
        if ((*grammar)->worn()) {
          grammar = Grammar::from_schema(schema);
          masks = std::make_shared<TokenMasks>(*grammar, trie);
        }
        GrammarConstraint constraint(masks);
        std::string text;
        std::string problem;
        bool ended = false;
        for (std::size_t n = model.length(); n > 0 && !ended && problem.empty(); --n) {
          std::vector<std::uint8_t> allowed(trie->n_vocab(), 1);
          if (const auto masked = constraint.mask(allowed); !masked) {
            problem = masked.error().problem;
            break;
          }
          const Token chosen = model.pick(allowed);
          if (chosen == lm::kNoId || trie->piece(chosen).empty()) {
            ended = true;
            break;
          }
          text += trie->piece(chosen);
          if (const auto taken = constraint.accept(chosen); !taken) {
            problem = taken.error().problem;
          }
          ended = constraint.is_finished();
        }
        if (!ended && problem.empty()) {
          bool dead_end = false;
          auto end = shortest_end(**grammar, constraint.position(), false, dead_end);
          if (!end) {
            end = shortest_end(**grammar, constraint.position(), true, dead_end);
          }
          text += end.value_or("");
          if (!end && !dead_end) {  // there may be one further away
            out["cut"] = out.value("cut", 0) + 1;
            continue;
          }
          problem = end ? "" : "no end";
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
