#include "runtime/sample/dry.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace lm {
namespace {

/// More is as good as forbidden, and less than what a float holds.
constexpr double kMaxPenalty = 1e9;

}  // namespace

Dry::Dry(const SamplerParams& params, const Tokenizer* tokenizer)
    : multiplier_(params.dry_multiplier),
      base_(params.dry_base),
      allowed_length_(static_cast<std::size_t>(std::max(params.dry_allowed_length, 1))),
      last_n_(params.dry_penalty_last_n),
      breakers_(params.dry_sequence_breakers),
      tokenizer_(tokenizer) {
  for (const std::string& breaker : breakers_) {
    longest_breaker_ = std::max(longest_breaker_, breaker.size());
  }
}

bool Dry::completes_breaker(Token token) {
  if (tokenizer_ == nullptr || longest_breaker_ == 0) {
    return false;
  }
  const std::size_t before = tail_.size();
  tail_ += tokenizer_->piece(token);
  const bool found = std::ranges::any_of(breakers_, [&](const std::string& breaker) {
    // Only what ends inside the new piece is new.
    const std::size_t from = before + 1 > breaker.size() ? before + 1 - breaker.size() : 0;
    return !breaker.empty() && tail_.find(breaker, from) != std::string::npos;
  });
  if (tail_.size() >= longest_breaker_) {
    tail_.erase(0, tail_.size() - (longest_breaker_ - 1));
  }
  return found;
}

void Dry::accept(Token token) {
  if (!active()) {
    return;
  }
  breaks_.push_back(completes_breaker(token) ? 1 : 0);
  history_.push_back(token);
}

void Dry::apply(LogitView& logits) {
  const std::size_t n =
      last_n_ < 0 ? history_.size() : std::min(history_.size(), static_cast<std::size_t>(last_n_));
  const auto back = [this](std::size_t j) { return history_.size() - 1 - j; };
  // A repetition reaches back to the last breaker at most.
  std::size_t limit = 0;
  while (limit < n && breaks_[back(limit)] == 0) {
    ++limit;
  }
  if (limit < allowed_length_) {
    return;
  }
  // match_[j]: how many tokens before the one that stood j from the end equal the last ones.
  match_.assign(n, 0);
  std::unordered_map<Token, std::size_t> longest;
  std::size_t left = 0;
  std::size_t right = 0;
  for (std::size_t j = 1; j < n; ++j) {
    std::size_t length = j < right ? std::min<std::size_t>(right - j, match_[j - left]) : 0;
    while (j + length < n && history_[back(length)] == history_[back(j + length)]) {
      ++length;
    }
    match_[j] = static_cast<std::uint32_t>(length);
    if (j + length > right) {
      left = j;
      right = j + length;
    }
    const std::size_t repeated = std::min(length, limit);
    const std::size_t follower = back(j - 1);
    if (repeated >= allowed_length_ && breaks_[follower] == 0) {
      std::size_t& most = longest[history_[follower]];
      most = std::max(most, repeated);
    }
  }
  for (const auto& [token, repeated] : longest) {
    if (float* const logit = logits.find(token)) {
      const double penalty =
          multiplier_ * std::pow(base_, static_cast<double>(repeated - allowed_length_));
      *logit = static_cast<float>(*logit - std::min(penalty, kMaxPenalty));
    }
  }
}

}  // namespace lm
