#include "runtime/tokenizer/code_set.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "runtime/tokenizer/unicode_tables.h"

namespace lm::tokenizer {
namespace {

// In the order of unicode::Category.
constexpr std::array<std::string_view, 30> kCategoryNames = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};

}  // namespace

CodeSet CodeSet::range(char32_t first, char32_t last) {
  CodeSet set;
  if (first <= last) {
    set.ranges_.push_back({first, last + 1});
  }
  return set;
}

CodeSet CodeSet::white_space() {
  CodeSet set = *property("Z");
  set.add(range(0x09, 0x0D));
  set.add(single(0x85));
  return set;
}

std::optional<CodeSet> CodeSet::property(std::string_view name) {
  CodeSet set;
  if (name == "Han") {
    const auto bounds = unicode::han_bounds();
    for (std::size_t i = 0; i + 1 < bounds.size(); i += 2) {
      set.ranges_.push_back({bounds[i], bounds[i + 1]});
    }
    return set;
  }
  std::uint32_t wanted = 0;
  for (std::size_t i = 0; i < kCategoryNames.size(); ++i) {
    if (kCategoryNames[i] == name || (name.size() == 1 && kCategoryNames[i][0] == name[0])) {
      wanted |= 1u << i;
    }
  }
  if (wanted == 0) {
    return std::nullopt;
  }
  const auto runs = unicode::category_runs();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if ((wanted >> (runs[i] & 31) & 1) == 0) {
      continue;
    }
    const char32_t first = runs[i] >> 5;
    const char32_t end = i + 1 < runs.size() ? char32_t{runs[i + 1] >> 5} : unicode::kEnd;
    if (!set.ranges_.empty() && set.ranges_.back().end == first) {
      set.ranges_.back().end = end;
    } else {
      set.ranges_.push_back({first, end});
    }
  }
  return set;
}

void CodeSet::add(const CodeSet& other) {
  std::vector<Range> all;
  all.reserve(ranges_.size() + other.ranges_.size());
  std::merge(ranges_.begin(), ranges_.end(), other.ranges_.begin(), other.ranges_.end(),
             std::back_inserter(all),
             [](const Range& a, const Range& b) { return a.first < b.first; });
  ranges_.clear();
  for (const Range& next : all) {
    if (!ranges_.empty() && next.first <= ranges_.back().end) {
      ranges_.back().end = std::max(ranges_.back().end, next.end);
    } else {
      ranges_.push_back(next);
    }
  }
}

void CodeSet::invert() {
  std::vector<Range> outside;
  outside.reserve(ranges_.size() + 1);
  char32_t from = 0;
  for (const Range& inside : ranges_) {
    if (from < inside.first) {
      outside.push_back({from, inside.first});
    }
    from = inside.end;
  }
  if (from < unicode::kEnd) {
    outside.push_back({from, unicode::kEnd});
  }
  ranges_ = std::move(outside);
}

bool CodeSet::contains(char32_t code_point) const {
  const auto above = std::upper_bound(ranges_.begin(), ranges_.end(), code_point,
                                      [](char32_t c, const Range& r) { return c < r.first; });
  return above != ranges_.begin() && code_point < std::prev(above)->end;
}

}  // namespace lm::tokenizer
