#include "runtime/engine/prefix_cache.h"

#include <algorithm>

namespace lm {
namespace {

std::size_t common_prefix(const std::vector<Token>& a, const std::vector<Token>& b) {
  const std::size_t n = std::min(a.size(), b.size());
  return static_cast<std::size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first -
      a.begin());
}

}  // namespace

std::unique_ptr<Sequence> PrefixCache::take(const std::vector<Token>& tokens) {
  auto best = entries_.end();
  std::uint32_t best_length = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const std::uint32_t held = entry->sequence->length();
    const auto length = static_cast<std::uint32_t>(
        std::min({common_prefix(entry->tokens, tokens), std::size_t{held}, tokens.size() - 1}));
    if (length > best_length && entry->sequence->can_roll_back(held - length)) {
      best = entry;
      best_length = length;
    }
  }
  if (best == entries_.end()) {
    return nullptr;
  }
  std::unique_ptr<Sequence> sequence;
  if (best->checkpoint) {
    auto fork = best->sequence->fork();
    if (!fork) {
      return nullptr;
    }
    sequence = std::move(*fork);
    entries_.splice(entries_.end(), entries_, best);
  } else {
    sequence = std::move(best->sequence);
    entries_.erase(best);
  }
  return sequence->roll_back(sequence->length() - best_length) ? std::move(sequence) : nullptr;
}

void PrefixCache::put(std::vector<Token> tokens, std::unique_ptr<Sequence> sequence) {
  put({std::move(tokens), std::move(sequence), false});
}

void PrefixCache::put_checkpoint(std::vector<Token> tokens, std::unique_ptr<Sequence> sequence) {
  entries_.remove_if([&](const Entry& entry) {
    return entry.checkpoint && entry.tokens.size() <= tokens.size() &&
           common_prefix(entry.tokens, tokens) == entry.tokens.size();
  });
  put({std::move(tokens), std::move(sequence), true});
}

void PrefixCache::put(Entry entry) {
  if (max_entries_ == 0 || entry.sequence == nullptr || entry.sequence->length() == 0) {
    return;
  }
  entry.tokens.resize(std::min<std::size_t>(entry.tokens.size(), entry.sequence->length()));
  if (entries_.size() == max_entries_) {
    drop_oldest();
  }
  entries_.push_back(std::move(entry));
}

bool PrefixCache::drop_oldest() {
  if (entries_.empty()) {
    return false;
  }
  entries_.pop_front();
  return true;
}

}  // namespace lm
