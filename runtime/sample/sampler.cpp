#include "runtime/sample/sampler.h"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

namespace lm {
namespace {

/// Uniform in [0, 1) from the top 53 bits: the same on every platform, which
/// std::uniform_real_distribution is not.
double uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1.0p-53;
}

bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/// Probabilities of candidates sorted by logit, summing to 1.
std::vector<double> softmax(const std::vector<Candidate>& sorted) {
  std::vector<double> p(sorted.size());
  const double top = sorted.front().logit;
  double sum = 0.0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    p[i] = std::exp(static_cast<double>(sorted[i].logit) - top);
    sum += p[i];
  }
  for (double& value : p) {
    value /= sum;
  }
  return p;
}

/// Keeps the shortest prefix whose probability reaches `top_p`.
void cut_top_p(std::vector<Candidate>& sorted, double top_p) {
  const std::vector<double> p = softmax(sorted);
  double sum = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    sum += p[i];
    if (sum >= top_p) {
      sorted.resize(i + 1);
      return;
    }
  }
}

/// Keeps what is at least `min_p` times as likely as the best.
void cut_min_p(std::vector<Candidate>& sorted, double min_p) {
  const double floor = static_cast<double>(sorted.front().logit) + std::log(min_p);
  std::size_t n = 1;
  while (n < sorted.size() && static_cast<double>(sorted[n].logit) >= floor) {
    ++n;
  }
  sorted.resize(n);
}

/// Keeps the tokens whose surprise is nearest to the expected one, until their probability reaches
/// `typical_p`. Source: locally typical sampling (Meister et al. 2022).
void cut_typical(std::vector<Candidate>& sorted, double typical_p) {
  const std::vector<double> p = softmax(sorted);
  double entropy = 0.0;
  for (const double value : p) {
    entropy -= value > 0.0 ? value * std::log(value) : 0.0;
  }
  std::vector<std::size_t> order(p.size());
  std::vector<double> distance(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    order[i] = i;
    distance[i] = p[i] > 0.0 ? std::abs(-std::log(p[i]) - entropy) : HUGE_VAL;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return distance[a] < distance[b]; });
  std::vector<Candidate> kept;
  double sum = 0.0;
  for (const std::size_t i : order) {
    kept.push_back(sorted[i]);
    sum += p[i];
    if (sum >= typical_p) {
      break;
    }
  }
  std::sort(kept.begin(), kept.end(), better);
  sorted = std::move(kept);
}

std::uint64_t choose_seed(std::int64_t seed) {
  if (seed >= 0) {
    return static_cast<std::uint64_t>(seed);
  }
  std::random_device device;
  return (std::uint64_t{device()} << 32 | device()) & 0x7fffffffffffffffu;
}

}  // namespace

Sampler::Sampler(const SamplerParams& params, std::size_t n_vocab)
    : params_(params), seed_(choose_seed(params.seed)), random_(seed_) {
  const bool penalised = params.repeat_penalty != 1.0 || params.presence_penalty != 0.0 ||
                         params.frequency_penalty != 0.0;
  if (penalised && params.repeat_last_n != 0) {
    count_.assign(n_vocab, 0);
  }
}

void Sampler::accept(Token token) {
  if (count_.empty() || token < 0 || static_cast<std::size_t>(token) >= count_.size()) {
    return;
  }
  ++count_[static_cast<std::size_t>(token)];
  const auto limit = static_cast<std::size_t>(std::max(params_.repeat_last_n, 0));
  if (params_.repeat_last_n < 0 || history_.size() < limit) {
    history_.push_back(token);
    return;
  }
  --count_[static_cast<std::size_t>(history_[history_next_])];
  history_[history_next_] = token;
  history_next_ = (history_next_ + 1) % limit;
}

void Sampler::apply_penalties(std::vector<Candidate>& candidates) const {
  for (Candidate& candidate : candidates) {
    const std::uint32_t n = count_[static_cast<std::size_t>(candidate.id)];
    if (n == 0) {
      continue;
    }
    double logit = candidate.logit;
    logit = logit > 0.0 ? logit / params_.repeat_penalty : logit * params_.repeat_penalty;
    logit -= params_.presence_penalty + params_.frequency_penalty * n;
    candidate.logit = static_cast<float>(logit);
  }
}

Result<Token> Sampler::pick(std::span<const float> logits, std::span<const std::uint8_t> allowed) {
  const bool greedy = params_.temperature <= 0.0 || params_.top_k == 1;
  if (greedy && count_.empty() && allowed.empty()) {
    // The common case of scripts and benchmarks: one pass, no list.
    std::size_t best = 0;
    bool finite = !logits.empty() && std::isfinite(logits[0]);
    for (std::size_t i = 1; i < logits.size(); ++i) {
      finite = finite && (std::isfinite(logits[i]) || logits[i] == -HUGE_VALF);
      best = logits[i] > logits[best] ? i : best;
    }
    if (!finite &&
        (logits.empty() || !std::isfinite(logits[best]) ||
         std::any_of(logits.begin(), logits.end(), [](float v) { return std::isnan(v); }))) {
      return fail(ErrorCode::non_finite, "logits", "are not finite");
    }
    return static_cast<Token>(best);
  }
  std::vector<Candidate> candidates = std::move(scratch_);
  candidates.clear();
  candidates.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (allowed.empty() || allowed[i] != 0) {
      candidates.push_back({static_cast<Token>(i), logits[i]});
    }
  }
  return pick(std::move(candidates));
}

Result<Token> Sampler::pick(std::vector<Candidate> candidates) {
  for (const Candidate& candidate : candidates) {
    if (std::isnan(candidate.logit) || candidate.logit == HUGE_VALF) {
      return fail(ErrorCode::non_finite, "logits",
                  fmt::format("are not finite (token {})", candidate.id));
    }
  }
  std::erase_if(candidates, [](const Candidate& c) { return c.logit == -HUGE_VALF; });
  if (candidates.empty()) {
    return fail(ErrorCode::bad_value, "sampler", "no token is allowed here");
  }
  if (!count_.empty()) {
    apply_penalties(candidates);
  }
  const bool greedy = params_.temperature <= 0.0 || params_.top_k == 1;
  if (greedy) {
    const Token token = std::min_element(candidates.begin(), candidates.end(), better)->id;
    scratch_ = std::move(candidates);
    return token;
  }

  const std::size_t n = candidates.size();
  const std::size_t keep =
      params_.top_k > 0 ? std::min<std::size_t>(static_cast<std::size_t>(params_.top_k), n) : n;
  if (keep < n) {
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(keep),
                     candidates.end(), better);
    candidates.resize(keep);
  }
  std::sort(candidates.begin(), candidates.end(), better);
  if (params_.typical_p > 0.0 && params_.typical_p < 1.0) {
    cut_typical(candidates, params_.typical_p);
  }
  if (params_.top_p < 1.0) {
    cut_top_p(candidates, params_.top_p);
  }
  if (params_.min_p > 0.0) {
    cut_min_p(candidates, std::min(params_.min_p, 1.0));
  }

  for (Candidate& candidate : candidates) {
    candidate.logit =
        static_cast<float>(static_cast<double>(candidate.logit) / params_.temperature);
  }
  const std::vector<double> p = softmax(candidates);
  double r = uniform(random_);
  std::size_t chosen = 0;
  while (chosen + 1 < p.size() && r >= p[chosen]) {
    r -= p[chosen++];
  }
  const Token token = candidates[chosen].id;
  scratch_ = std::move(candidates);
  return token;
}

}  // namespace lm
