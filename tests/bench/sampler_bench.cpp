// How long a pick takes with a large vocabulary.
#include <chrono>
#include <cstdlib>
#include <random>

#include <fmt/core.h>

#include "runtime/sample/sampler.h"

namespace {

using namespace lm;

void measure(const char* name, const SamplerParams& params, const std::vector<float>& logits,
             std::size_t n_text) {
  Sampler sampler(params);
  std::mt19937 random(1);
  for (std::size_t i = 0; i < n_text; ++i) {
    sampler.accept(static_cast<Token>(random() % logits.size()));
  }
  constexpr int kRuns = 200;
  double best = 1e9;
  Token sum = 0;
  for (int i = 0; i < kRuns; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    sum ^= *sampler.pick(logits);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  fmt::print("{:<28} {:8.4f} ms  ({})\n", name, best, sum);
}

}  // namespace

/// Usage: lm_sampler_bench [VOCABULARY]
int main(int argc, char** argv) {
  const std::size_t n_vocab = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 128'256;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> logits(n_vocab);
  for (float& value : logits) {
    value = normal(random);
  }
  SamplerParams p;
  p.seed = 1;
  p.temperature = 0.0;
  measure("greedy", p, logits, 0);
  p.temperature = 0.8;
  measure("defaults (top-k 40, top-p)", p, logits, 0);
  p.repeat_penalty = 1.1;
  measure("with repeat penalty", p, logits, 1000);
  p.dry_multiplier = 0.8;
  measure("with DRY over 8192 tokens", p, logits, 8192);
  p = {};
  p.seed = 1;
  p.top_k = 0;
  measure("top-p alone", p, logits, 0);
  p.mirostat = 2;
  measure("mirostat", p, logits, 0);
  return 0;
}
