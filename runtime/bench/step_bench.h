/// Measures whole steps of a session: prompts, generation, generation of several sequences at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/engine/session.h"

namespace lm {

/// One thing to measure.
struct BenchTest {
  enum class Kind : std::uint8_t { prompt, generation };
  Kind kind = Kind::generation;
  std::uint32_t n = 0;         ///< tokens measured, of each sequence
  std::uint32_t n_before = 0;  ///< tokens in each sequence's context beforehand
  std::uint32_t n_sequence = 1;

  std::string name() const;  ///< "pp512", "tg128", "tg24x16"
};

/// One kind of op within a test, over one repetition.
struct OpShare {
  std::string name;
  std::uint32_t calls = 0;
  double seconds = 0.0;
  double bytes = 0.0;  ///< weights and KV read, as the device counts them
};

/// What one repetition gave.
struct BenchRun {
  double seconds = 0.0;           ///< of all steps with their sampling
  double sampling_seconds = 0.0;  ///< logits to tokens
  std::uint32_t n_step = 0;
  OpWork work;
  std::vector<OpShare> ops;   ///< with SessionOptions::profile; in the order of their first use
  std::vector<float> logits;  ///< of the last step's last row
};

/// Tokens are random, the same for equal tests and repetitions on every machine; what is sampled is
/// never fed, so that experts and caches see no favourite path. Sampling is part of a step's price
/// all the same. Nothing is remembered from one repetition to the next but the tokens beforehand.
class StepBench {
 public:
  /// `session` lives longer and serves nobody else. `stop` ends a run early (cancelled).
  StepBench(Session& session, const StopFlag& stop) : session_(session), stop_(stop) {}

  /// A first step of the test's size, so that plans are compiled and pages are there.
  Result<void> warm_up(const BenchTest& test);
  /// Runs repetition number `repetition`.
  Result<BenchRun> run(const BenchTest& test, std::uint32_t repetition);

 private:
  Result<void> prepare(const BenchTest& test);
  Result<void> step(std::span<const BatchItem> items, BenchRun& run);
  Result<void> run_prompts(const BenchTest& test, std::vector<std::unique_ptr<Sequence>>& at,
                           std::uint64_t seed, BenchRun& run);
  Result<void> run_generation(const BenchTest& test, std::vector<std::unique_ptr<Sequence>>& at,
                              std::uint64_t seed, BenchRun& run);

  Session& session_;
  const StopFlag& stop_;
  std::vector<std::unique_ptr<Sequence>> before_;  ///< hold n_before tokens; runs work on forks
  std::uint32_t n_before_ = 0;
  std::vector<float> logits_;
  double counting_seconds_ = 0.0;  ///< spent on adding up times and work, no part of a run
};

/// Normalised squared error of `got` against `want`: 0 for equal, 1 for unrelated.
double nmse(std::span<const float> got, std::span<const float> want);

}  // namespace lm
