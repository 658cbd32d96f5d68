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
  std::size_t best_length = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const std::size_t length =
        std::min({common_prefix(entry->tokens, tokens), std::size_t{entry->sequence->length()},
                  tokens.size() - 1});
    if (length > best_length) {
      best = entry;
      best_length = length;
    }
  }
  if (best == entries_.end()) {
    return nullptr;
  }
  std::unique_ptr<Sequence> sequence = std::move(best->sequence);
  entries_.erase(best);
  // A recurrent state can't be rolled back: then the sequence is of no use.
  const auto surplus = static_cast<std::uint32_t>(sequence->length() - best_length);
  return sequence->roll_back(surplus) ? std::move(sequence) : nullptr;
}

void PrefixCache::put(std::vector<Token> tokens, std::unique_ptr<Sequence> sequence) {
  if (max_entries_ == 0 || sequence == nullptr || sequence->length() == 0) {
    return;
  }
  tokens.resize(std::min<std::size_t>(tokens.size(), sequence->length()));
  if (entries_.size() == max_entries_) {
    drop_oldest();
  }
  entries_.push_back({std::move(tokens), std::move(sequence)});
}

bool PrefixCache::drop_oldest() {
  if (entries_.empty()) {
    return false;
  }
  entries_.pop_front();
  return true;
}

}  // namespace lm
