/// Boolean combinations of schemas, each kept once, so that equal ones are recognised.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "runtime/grammar/budget.h"

namespace lm::grammar {

using ExprId = std::uint32_t;
constexpr ExprId kFalse = 0;
constexpr ExprId kTrue = 1;

/// What a value must satisfy: a schema of the document (by number), or a combination of such.
class ExprPool {
 public:
  enum class Kind : std::uint8_t { fails, holds, schema, both, either, complement };
  struct Expr {
    Kind kind;
    std::uint32_t schema = 0;  ///< kind schema: its number
    std::vector<ExprId> of = {};
  };

  explicit ExprPool(Budget& budget);
  ExprId schema(std::uint32_t number) { return intern(Kind::schema, number, {}); }
  ExprId both(std::vector<ExprId> of) { return combine(Kind::both, std::move(of)); }
  ExprId either(std::vector<ExprId> of) { return combine(Kind::either, std::move(of)); }
  ExprId complement(ExprId of);
  const Expr& operator[](ExprId id) const { return exprs_[id]; }

 private:
  ExprId combine(Kind kind, std::vector<ExprId> of);
  ExprId intern(Kind kind, std::uint32_t schema, std::vector<ExprId> of);

  Budget& budget_;
  std::vector<Expr> exprs_;
  std::map<std::tuple<Kind, std::uint32_t, std::vector<ExprId>>, ExprId> ids_;
};

}  // namespace lm::grammar
