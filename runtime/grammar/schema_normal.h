/// A schema as a language: for each JSON type what is allowed, closed under and, or, not.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grammar/regex.h"
#include "runtime/grammar/schema_expr.h"

namespace lm::grammar {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

/// At least `least` and at most `most` of the items from position `from` on satisfy `value`.
struct Contains {
  ExprId value = kTrue;
  std::uint64_t from = 0, least = 1, most = kNoLimit;
  bool operator==(const Contains&) const = default;
};

/// Arrays that satisfy all of it.
struct ArrayClause {
  std::vector<ExprId> prefix;
  ExprId rest = kTrue;
  std::uint64_t least = 0, most = kNoLimit;
  std::vector<Contains> contains;
  bool unique = false;   ///< no two items are equal
  bool repeats = false;  ///< some two items are
  bool operator==(const ArrayClause&) const = default;
};

/// Objects that satisfy all of it. Names are code points.
struct ObjectClause {
  std::map<std::u32string, ExprId> names;  ///< a property of this name has such a value
  std::vector<std::pair<NodeId, ExprId>>
      patterns;  ///< every property whose name is in the language has such a value
  std::set<std::u32string> required;
  std::uint64_t least = 0, most = kNoLimit;  ///< number of properties
  std::vector<std::pair<NodeId, ExprId>>
      some;  ///< at least one property with a name in the language has such a value
  bool operator==(const ObjectClause&) const = default;
};

/// Arrays and objects: one of the clauses holds.
struct Normal {
  bool null = false, yes = false, no = false;
  NodeId number = RegexPool::kNone;  ///< texts without exponent; exact for these
  bool exponents = false;            ///< all texts with an exponent too
  NodeId string = RegexPool::kNone;  ///< values
  std::vector<ArrayClause> arrays;
  std::vector<ObjectClause> objects;
};

/// And, or, not on normal forms. Only one who knows the child schemas can tell whether a clause can
/// be satisfied; here only plain contradictions are dropped.
class NormalAlgebra {
 public:
  NormalAlgebra(RegexPool& pool, ExprPool& exprs);

  Normal all() const;
  Normal both(const Normal& a, const Normal& b);
  Normal either(const Normal& a, const Normal& b);
  Normal complement(const Normal& a);
  /// Every value that is not an object, and the objects of `clause`.
  Normal objects(ObjectClause clause) const;
  Normal arrays(ArrayClause clause) const;

  /// A combination needed more clauses than can be kept; its result is not to be used. Stays set
  /// until cleared.
  bool too_wide = false;
  /// From now on such a result leaves alternatives out instead: what it allows is right, but not
  /// all that is right is allowed.
  bool narrows = false;

  NodeId any_number() const { return any_number_; }        ///< number texts without exponent
  NodeId any_integer() const { return any_integer_; }      ///< of these, the integers
  NodeId plain_integer() const { return plain_integer_; }  ///< ... without a point and without -0

 private:
  template <class Clause>
  std::vector<Clause> product(const std::vector<Clause>& a, const std::vector<Clause>& b);
  bool merge(ArrayClause& into, const ArrayClause& other);
  bool merge(ObjectClause& into, const ObjectClause& other);
  std::vector<ArrayClause> negated(const ArrayClause& clause);
  std::vector<ObjectClause> negated(const ObjectClause& clause);
  template <class Clause>
  std::vector<Clause> complement_of(const std::vector<Clause>& clauses);

  RegexPool& pool_;
  ExprPool& exprs_;
  NodeId any_number_, any_integer_, plain_integer_;
};

}  // namespace lm::grammar
