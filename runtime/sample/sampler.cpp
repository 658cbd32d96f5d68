#include "runtime/sample/sampler.h"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

#include "runtime/sample/cuts.h"

namespace lm {
namespace {

/// Uniform in [0, 1) from the top 53 bits: the same on every platform, which
/// std::uniform_real_distribution is not.
double uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1.0p-53;
}

std::uint64_t choose_seed(std::int64_t seed) {
  if (seed >= 0) {
    return static_cast<std::uint64_t>(seed);
  }
  std::random_device device;
  return (std::uint64_t{device()} << 32 | device()) & 0x7fffffffffffffffu;
}

std::unexpected<Error> nothing_allowed() {
  return fail(ErrorCode::bad_value, "sampler", "no token is allowed here");
}

double probability_of(std::span<const Weighted> weights, Token token) {
  const auto at = std::ranges::find(weights, token, &Weighted::id);
  return at == weights.end() ? 0.0 : at->p;
}

}  // namespace

Sampler::Sampler(const SamplerParams& params, const Tokenizer* tokenizer)
    : params_(params),
      seed_(choose_seed(params.seed)),
      random_(seed_),
      penalty_(params),
      dry_(params, tokenizer),
      mirostat_(params.mirostat_tau, params.mirostat_eta) {}

void Sampler::accept(Token token) {
  penalty_.accept(token);
  dry_.accept(token);
}

void Sampler::edit(LogitView logits) {
  for (const LogitBias& bias : params_.logit_bias) {
    if (float* const logit = logits.find(bias.token)) {
      *logit += bias.bias;
    }
  }
  if (penalty_.active()) {
    penalty_.apply(logits);
  }
  if (dry_.active()) {
    dry_.apply(logits);
  }
}

/// Changes logits where something asks for it and looks at all of them once.
Result<void> Sampler::scan(std::span<const float> logits, std::span<const std::uint8_t> allowed) {
  if (!allowed.empty() || edits()) {
    edited_.assign(logits.begin(), logits.end());
    for (std::size_t i = 0; i < allowed.size(); ++i) {
      edited_[i] = allowed[i] != 0 ? edited_[i] : -HUGE_VALF;
    }
    edit(LogitView(edited_));
    logits = edited_;
  }
  scan_.scan(logits);
  if (!scan_.valid()) {
    return fail(ErrorCode::non_finite, "logits", "are not finite");
  }
  if (scan_.best() == -HUGE_VALF) {
    return nothing_allowed();
  }
  return {};
}

/// The candidates that cuts begin with: the top k, or what top-p alone keeps (then true), or all.
bool Sampler::shortlist() {
  constexpr std::size_t kFewEnough = 1024;
  const bool cuts = params_.mirostat == 0;
  if (cuts && params_.top_k > 0) {
    scan_.top(static_cast<std::size_t>(params_.top_k), candidates_);
    return false;
  }
  const bool typical = params_.typical_p > 0.0 && params_.typical_p < 1.0;
  if (cuts && !typical && params_.top_p < 1.0) {
    // Sorting a whole vocabulary takes ten milliseconds; the prefix is nearly always short.
    scan_.top(kFewEnough, candidates_);
    if (cut_top_p(candidates_, params_.top_p, scan_.log_sum_exp())) {
      return true;
    }
  }
  scan_.top(0, candidates_);
  return false;
}

/// Candidates, best first, to weights: cuts, temperature, softmax.
void Sampler::weigh(bool top_p_is_done) {
  const bool mirostat = params_.mirostat != 0;
  if (!mirostat) {
    if (params_.typical_p > 0.0 && params_.typical_p < 1.0) {
      cut_typical(candidates_, params_.typical_p);
    }
    if (params_.top_p < 1.0 && !top_p_is_done) {
      cut_top_p(candidates_, params_.top_p);
    }
    if (params_.min_p > 0.0) {
      cut_min_p(candidates_, std::min(params_.min_p, 1.0));
    }
    if (params_.xtc_probability > 0.0 && params_.xtc_threshold <= 0.5 &&
        uniform(random_) < params_.xtc_probability) {
      cut_xtc(candidates_, params_.xtc_threshold);
    }
  }
  const std::vector<double> p = softmax(candidates_, params_.temperature);
  weights_.clear();
  for (std::size_t i = 0; i < p.size(); ++i) {
    weights_.push_back({candidates_[i].id, p[i]});
  }
  if (mirostat) {
    mirostat_.cut(weights_);
  }
}

