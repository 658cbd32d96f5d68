/// What a request may choose about sampling, and the table of names and ranges behind it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// Added to the logit of one token before anything else is done.
struct LogitBias {
  Token token = 0;
  float bias = 0.0f;
  friend bool operator==(const LogitBias&, const LogitBias&) = default;
};

/// Defaults are those of the HTTP API's options.
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
  std::vector<LogitBias> logit_bias;

  double xtc_probability = 0.0;  ///< how often the likeliest tokens are left out; 0: off
  double xtc_threshold = 0.1;    ///< tokens at least this likely take part; above 0.5: off

  double dry_multiplier = 0.0;           ///< 0: off
  double dry_base = 1.75;                ///< penalty grows by this factor per repeated token
  std::int32_t dry_allowed_length = 2;   ///< repetitions up to this length are free
  std::int32_t dry_penalty_last_n = -1;  ///< tokens looked back; 0: off; -1: the whole context
  std::vector<std::string> dry_sequence_breakers = {"\n", ":", "\"", "*"};

  std::int32_t mirostat = 0;  ///< 0: off; 2: version 2, which replaces the cuts (top_k to XTC)
  double mirostat_tau = 5.0;  ///< surprise aimed at, in bits
  double mirostat_eta = 0.1;  ///< learning rate
};

/// Sets one option by its API name ("top_k") from text; `logit_bias` is a JSON object of ids and
/// biases, `dry_sequence_breakers` a JSON array of strings. Errors: invalid_argument naming field,
/// value and range.
Result<void> set_sampler_param(SamplerParams& params, std::string_view name,
                               std::string_view value);
/// Names that `set_sampler_param` takes.
std::span<const std::string_view> sampler_param_names();

}  // namespace lm
