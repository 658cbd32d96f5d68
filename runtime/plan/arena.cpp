#include "runtime/plan/arena.h"

#include <algorithm>
#include <numeric>

namespace lm {
namespace {

constexpr std::uint64_t kAlignment = 256;

std::uint64_t align_up(std::uint64_t value) {
  return (value + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

std::uint64_t place(std::vector<Lifetime>& lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return lifetimes[a].bytes > lifetimes[b].bytes;
  });
  std::uint64_t total = 0;
  std::vector<const Lifetime*> placed;  // sorted by offset
  for (const std::size_t i : order) {
    Lifetime& current = lifetimes[i];
    std::uint64_t offset = 0;
    for (const Lifetime* other : placed) {
      const bool together = other->first <= current.last && current.first <= other->last;
      if (!together || other->offset + other->bytes <= offset) {
        continue;
      }
      if (offset + current.bytes <= other->offset) {
        break;
      }
      offset = align_up(other->offset + other->bytes);
    }
    current.offset = offset;
    total = std::max(total, offset + current.bytes);
    placed.insert(std::upper_bound(
                      placed.begin(), placed.end(), &current,
                      [](const Lifetime* a, const Lifetime* b) { return a->offset < b->offset; }),
                  &current);
  }
  return align_up(total);
}

}  // namespace lm
