// Texts sampled under schemas from a random model, for an independent validator
// (scripts/check-grammar).
//
//   lm_grammar_samples VOCABULARY.gguf SCHEMAS.json TEXTS_PER_SCHEMA
//
// SCHEMAS.json is a list of {"name", "schema"}. Prints one JSON object a line: {"index", "name",
// "texts"}, with "warning" (pointer and problem) for schemas that lm names a keyword of, "skipped"
// for those that nothing satisfies, "failed" for texts that can't be brought to an end. A text is
// up to 40 tokens sampled at temperature 2, and then, unless it has ended, an end that is
// looked for.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "runtime/grammar/token_mask.h"
#include "tests/bench/open_vocabulary.h"

namespace {

using lm::Token;
using lm::grammar::Grammar;
using lm::grammar::GrammarConstraint;
using lm::grammar::TokenMasks;
using lm::grammar::TokenTrie;
using nlohmann::json;

constexpr std::size_t kMostFreeTokens = 40;  // sampled; then the text is brought to an end
constexpr std::size_t kMaxSearch = 20'000;   // positions looked at for an end
constexpr int kByteOfString = 6;             // cost: strings that differ multiply positions

/// Every string and scalar that stands in a schema, as JSON writes it: names and values that texts
/// may have to hold.
void collect_words(const json& schema, std::vector<std::string>& words) {
  if (schema.is_object()) {
    for (const auto& [key, value] : schema.items()) {
      words.push_back(json(key).dump());
      collect_words(value, words);
    }
  } else if (schema.is_array()) {
    for (const json& item : schema) {
      collect_words(item, words);
    }
  } else {
    words.push_back(schema.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

/// What an end is put together from, with what it costs: closing is cheap, the schema's own words
/// are next, opening is dear.
struct Word {
  std::string text;
  int cost;
};

/// One list after the other is tried: JSON's structure and the schema's words, visible ASCII too,
/// any byte.
std::vector<std::vector<Word>> end_alphabets(const json& schema) {
  std::vector<std::string> names;
  collect_words(schema, names);
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  std::vector<Word> words = {{"}", 0}, {"]", 0}, {":", 0}, {"\"", 1}, {",", 1}, {"0", 2}, {"1", 2}};
  for (std::string& name : names) {
    words.push_back({std::move(name), 2});
  }
  for (const char c : std::string_view("23456789-.a@/TZ")) {
    words.push_back({std::string(1, c), 4});
  }
  words.push_back({"[", 8});
  words.push_back({"{", 8});
  std::vector<std::vector<Word>> lists(3, words);
  for (int byte = 0; byte <= 0xFF; ++byte) {
    const Word word = {std::string(1, static_cast<char>(byte)), 4};
    if (byte > 0x20 && byte < 0x7F) {
      lists[1].push_back(word);
    }
    lists[2].push_back(word);
  }
  return lists;
}

/// Whether a text ends inside a string.
bool in_string(std::string_view text) {
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (inside && text[i] == '\\') {
      ++i;  // whatever is escaped
    } else if (text[i] == '"') {
      inside = !inside;
    }
  }
  return inside;
}

/// The cheapest text that completes what was read, found over the automaton's positions; nothing
/// when there is none.
std::optional<std::string> cheapest_end(Grammar& grammar, lm::grammar::ConfigId from,
                                        bool in_string, const std::vector<Word>& words,
                                        bool& exhausted) {
  struct Step {
    lm::grammar::ConfigId config;
    std::size_t before;
    const Word* word;
    bool in_string;
  };
  std::vector<Step> steps = {{from, 0, nullptr, in_string}};
  std::unordered_set<lm::grammar::ConfigId> seen = {from};
  using Place = std::pair<int, std::size_t>;  // cost so far, step; of equal costs the older one
  std::priority_queue<Place, std::vector<Place>, std::greater<>> open;
  open.push({0, 0});
  lm::grammar::Machine& machine = grammar.machine();
  while (!open.empty() && steps.size() < kMaxSearch) {
    const auto [cost, at] = open.top();
    open.pop();
    if (machine.complete(steps[at].config)) {
      std::vector<const Word*> way;
      for (std::size_t back = at; back != 0; back = steps[back].before) {
        way.push_back(steps[back].word);
      }
      std::string text;
      for (auto word = way.rbegin(); word != way.rend(); ++word) {
        text += (*word)->text;
      }
      return text;
    }
    machine.budget().start_phase();
    for (const Word& word : words) {
      auto next = steps[at].config;
      for (std::size_t i = 0; i < word.text.size() && next != lm::grammar::kStuck; ++i) {
        next = machine.step(next, static_cast<std::uint8_t>(word.text[i]));
      }
      if (next != lm::grammar::kStuck && seen.insert(next).second) {
        const bool quote = word.text == "\"";
        const bool inside = steps[at].in_string;
        open.push({cost + (inside && !quote ? kByteOfString : word.cost), steps.size()});
        steps.push_back({next, at, &word, inside != quote});
      }
    }
  }
  exhausted = open.empty();
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
  const auto vocabulary = lm::open_vocabulary(argv[1]);
  std::ifstream in(argv[2]);
  if (!vocabulary || !in) {
    fmt::print(stderr, "Error: can't read {} or {}\n", argv[1], argv[2]);
    return 1;
  }
  const json cases = json::parse(in);
  const int wanted = std::stoi(argv[3]);
  const auto trie = TokenTrie::of(*vocabulary->tokenizer);
  RandomModel model;
  for (std::size_t index = 0; index < cases.size(); ++index) {
    json out = {{"index", index}, {"name", cases[index]["name"]}, {"texts", json::array()}};
    const std::string schema = cases[index]["schema"].dump();
    const auto alphabets = end_alphabets(cases[index]["schema"]);
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
          std::optional<std::string> end;
          for (std::size_t i = 0; i < alphabets.size() && !end; ++i) {
            end = cheapest_end(**grammar, constraint.position(), in_string(text), alphabets[i],
                               dead_end);
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
