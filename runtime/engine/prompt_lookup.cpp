#include "runtime/engine/prompt_lookup.h"

#include <algorithm>

namespace lm {
namespace {

constexpr std::size_t kShortest = 3;
constexpr std::size_t kLongest = 8;

}  // namespace

std::vector<Token> lookup_draft(std::span<const Token> text, std::uint32_t n) {
  if (n == 0 || text.size() <= kShortest) {
    return {};
  }
  const std::size_t end = text.size();
  std::size_t best = 0;
  std::size_t best_length = kShortest - 1;
  // `at` is the place after an earlier occurrence, latest first.
  for (std::size_t at = end - 1; at >= kShortest && best_length < kLongest; --at) {
    std::size_t length = 0;
    while (length < kLongest && length < at && text[at - 1 - length] == text[end - 1 - length]) {
      ++length;
    }
    if (length > best_length) {
      best = at;
      best_length = length;
    }
  }
  if (best == 0) {
    return {};
  }
  const auto follow = text.subspan(best, std::min<std::size_t>(n, end - best));
  return {follow.begin(), follow.end()};
}

}  // namespace lm
