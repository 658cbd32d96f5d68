#include "runtime/chat/jinja_unicode.h"

#include <algorithm>

#include "runtime/tokenizer/unicode_tables.h"

namespace lm::jinja {

namespace {

using unicode::Category;

Category category(std::uint32_t code_point) {
  const auto runs = unicode::category_runs();
  const auto after = std::ranges::upper_bound(runs, (code_point << 5) | 31);
  return after == runs.begin() ? Category::cn : static_cast<Category>(*(after - 1) & 31);
}

const CaseExpansion* find(std::span<const CaseExpansion> table, std::uint32_t code_point) {
  const auto at = std::ranges::lower_bound(table, code_point, {}, &CaseExpansion::from);
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

}  // namespace

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

bool is_space(std::uint32_t code_point) {
  if (code_point < 0x80) {
    return code_point == ' ' || (code_point >= 9 && code_point <= 13) ||
           (code_point >= 0x1C && code_point <= 0x1F);
  }
  return code_point == 0x85 || code_point == 0x2028 || code_point == 0x2029 ||
         category(code_point) == Category::zs;
}

bool is_alpha(std::uint32_t code_point) {
  return category(code_point) <= Category::lo;
}

bool is_decimal(std::uint32_t code_point) {
  return category(code_point) == Category::nd;
}

bool is_numeric(std::uint32_t code_point) {
  const Category found = category(code_point);
  return found == Category::nd || found == Category::nl || found == Category::no;
}

bool is_upper(std::uint32_t code_point) {
  return category(code_point) == Category::lu;
}
bool is_lower(std::uint32_t code_point) {
  return category(code_point) == Category::ll;
}
bool is_title(std::uint32_t code_point) {
  return category(code_point) == Category::lt;
}

bool is_printable(std::uint32_t code_point) {
  return code_point == ' ' || category(code_point) < Category::zs;
}

bool begins_name(std::uint32_t code_point) {
  return code_point == '_' || is_alpha(code_point) || category(code_point) == Category::nl;
}

bool continues_name(std::uint32_t code_point) {
  const Category found = category(code_point);
  return begins_name(code_point) || found == Category::nd || found == Category::mn ||
         found == Category::mc || found == Category::pc;
}

}  // namespace lm::jinja
