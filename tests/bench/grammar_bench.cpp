// What a mask costs, over a real vocabulary: microseconds a step for texts that a schema allows,
// beside the compile. The budget is 5 % of a decode step (a 1b model on a CPU takes about 25 ms).
//
//   lm_grammar_bench VOCABULARY.gguf

#include <algorithm>
#include <chrono>
#include <ctime>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "runtime/grammar/token_mask.h"
#include "tests/bench/open_vocabulary.h"

namespace {

using lm::Token;
using lm::grammar::Grammar;
using lm::grammar::GrammarConstraint;
using lm::grammar::TokenMasks;
using lm::grammar::TokenTrie;

/// Time that this thread has computed: other work on the machine does not count.
struct Clock {
  using time_point = std::chrono::nanoseconds;
  static time_point now() {
    timespec at{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return std::chrono::seconds(at.tv_sec) + std::chrono::nanoseconds(at.tv_nsec);
  }
};

double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

struct Case {
  const char* name;
  const char* schema;
  const char* text;
};

constexpr Case kCases[] = {
    {"json mode", R"({"type":"object"})",
     R"({"title": "The quick brown fox", "year": 1987, "tags": ["a", "b", "c"], "price": 12.5,
"author": {"first": "Ada", "last": "Lovelace", "alive": false}, "notes": null,
"text": "It was a bright cold day in April, and the clocks were striking thirteen."})"},
    {"person", R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer",
"minimum":0,"maximum":150},"email":{"type":"string","format":"email"},"role":{"enum":["admin",
"user","guest"]},"born":{"type":"string","format":"date"}},"required":["name","age","email","role"],
"additionalProperties":false})",
     R"({"name": "Grace Hopper", "age": 85, "email": "grace.hopper@example.com", "role": "admin",
"born": "1906-12-09"})"},
    {"nested lists",
     R"({"$defs":{"step":{"type":"object","properties":{"explanation":{"type":"string",
"maxLength":200},"output":{"type":"string","pattern":"^[a-z0-9 =+*-]+$"}},
"required":["explanation","output"],"additionalProperties":false}},"type":"object",
"properties":{"steps":{"type":"array","items":{"$ref":"#/$defs/step"},"maxItems":10},
"answer":{"type":"number"}},"required":["steps","answer"],"additionalProperties":false})",
     R"({"steps": [{"explanation": "Subtract seven from both sides of the equation.",
"output": "8x = 30"}, {"explanation": "Divide both sides by eight, and simplify the fraction.",
"output": "x = 30 * 8"}, {"explanation": "Check.", "output": "ok"}], "answer": 3.75})"},
    {"tool call",
     R"({"oneOf":[{"type":"object","properties":{"name":{"const":"get_weather"},"arguments":
{"type":"object","properties":{"city":{"type":"string"},"unit":{"enum":["c","f"]}},
"required":["city"],"additionalProperties":false}},"required":["name","arguments"],
"additionalProperties":false},{"type":"object","properties":{"name":{"const":"search"},"arguments":
{"type":"object","properties":{"query":{"type":"string","minLength":1},"limit":{"type":"integer"}},
"required":["query"],"additionalProperties":false}},"required":["name","arguments"],
"additionalProperties":false}]})",
     R"({"name": "search", "arguments": {"query": "weather in San Francisco tomorrow", "limit": 10}})"},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: lm_grammar_bench VOCABULARY.gguf\n");
    return 2;
  }
  const auto vocabulary = lm::open_vocabulary(argv[1]);
  if (!vocabulary) {
    fmt::print(stderr, "Error: {}: {}\n", vocabulary.error().subject, vocabulary.error().problem);
    return 1;
  }
  auto begin = Clock::now();
  const auto trie = TokenTrie::of(*vocabulary->tokenizer);
  fmt::print("{} tokens, {} nodes, built in {:.1f} ms\n", trie->n_vocab(), trie->size(),
             us_since(begin) / 1000);
  fmt::print("{:<14}{:>12}{:>8}{:>12}{:>12}{:>12}{:>12}\n", "schema", "compile ms", "steps",
             "mean us", "p99 us", "max us", "again us");
  for (const Case& c : kCases) {
    begin = Clock::now();
    const auto grammar = Grammar::from_schema(c.schema);
    const double compile_us = us_since(begin);
    if (!grammar) {
      fmt::print(stderr, "Error: {}: {}\n", grammar.error().subject, grammar.error().problem);
      return 1;
    }
    std::vector<Token> ids;
    vocabulary->tokenizer->encode(c.text, lm::SpecialTokens::as_text, false, ids);
    const auto masks = std::make_shared<TokenMasks>(*grammar, trie);
    std::vector<double> first, again;
    for (std::vector<double>* times : {&first, &again}) {
      GrammarConstraint constraint(masks);
      std::vector<std::uint8_t> allowed;
      for (const Token id : ids) {
        allowed.assign(trie->n_vocab(), 1);
        begin = Clock::now();
        const auto masked = constraint.mask(allowed);
        const bool fits = masked && allowed[static_cast<std::size_t>(id)] != 0;
        if (!fits || !constraint.accept(id)) {
          fmt::print(stderr, "Error: {}: the text is not allowed\n", c.name);
          return 1;
        }
        times->push_back(us_since(begin));
      }
    }
    const auto mean = [](const std::vector<double>& v) {
      return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
    };
    const double first_mean = mean(first), again_mean = mean(again);
    std::sort(first.begin(), first.end());
    fmt::print("{:<14}{:>12.2f}{:>8}{:>12.1f}{:>12.1f}{:>12.1f}{:>12.1f}\n", c.name,
               compile_us / 1000, first.size(), first_mean, first[first.size() * 99 / 100],
               first.back(), again_mean);
  }
  return 0;
}
