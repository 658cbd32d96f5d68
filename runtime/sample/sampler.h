/// Logits to a token.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "runtime/sample/candidate.h"
#include "runtime/sample/dry.h"
#include "runtime/sample/logit_scan.h"
#include "runtime/sample/mirostat.h"
#include "runtime/sample/repeat_penalty.h"
#include "runtime/sample/sampler_params.h"

namespace lm {

/// The sampler of one sequence, a chain of small stages: bias, penalties and DRY change logits;
/// top-k, typical, top-p, min-p and XTC (or Mirostat instead of them) cut; temperature; choice.
/// Same seed, prompt and settings give the same tokens.
class Sampler {
 public:
  /// `tokenizer` serves DRY's sequence breakers and must live longer; null: there are none.
  explicit Sampler(const SamplerParams& params, const Tokenizer* tokenizer = nullptr);

  /// Picks from logits [n_vocab]. `allowed`, when given, masks tokens out ([n_vocab] bits as bytes,
  /// 0 = forbidden); a suppressed token counts as forbidden. Errors: non_finite (a NaN or +Inf),
  /// bad_value (no token is allowed).
  Result<Token> pick(std::span<const float> logits, std::span<const std::uint8_t> allowed = {});
  /// Picks from a shortlist (ids and logits), for devices that return only top-k.
  Result<Token> pick(std::vector<Candidate> shortlist);

  /// What `pick` draws from: the tokens left by all stages with their probabilities, summing to 1.
  /// Valid until the next call. Errors: as pick.
  Result<std::span<const Weighted>> distribution(std::span<const float> logits,
                                                 std::span<const std::uint8_t> allowed = {});

  struct Verdict {
    Token token;
    bool accepted;  ///< `token` is the drafted one
  };
  /// Picks after a smaller model has drafted `drafted` from its own distribution `q`: the draft is
  /// taken with probability min(1, p / q), else a token is drawn from max(0, p - q), so that the
  /// result is distributed as `pick`'s. Source: speculative decoding (Leviathan et al. 2023).
  Result<Verdict> verify(std::span<const float> logits, std::span<const std::uint8_t> allowed,
                         Token drafted, std::span<const Weighted> q);

  /// Draws from a distribution with this sampler's random numbers.
  Token draw(std::span<const Weighted> weights);
  /// Tells the sampler a token of the text (prompt tokens too): penalties look back at them.
  void accept(Token token);

  bool greedy() const { return params_.temperature <= 0.0 || params_.top_k == 1; }
  std::uint64_t seed() const { return seed_; }  ///< the one in use, also when it was random

 private:
  bool edits() const { return !params_.logit_bias.empty() || penalty_.active() || dry_.active(); }
  void edit(LogitView logits);
  Result<void> scan(std::span<const float> logits, std::span<const std::uint8_t> allowed);
  bool shortlist();
  void weigh(bool top_p_is_done);
  Token settle(Token token);

  SamplerParams params_;
  std::uint64_t seed_;
  std::mt19937_64 random_;
  RepeatPenalty penalty_;
  Dry dry_;
  Mirostat mirostat_;
  LogitScan scan_;
  std::vector<float> edited_;
  std::vector<Candidate> candidates_;
  std::vector<Weighted> weights_, rest_;
};

}  // namespace lm
