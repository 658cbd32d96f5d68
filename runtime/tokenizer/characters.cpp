#include "runtime/tokenizer/characters.h"

#include <algorithm>

namespace lm::unicode {
namespace {

const Expansion* find(std::span<const Expansion> table, std::uint32_t code_point) {
  const auto at = std::ranges::lower_bound(table, code_point, {}, &Expansion::from);
  return at != table.end() && at->from == code_point ? &*at : nullptr;
}

std::uint32_t map(std::span<const CaseRun> table, std::uint32_t code_point) {
  // Runs overlap where strides interleave, so the few before the place are looked at too.
  auto after = std::ranges::upper_bound(table, code_point, {}, &CaseRun::first);
  for (int looked = 0; looked < 4 && after != table.begin(); ++looked) {
    --after;
    if (code_point <= after->last && (code_point - after->first) % after->stride == 0) {
      return static_cast<std::uint32_t>(static_cast<std::int32_t>(code_point) + after->delta);
    }
  }
  return code_point;
}

/// Parts of a Hangul syllable by arithmetic (The Unicode Standard, 3.12).
std::array<std::uint32_t, 3> hangul_parts(std::uint32_t syllable) {
  constexpr std::uint32_t kVowels = 21;
  constexpr std::uint32_t kTails = 28;
  const std::uint32_t index = syllable - 0xAC00;
  const std::uint32_t tail = index % kTails;
  return {0x1100 + index / (kVowels * kTails), 0x1161 + index / kTails % kVowels,
          tail == 0 ? 0 : 0x11A7 + tail};
}

}  // namespace

Category category(std::uint32_t code_point) {
  const auto runs = category_runs();
  const auto after = std::ranges::upper_bound(runs, (code_point << 5) | 31);
  return after == runs.begin() ? Category::cn : static_cast<Category>(*(after - 1) & 31);
}

std::array<std::uint32_t, 3> to_case(std::uint32_t code_point, Case wanted) {
  if (code_point < 0x80) {
    const bool small = code_point >= 'a' && code_point <= 'z';
    const bool big = code_point >= 'A' && code_point <= 'Z';
    if (wanted == Case::lower) {
      return {big ? code_point + 32 : code_point, 0, 0};
    }
    return {small ? code_point - 32 : code_point, 0, 0};
  }
  if (wanted == Case::title) {
    if (const auto* found = find(title_exceptions(), code_point)) {
      return found->to;
    }
  }
  const bool lower = wanted == Case::lower;
  if (const auto* found = find(lower ? lower_expansions() : upper_expansions(), code_point)) {
    return found->to;
  }
  return {map(lower ? lower_runs() : upper_runs(), code_point), 0, 0};
}

std::array<std::uint32_t, 3> without_accents(std::uint32_t code_point) {
  if (code_point < 0x80) {
    return {code_point, 0, 0};
  }
  if (code_point >= 0xAC00 && code_point < 0xAC00 + 11172) {
    return hangul_parts(code_point);
  }
  if (const auto* found = find(base_expansions(), code_point)) {
    return found->to;
  }
  return {category(code_point) == Category::mn ? 0 : code_point, 0, 0};
}

}  // namespace lm::unicode
