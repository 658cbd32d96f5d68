#include "runtime/grammar/schema_expr.h"

#include <algorithm>

namespace lm::grammar {

ExprPool::ExprPool(Budget& budget) : budget_(budget) {
  exprs_.push_back({Kind::fails});
  exprs_.push_back({Kind::holds});
}

ExprId ExprPool::intern(Kind kind, std::uint32_t schema, std::vector<ExprId> of) {
  const auto [at, fresh] = ids_.try_emplace({kind, schema, of}, static_cast<ExprId>(exprs_.size()));
  if (fresh) {
    if (!budget_.state() || !budget_.memory(of.size() * 8 + 120)) {
      ids_.erase(at);
      return kFalse;
    }
    exprs_.push_back({kind, schema, std::move(of)});
  }
  return at->second;
}

ExprId ExprPool::complement(ExprId of) {
  if (of == kFalse || of == kTrue) {
    return of == kFalse ? kTrue : kFalse;
  }
  if (exprs_[of].kind == Kind::complement) {
    return exprs_[of].of[0];
  }
  return intern(Kind::complement, 0, {of});
}

ExprId ExprPool::combine(Kind kind, std::vector<ExprId> of) {
  const ExprId absorbing = kind == Kind::both ? kFalse : kTrue;
  const ExprId neutral = kind == Kind::both ? kTrue : kFalse;
  std::vector<ExprId> flat;
  for (const ExprId id : of) {
    if (id == absorbing) {
      return absorbing;
    }
    if (exprs_[id].kind == kind) {
      flat.insert(flat.end(), exprs_[id].of.begin(), exprs_[id].of.end());
    } else if (id != neutral) {
      flat.push_back(id);
    }
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  for (const ExprId id : flat) {
    const Expr& e = exprs_[id];
    if (e.kind == Kind::complement && std::binary_search(flat.begin(), flat.end(), e.of[0])) {
      return absorbing;
    }
  }
  if (flat.empty()) {
    return neutral;
  }
  return flat.size() == 1 ? flat[0] : intern(kind, 0, std::move(flat));
}

}  // namespace lm::grammar
