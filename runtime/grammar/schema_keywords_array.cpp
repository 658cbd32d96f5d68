// Keywords about arrays.
#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>

#include <fmt/core.h>

#include "runtime/grammar/schema_keywords.h"

namespace lm::grammar {

using nlohmann::json;

void KeywordReader::arrays() {
  ArrayClause clause;
  const json* tuple = find("prefixItems");
  std::string tuple_keyword = "prefixItems";
  std::string rest_keyword = "items";
  if (tuple != nullptr && tuple->is_object()) {
    // Not of the standard; read as `items`, as llama.cpp does.
    clause.rest = child("prefixItems");
    tuple = nullptr;
  }
  if (const json* items = find("items"); items != nullptr && items->is_array()) {
    tuple = items;  // draft-07
    tuple_keyword = "items";
    rest_keyword = "additionalItems";
  }
  if (tuple != nullptr && tuple->is_array()) {
    for (std::size_t i = 0; i < tuple->size(); ++i) {
      clause.prefix.push_back(
          language_.child(place_, (*tuple)[i], fmt::format("{}/{}", at(tuple_keyword), i)));
    }
  } else if (tuple != nullptr) {
    bad("prefixItems", "is not a list of schemas");
  }
  clause.rest = exprs_.both({clause.rest, child(rest_keyword)});
  clause.least = count("minItems", true).value_or(0);
  clause.most = count("maxItems", false).value_or(kNoLimit);
  if (has("contains")) {
    Contains contains;
    contains.value = child("contains");
    contains.least = count("minContains", true).value_or(1);
    contains.most = count("maxContains", false).value_or(kNoLimit);
    if (contains.least > 0 || contains.most != kNoLimit) {
      clause.contains.push_back(contains);
    }
  }
  if (const json* unique = find("uniqueItems"); unique != nullptr && *unique == json(true)) {
    clause.unique = clause.most > 1;
  }
  if (const json* other = find("unevaluatedItems"); other != nullptr && *other != json(true)) {
    const bool alone = !has("allOf") && !has("anyOf") && !has("oneOf") && !has("if") &&
                       !has("$ref") && !has("contains") && !has("$dynamicRef");
    if (alone && !has(rest_keyword)) {
      clause.rest = child("unevaluatedItems");
    } else if (!has(rest_keyword)) {
      warn("unevaluatedItems", "is not enforced beside keywords that evaluate items");
    }
  }
  if (clause.least > clause.most) {
    Normal none = algebra_.all();
    none.arrays.clear();
    add(none);
  } else if (clause != ArrayClause{}) {
    add(algebra_.arrays(std::move(clause)));
  }
}

}  // namespace lm::grammar