Token Sampler::draw(std::span<const Weighted> weights) {
  double r = uniform(random_);
  std::size_t chosen = 0;
  while (chosen + 1 < weights.size() && r >= weights[chosen].p) {
    r -= weights[chosen++].p;
  }
  return weights[chosen].id;
}

/// What follows a choice from `weights_`.
Token Sampler::settle(Token token) {
  if (params_.mirostat != 0 && !greedy()) {
    mirostat_.took(std::max(probability_of(weights_, token), 1e-30));
  }
  return token;
}

Result<std::span<const Weighted>> Sampler::distribution(std::span<const float> logits,
                                                        std::span<const std::uint8_t> allowed) {
  LM_CHECK(scan(logits, allowed));
  if (greedy()) {
    weights_.assign(1, {scan_.argmax(), 1.0});
    return weights_;
  }
  weigh(shortlist());
  return weights_;
}

Result<Token> Sampler::pick(std::span<const float> logits, std::span<const std::uint8_t> allowed) {
  LM_TRY(const std::span<const Weighted> weights, distribution(logits, allowed));
  return weights.size() == 1 ? settle(weights.front().id) : settle(draw(weights));
}

Result<Token> Sampler::pick(std::vector<Candidate> shortlist) {
  for (const Candidate& candidate : shortlist) {
    if (std::isnan(candidate.logit) || candidate.logit == HUGE_VALF) {
      return fail(ErrorCode::non_finite, "logits",
                  fmt::format("are not finite (token {})", candidate.id));
    }
  }
  std::erase_if(shortlist, [](const Candidate& c) { return c.logit == -HUGE_VALF; });
  if (shortlist.empty()) {
    return nothing_allowed();
  }
  if (edits()) {
    edit(LogitView(shortlist));
  }
  candidates_ = std::move(shortlist);
  std::sort(candidates_.begin(), candidates_.end(), better);
  if (greedy()) {
    return candidates_.front().id;
  }
  if (params_.top_k > 0 && params_.mirostat == 0 &&
      candidates_.size() > static_cast<std::size_t>(params_.top_k)) {
    candidates_.resize(static_cast<std::size_t>(params_.top_k));
  }
  weigh(false);
  return settle(weights_.size() == 1 ? weights_.front().id : draw(weights_));
}

Result<Sampler::Verdict> Sampler::verify(std::span<const float> logits,
                                         std::span<const std::uint8_t> allowed, Token drafted,
                                         std::span<const Weighted> q) {
  LM_TRY(const std::span<const Weighted> p, distribution(logits, allowed));
  const double p_drafted = probability_of(p, drafted);
  const double q_drafted = probability_of(q, drafted);
  if (q_drafted > 0.0 && uniform(random_) * q_drafted < p_drafted) {
    return Verdict{settle(drafted), true};
  }
  rest_.clear();
  double sum = 0.0;
  for (const Weighted& candidate : p) {
    const double left = candidate.p - probability_of(q, candidate.id);
    if (left > 0.0) {
      rest_.push_back({candidate.id, left});
      sum += left;
    }
  }
  if (rest_.empty()) {
    // p equals q to the last bit: rejection then has no probability but that of rounding.
    return Verdict{settle(draw(p)), false};
  }
  for (Weighted& candidate : rest_) {
    candidate.p /= sum;
  }
  return Verdict{settle(draw(rest_)), false};
}

}  // namespace lm
