#include "runtime/grammar/schema_normal.h"

#include <algorithm>

namespace lm::grammar {
namespace {

constexpr std::size_t kMaxClauses = 512;
constexpr std::size_t kMaxNarrowed = 64;

template <class Clause>
void add_clause(std::vector<Clause>& clauses, Clause clause) {
  const Clause unlimited;
  if (clause == unlimited) {
    clauses.assign(1, std::move(clause));
  } else if (clauses.empty() ||
             (clauses[0] != unlimited &&
              std::find(clauses.begin(), clauses.end(), clause) == clauses.end())) {
    clauses.push_back(std::move(clause));
  }
}

/// -?(0|[1-9][0-9]*) followed by `fraction`.
NodeId decimal(RegexPool& pool, NodeId fraction) {
  const NodeId digit = pool.set(CodeSet::range(U'0', U'9'));
  const NodeId whole = pool.alt(
      {pool.literal(U"0"), pool.concat(pool.set(CodeSet::range(U'1', U'9')), pool.star(digit))});
  return pool.concat(pool.optional(pool.literal(U"-")), pool.concat(whole, fraction));
}

}  // namespace

NormalAlgebra::NormalAlgebra(RegexPool& pool, ExprPool& exprs) : pool_(pool), exprs_(exprs) {
  const NodeId point = pool.literal(U".");
  const NodeId digit = pool.set(CodeSet::range(U'0', U'9'));
  const NodeId zero = pool.literal(U"0");
  any_number_ = decimal(pool, pool.optional(pool.concat(point, pool.repeat(digit, 1, kUnbounded))));
  any_integer_ = decimal(pool, pool.optional(pool.concat(point, pool.repeat(zero, 1, kUnbounded))));
  plain_integer_ = pool.without(decimal(pool, RegexPool::kEmpty), pool.literal(U"-0"));
}

Normal NormalAlgebra::all() const {
  return {true, true, true, any_number_, true, RegexPool::kAll, {ArrayClause{}}, {ObjectClause{}}};
}

Normal NormalAlgebra::objects(ObjectClause clause) const {
  Normal out = all();
  out.objects.assign(1, std::move(clause));
  return out;
}

Normal NormalAlgebra::arrays(ArrayClause clause) const {
  Normal out = all();
  out.arrays.assign(1, std::move(clause));
  return out;
}

template <class Clause>
std::vector<Clause> NormalAlgebra::product(const std::vector<Clause>& a,
                                           const std::vector<Clause>& b) {
  std::vector<Clause> out;
  for (const Clause& x : a) {
    for (const Clause& y : b) {
      Clause merged = x;
      if (merge(merged, y)) {
        add_clause(out, std::move(merged));
      }
      if (narrows && out.size() >= kMaxNarrowed) {
        return out;
      }
      if (out.size() > kMaxClauses || !pool_.budget().tick(64)) {
        too_wide = true;
        return {};
      }
    }
  }
  return out;
}

Normal NormalAlgebra::both(const Normal& a, const Normal& b) {
  Normal out;
  out.null = a.null && b.null;
  out.yes = a.yes && b.yes;
  out.no = a.no && b.no;
  // "Any number" is neutral; written so, the expression stays small.
  out.number = a.number == any_number_   ? b.number
               : b.number == any_number_ ? a.number
                                         : pool_.both({a.number, b.number});
  out.exponents = a.exponents && b.exponents;
  out.string = pool_.both({a.string, b.string});
  out.arrays = product(a.arrays, b.arrays);
  out.objects = product(a.objects, b.objects);
  return out;
}

Normal NormalAlgebra::either(const Normal& a, const Normal& b) {
  Normal out = a;
  out.null = a.null || b.null;
  out.yes = a.yes || b.yes;
  out.no = a.no || b.no;
  out.number = a.number == any_number_ || b.number == any_number_ ? any_number_
                                                                  : pool_.alt({a.number, b.number});
  out.exponents = a.exponents || b.exponents;
  out.string = pool_.alt({a.string, b.string});
  for (const ArrayClause& clause : b.arrays) {
    add_clause(out.arrays, clause);
  }
  for (const ObjectClause& clause : b.objects) {
    add_clause(out.objects, clause);
  }
  return out;
}

template <class Clause>
std::vector<Clause> NormalAlgebra::complement_of(const std::vector<Clause>& clauses) {
  std::vector<Clause> out = {Clause{}};
  for (const Clause& clause : clauses) {
    out = product(out, negated(clause));
  }
  return out;
}

Normal NormalAlgebra::complement(const Normal& a) {
  Normal out;
  out.null = !a.null;
  out.yes = !a.yes;
  out.no = !a.no;
  // Texts with an exponent are not compared: they are allowed only where every number is.
  out.exponents = !a.exponents && a.number == RegexPool::kNone;
  out.number = a.number == RegexPool::kNone ? any_number_
               : a.number == any_number_    ? RegexPool::kNone
                                            : pool_.without(any_number_, a.number);
  out.string = pool_.complement(a.string);
  out.arrays = complement_of(a.arrays);
  out.objects = complement_of(a.objects);
  return out;
}

bool NormalAlgebra::merge(ArrayClause& into, const ArrayClause& other) {
  const std::size_t n = std::max(into.prefix.size(), other.prefix.size());
  into.prefix.resize(n, into.rest);
  for (std::size_t i = 0; i < n; ++i) {
    into.prefix[i] =
        exprs_.both({into.prefix[i], i < other.prefix.size() ? other.prefix[i] : other.rest});
  }
  into.rest = exprs_.both({into.rest, other.rest});
  into.least = std::max(into.least, other.least);
  into.most = std::min(into.most, other.most);
  for (const Contains& contains : other.contains) {
    if (std::find(into.contains.begin(), into.contains.end(), contains) == into.contains.end()) {
      into.contains.push_back(contains);
    }
  }
  into.unique = into.unique || other.unique;
  into.repeats = into.repeats || other.repeats;
  return into.least <= into.most && !(into.unique && into.repeats);
}

std::vector<ArrayClause> NormalAlgebra::negated(const ArrayClause& clause) {
  std::vector<ArrayClause> out;
  if (clause.least > 0) {
    ArrayClause shorter;
    shorter.most = clause.least - 1;
    out.push_back(std::move(shorter));
  }
  if (clause.most != kNoLimit) {
    ArrayClause longer;
    longer.least = clause.most + 1;
    out.push_back(std::move(longer));
  }
  for (std::size_t i = 0; i < clause.prefix.size(); ++i) {
    if (clause.prefix[i] != kTrue) {
      ArrayClause other;
      other.prefix.assign(i + 1, kTrue);
      other.prefix[i] = exprs_.complement(clause.prefix[i]);
      other.least = i + 1;
      out.push_back(std::move(other));
    }
  }
  if (clause.rest != kTrue) {
    ArrayClause other;
    other.contains.push_back({exprs_.complement(clause.rest), clause.prefix.size(), 1, kNoLimit});
    out.push_back(std::move(other));
  }
  for (const Contains& contains : clause.contains) {
    if (contains.least > 0) {
      ArrayClause fewer;
      fewer.contains.push_back({contains.value, contains.from, 0, contains.least - 1});
      out.push_back(std::move(fewer));
    }
    if (contains.most != kNoLimit) {
      ArrayClause more;
      more.contains.push_back({contains.value, contains.from, contains.most + 1, kNoLimit});
      out.push_back(std::move(more));
    }
  }
  if (clause.unique) {
    ArrayClause repeats;
    repeats.repeats = true;
    repeats.least = 2;
    out.push_back(std::move(repeats));
  }
  if (clause.repeats) {
    ArrayClause unique;
    unique.unique = true;
    out.push_back(std::move(unique));
  }
  return out;
}

bool NormalAlgebra::merge(ObjectClause& into, const ObjectClause& other) {
  for (const auto& [name, value] : other.names) {
    const auto [at, fresh] = into.names.try_emplace(name, value);
    if (!fresh) {
      at->second = exprs_.both({at->second, value});
    }
  }
  const auto append = [](auto& list, const auto& more) {
    for (const auto& entry : more) {
      if (std::find(list.begin(), list.end(), entry) == list.end()) {
        list.push_back(entry);
      }
    }
  };
  append(into.patterns, other.patterns);
  append(into.some, other.some);
  into.required.insert(other.required.begin(), other.required.end());
  into.least = std::max(into.least, other.least);
  into.most = std::min(into.most, other.most);
  if (into.least > into.most || into.required.size() > into.most) {
    return false;
  }
  return std::none_of(into.required.begin(), into.required.end(), [&](const std::u32string& name) {
    const auto at = into.names.find(name);
    return at != into.names.end() && at->second == kFalse;
  });
}

std::vector<ObjectClause> NormalAlgebra::negated(const ObjectClause& clause) {
  std::vector<ObjectClause> out;
  for (const std::u32string& name : clause.required) {
    ObjectClause absent;
    absent.names.emplace(name, kFalse);
    out.push_back(std::move(absent));
  }
  for (const auto& [name, value] : clause.names) {
    if (value != kTrue) {
      ObjectClause other;
      other.required.insert(name);
      other.names.emplace(name, exprs_.complement(value));
      out.push_back(std::move(other));
    }
  }
  for (const auto& [language, value] : clause.patterns) {
    if (value != kTrue) {
      ObjectClause other;
      other.some.emplace_back(language, exprs_.complement(value));
      out.push_back(std::move(other));
    }
  }
  for (const auto& [language, value] : clause.some) {
    ObjectClause none;
    none.patterns.emplace_back(language, exprs_.complement(value));
    out.push_back(std::move(none));
  }
  if (clause.least > 0) {
    ObjectClause fewer;
    fewer.most = clause.least - 1;
    out.push_back(std::move(fewer));
  }
  if (clause.most != kNoLimit) {
    ObjectClause more;
    more.least = clause.most + 1;
    out.push_back(std::move(more));
  }
  return out;
}

}  // namespace lm::grammar
