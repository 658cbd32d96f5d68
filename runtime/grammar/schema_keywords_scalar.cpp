// Keywords about numbers and strings.
#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>

#include <fmt/core.h>

#include "runtime/grammar/pattern.h"
#include "runtime/grammar/schema_keywords.h"
#include "runtime/grammar/string_formats.h"

namespace lm::grammar {

using nlohmann::json;

namespace {

constexpr std::uint64_t kMaxModulus = 1'000'000;

}  // namespace

NodeId equal_numbers(RegexPool& pool, const std::vector<Decimal>& values) {
  std::vector<std::u32string> integers, fractions;
  for (const Decimal& value : values) {
    const std::string text = value.text();
    (value.is_integer() ? integers : fractions).emplace_back(text.begin(), text.end());
    if (value.is_zero()) {
      integers.emplace_back(U"-0");
    }
  }
  const NodeId zeros = pool.star(pool.literal(U"0"));
  const NodeId nothing_behind_point = pool.optional(pool.concat(pool.literal(U".0"), zeros));
  return pool.alt({pool.concat(pool.any_of(std::move(integers)), nothing_behind_point),
                   pool.concat(pool.any_of(std::move(fractions)), zeros)});
}

void KeywordReader::numbers() {
  const auto bound = [&](std::string_view keyword, Relation relation) {
    // Draft 4 wrote exclusiveMinimum: true beside minimum.
    const bool is_flag = has(keyword) && find(keyword)->is_boolean();
    if (is_flag) {
      return;
    }
    const std::string flag = relation == Relation::at_least  ? "exclusiveMinimum"
                             : relation == Relation::at_most ? "exclusiveMaximum"
                                                             : "";
    if (!flag.empty() && has(flag) && *find(flag) == json(true)) {
      relation = relation == Relation::at_least ? Relation::above : Relation::below;
    }
    if (const std::optional<Decimal> value = number(keyword)) {
      add(numbers_in(pool_.both({algebra_.any_number(), pool_.compare(relation, *value)})));
    }
  };
  bound("minimum", Relation::at_least);
  bound("maximum", Relation::at_most);
  bound("exclusiveMinimum", Relation::above);
  bound("exclusiveMaximum", Relation::below);
  const std::optional<Decimal> factor = number("multipleOf");
  if (!factor) {
    return;
  }
  if (factor->negative || factor->is_zero()) {
    bad("multipleOf", "is not above 0");
    return;
  }
  const std::string digits = factor->whole + factor->fraction;
  const std::size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  if (digits.size() - first > 7 || std::stoull(digits.substr(first)) > kMaxModulus) {
    warn("multipleOf", "is not enforced: it has more than six digits");
    return;
  }
  add(numbers_in(
      pool_.both({algebra_.any_number(),
                  pool_.multiple_of(std::stoull(digits.substr(first)),
                                    static_cast<std::uint32_t>(factor->fraction.size()))})));
}

void KeywordReader::strings() {
  const auto restrict_to = [&](NodeId language) {
    Normal n = algebra_.all();
    n.string = language;
    add(n);
  };
  const std::optional<std::uint64_t> least = count("minLength", true);
  const std::optional<std::uint64_t> most = count("maxLength", false);
  if (least || most) {
    if (most && least && *most < *least) {
      restrict_to(RegexPool::kNone);
    } else {
      const std::uint64_t limit = most ? std::min<std::uint64_t>(*most, kUnbounded) : kUnbounded;
      restrict_to(pool_.repeat(pool_.set(CodeSet::range(0, kCodeEnd - 1)),
                               static_cast<std::uint32_t>(least.value_or(0)),
                               static_cast<std::uint32_t>(limit)));
    }
  }
  if (const json* pattern = find("pattern")) {
    if (!pattern->is_string()) {
      bad("pattern", "is not a string");
    } else if (const Result<NodeId> language =
                   compile_pattern(pool_, pattern->get_ref<const std::string&>())) {
      restrict_to(*language);
    } else if (language.error().code == ErrorCode::unsupported) {
      warn("pattern", "is not enforced: it " + language.error().problem);
    } else {
      bad("pattern", language.error().problem, language.error().code);
    }
  }
  if (const json* format = find("format")) {
    if (!format->is_string()) {
      bad("format", "is not a string");
      return;
    }
    const auto& name = format->get_ref<const std::string&>();
    const StringFormat known = string_format(pool_, name);
    if (known.language) {
      restrict_to(*known.language);
    }
    if (!known.note.empty()) {
      warn("format", std::string(known.note));
    } else if (known.two_readings && !has("type") && !language_.document().is_old_draft()) {
      warn("format",
           "is enforced, though without a `type` beside it the standard also allows to read it as "
           "a remark; write \"type\": \"string\" beside it");
    }
  }
}

}  // namespace lm::grammar
