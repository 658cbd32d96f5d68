#include "runtime/bench/step_bench.h"

#include <algorithm>
#include <chrono>
#include <random>

#include <fmt/core.h>

#include "runtime/sample/sampler.h"

namespace lm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Random tokens that are the same everywhere: distributions of the standard library are not.
class TokenStream {
 public:
  TokenStream(std::uint64_t seed, std::uint32_t n_vocab) : random_(seed), n_vocab_(n_vocab) {}
  Token next() { return static_cast<Token>(random_() % n_vocab_); }
  std::vector<Token> next(std::uint32_t n) {
    std::vector<Token> tokens(n);
    std::ranges::generate(tokens, [this] { return next(); });
    return tokens;
  }

 private:
  std::mt19937_64 random_;
  std::uint32_t n_vocab_;
};

void add_times(std::vector<OpShare>& shares, const std::vector<OpTime>& times) {
  constexpr double kMicro = 1e-6;
  for (const OpTime& time : times) {
    auto share = std::ranges::find(shares, time.name, &OpShare::name);
    if (share == shares.end()) {
      shares.push_back({.name = time.name});
      share = shares.end() - 1;
    }
    ++share->calls;
    share->seconds += time.microseconds * kMicro;
    share->bytes += static_cast<double>(time.bytes);
  }
}

}  // namespace

std::string BenchTest::name() const {
  std::string text = fmt::format("{}{}", kind == Kind::prompt ? "pp" : "tg", n);
  if (n_sequence > 1) {
    text += fmt::format("x{}", n_sequence);
  }
  return text;
}

/// Sequences with the tokens beforehand, kept for all repetitions.
Result<void> StepBench::prepare(const BenchTest& test) {
  if (before_.size() == test.n_sequence && n_before_ == test.n_before) {
    return {};
  }
  before_.clear();
  n_before_ = test.n_before;
  TokenStream stream(~std::uint64_t{0}, session_.model().n_vocab());
  for (std::uint32_t s = 0; s < test.n_sequence; ++s) {
    LM_TRY(std::unique_ptr<Sequence> sequence, session_.new_sequence());
    LM_CHECK(session_.evaluate(*sequence, stream.next(test.n_before), false, stop_, logits_));
    before_.push_back(std::move(sequence));
  }
  return {};
}

Result<void> StepBench::step(std::span<const BatchItem> items, BenchRun& run) {
  LM_CHECK(session_.step(items, stop_, logits_));
  const auto begin = Clock::now();
  ++run.n_step;
  run.work += session_.last_work();
  add_times(run.ops, session_.last_times());
  counting_seconds_ += seconds_since(begin);
  return {};
}

Result<void> StepBench::run_prompts(const BenchTest& test,
                                    std::vector<std::unique_ptr<Sequence>>& at, std::uint64_t seed,
                                    BenchRun& run) {
  TokenStream stream(seed, session_.model().n_vocab());
  for (const auto& sequence : at) {
    const std::vector<Token> tokens = stream.next(test.n);
    for (std::uint32_t begin = 0; begin < test.n; begin += session_.n_batch()) {
      const std::uint32_t n = std::min(session_.n_batch(), test.n - begin);
      const std::uint32_t last[] = {n - 1};
      const std::size_t n_output = begin + n == test.n ? 1 : 0;
      const BatchItem item{.sequence = sequence.get(),
                           .tokens = std::span(tokens).subspan(begin, n),
                           .embd = {},
                           .outputs = std::span(last).first(n_output)};
      LM_CHECK(step(std::span(&item, 1), run));
    }
  }
  return {};
}

Result<void> StepBench::run_generation(const BenchTest& test,
                                       std::vector<std::unique_ptr<Sequence>>& at,
                                       std::uint64_t seed, BenchRun& run) {
  constexpr std::uint32_t kFirstRow[] = {0};
  TokenStream stream(seed, session_.model().n_vocab());
  Sampler sampler(SamplerParams{});
  std::vector<BatchItem> items(at.size());
  for (std::uint32_t i = 0; i < test.n; ++i) {
    const std::vector<Token> tokens = stream.next(static_cast<std::uint32_t>(at.size()));
    for (std::size_t s = 0; s < at.size(); ++s) {
      items[s] = {.sequence = at[s].get(),
                  .tokens = std::span(tokens).subspan(s, 1),
                  .embd = {},
                  .outputs = kFirstRow};
    }
    LM_CHECK(step(items, run));
    const auto begin = Clock::now();
    const std::size_t width = logits_.size() / at.size();
    for (std::size_t s = 0; s < at.size(); ++s) {
      LM_TRY(const Token sampled, sampler.pick(std::span(logits_).subspan(s * width, width)));
      sampler.accept(sampled);
    }
    run.sampling_seconds += seconds_since(begin);
  }
  return {};
}

Result<void> StepBench::warm_up(const BenchTest& test) {
  constexpr std::uint32_t kSteps = 4;
  BenchTest first = test;
  first.n = std::min(test.n, test.kind == BenchTest::Kind::prompt ? session_.n_batch() : kSteps);
  LM_CHECK(run(first, 0));
  return {};
}

Result<BenchRun> StepBench::run(const BenchTest& test, std::uint32_t repetition) {
  LM_CHECK(prepare(test));
  std::vector<std::unique_ptr<Sequence>> at;
  for (const auto& sequence : before_) {
    LM_TRY(std::unique_ptr<Sequence> fork, sequence->fork());
    at.push_back(std::move(fork));
  }
  const auto go = [&](BenchRun& run) {
    return test.kind == BenchTest::Kind::prompt ? run_prompts(test, at, repetition, run)
                                                : run_generation(test, at, repetition, run);
  };
  BenchRun run;
  counting_seconds_ = 0.0;
  const auto begin = Clock::now();
  LM_CHECK(go(run));
  run.seconds = seconds_since(begin) - counting_seconds_;
  if (!logits_.empty()) {
    const std::size_t width = session_.output_width();
    run.logits.assign(logits_.end() - static_cast<std::ptrdiff_t>(std::min(width, logits_.size())),
                      logits_.end());
  }
  return run;
}

double nmse(std::span<const float> got, std::span<const float> want) {
  double error = 0.0;
  double power = 0.0;
  for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    const double difference = static_cast<double>(got[i]) - static_cast<double>(want[i]);
    error += difference * difference;
    power += static_cast<double>(want[i]) * static_cast<double>(want[i]);
  }
  return power > 0.0 ? error / power : error;
}

}  // namespace lm
