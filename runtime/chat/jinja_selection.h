/// How filters look into elements: attribute paths and sort keys.
#pragma once

#include <optional>
#include <vector>

#include "runtime/chat/jinja_eval.h"

namespace lm::jinja {

/// "function.name", "0.id" or 1: looked up step by step. An empty path is the element itself.
class AttributePath {
 public:
  /// From a text, an integer, or none (empty path).
  static Eval<AttributePath> parse(Budget& budget, const Value& spelt);
  /// From "a,b.c": several paths; none gives one empty path.
  static Eval<std::vector<AttributePath>> parse_list(Budget& budget, const Value& spelt);

  /// What stands at the end of the path; `fallback` in place of anything undefined on the way.
  Eval<Value> of(Interpreter& interpreter, const Value& element,
                 const std::optional<Value>& fallback = std::nullopt) const;

 private:
  std::vector<Value> parts_;
};

/// Texts in lower case unless `case_sensitive`.
Eval<Value> sort_key(Budget& budget, Value value, bool case_sensitive);

}  // namespace lm::jinja
