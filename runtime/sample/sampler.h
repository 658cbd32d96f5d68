/// Logits to a token.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// What a request may choose; defaults are those of the HTTP API's options.
struct SamplerParams {
  double temperature = 0.8;  ///< 0: greedy
  std::int32_t top_k = 40;   ///< <= 0: all
  double top_p = 0.9;        ///< 1: off
  double min_p = 0.0;        ///< relative to the top probability; 0: off
  double typical_p = 1.0;    ///< 1: off
  std::int32_t repeat_last_n =
      64;                       ///< tokens the penalties look back; 0: off; -1: the whole context
  double repeat_penalty = 1.0;  ///< 1: off
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::int64_t seed = -1;  ///< -1: random
};

/// Sets one option by its API name ("top_k") from text. Errors: invalid_argument naming field,
/// value and range.
Result<void> set_sampler_param(SamplerParams& params, std::string_view name,
                               std::string_view value);
/// Names that `set_sampler_param` takes.
std::span<const std::string_view> sampler_param_names();

/// One token that may come next.
struct Candidate {
  Token id;
  float logit;
};

/// The sampler of one sequence: penalties, then top-k, typical, top-p, min-p, temperature, choice.
/// Same seed, prompt and settings give the same tokens.
class Sampler {
 public:
  Sampler(const SamplerParams& params, std::size_t n_vocab);

  /// Picks from logits [n_vocab]. `allowed`, when given, masks tokens out ([n_vocab] bits as bytes,
  /// 0 = forbidden); a suppressed token counts as forbidden. Errors: non_finite (a NaN or +Inf),
  /// bad_value (no token is allowed).
  Result<Token> pick(std::span<const float> logits, std::span<const std::uint8_t> allowed = {});
  /// Picks from a shortlist (ids and logits), for devices that return only top-k.
  Result<Token> pick(std::vector<Candidate> candidates);
  /// Tells the sampler a token of the text (prompt tokens too): penalties look back at them.
  void accept(Token token);

  std::uint64_t seed() const { return seed_; }  ///< the one in use, also when it was random

 private:
  void apply_penalties(std::vector<Candidate>& candidates) const;

  SamplerParams params_;
  std::uint64_t seed_;
  std::mt19937_64 random_;
  std::vector<Token> history_;  ///< last repeat_last_n tokens, a ring
  std::size_t history_next_ = 0;
  std::vector<std::uint32_t> count_;  ///< [n_vocab] occurrences in history_, when penalties are on
  std::vector<Candidate> scratch_;
};

}  // namespace lm
