// Keywords about objects.
#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>

#include <fmt/core.h>

#include "runtime/grammar/pattern.h"
#include "runtime/grammar/schema_keywords.h"

namespace lm::grammar {

using nlohmann::json;

/// Names that `properties` (or the expressions of `patternProperties`) of this schema match.
NodeId KeywordReader::names_in(std::string_view keyword, bool patterns) {
  const json* members = find(keyword);
  if (members == nullptr || !members->is_object()) {
    return RegexPool::kNone;
  }
  std::vector<std::u32string> names;
  std::vector<NodeId> languages;
  for (const auto& [name, schema] : members->items()) {
    if (!patterns) {
      names.push_back(to_code_points(name));
    } else if (const Result<NodeId> language = compile_pattern(pool_, name)) {
      languages.push_back(*language);
    }
  }
  return patterns ? pool_.alt(std::move(languages)) : pool_.any_of(std::move(names));
}

void KeywordReader::objects() {
  ObjectClause clause;
  for (const char* keyword : {"properties", "patternProperties"}) {
    const json* members = find(keyword);
    if (members == nullptr) {
      continue;
    }
    if (!members->is_object()) {
      bad(keyword, "is not an object of schemas");
      return;
    }
    for (const auto& [name, schema] : members->items()) {
      const std::string pointer = child_pointer(at(keyword), name);
      const ExprId value = language_.child(place_, schema, pointer);
      if (keyword == std::string_view("properties")) {
        clause.names.emplace(to_code_points(name), value);
      } else if (const Result<NodeId> language = compile_pattern(pool_, name)) {
        clause.patterns.emplace_back(*language, value);
      } else if (language.error().code == ErrorCode::unsupported) {
        language_.warn(pointer, "is not enforced: it " + language.error().problem);
      } else {
        language_.set_error(pointer, language.error().code, language.error().problem);
      }
    }
  }
  if (const ExprId others = child("additionalProperties"); others != kTrue) {
    clause.patterns.emplace_back(pool_.complement(pool_.alt({names_in("properties", false),
                                                             names_in("patternProperties", true)})),
                                 others);
  }
  if (has("propertyNames")) {
    const NodeId names = language_.normal(child("propertyNames")).string;
    clause.patterns.emplace_back(pool_.complement(names), kFalse);
  }
  if (const json* required = find("required"); required != nullptr && !required->is_boolean()) {
    for (const json& name : *required) {
      if (!required->is_array() || !name.is_string()) {
        bad("required", "is not a list of names");
        return;
      }
      clause.required.insert(to_code_points(name.get_ref<const std::string&>()));
    }
  }
  clause.least = count("minProperties", true).value_or(0);
  clause.most = count("maxProperties", false).value_or(kNoLimit);
  if (clause.least > clause.most || clause.required.size() > clause.most) {
    Normal none = algebra_.all();
    none.objects.clear();
    add(none);
  } else if (clause != ObjectClause{}) {
    add(algebra_.objects(std::move(clause)));
  }
  unevaluated();
  // A property that brings further demands: absent, or they hold.
  for (const char* keyword : {"dependentRequired", "dependentSchemas", "dependencies"}) {
    const json* members = find(keyword);
    if (members == nullptr) {
      continue;
    }
    if (!members->is_object()) {
      bad(keyword, "is not an object");
      return;
    }
    for (const auto& [name, demand] : members->items()) {
      ObjectClause absent;
      absent.names.emplace(to_code_points(name), kFalse);
      Normal then;
      if (demand.is_array()) {
        ObjectClause present;
        for (const json& other : demand) {
          present.required.insert(
              to_code_points(other.is_string() ? other.get<std::string>() : other.dump()));
        }
        then = algebra_.objects(std::move(present));
      } else {
        then = language_.normal(language_.child(place_, demand, child_pointer(at(keyword), name)));
      }
      add(algebra_.either(algebra_.objects(std::move(absent)), then));
    }
  }
}

/// Adds the names that a schema evaluates whatever the value is. False when that depends on the
/// value.
bool KeywordReader::collect_evaluated(const SchemaPlace& place, std::vector<NodeId>& names,
                                      int depth) {
  if (!place.json->is_object()) {
    return true;
  }
  KeywordReader reader(language_, place);
  for (const char* keyword : {"anyOf", "oneOf", "if", "dependentSchemas", "$dynamicRef"}) {
    if (reader.has(keyword)) {
      return false;
    }
  }
  names.push_back(reader.names_in("properties", false));
  names.push_back(reader.names_in("patternProperties", true));
  if (reader.has("additionalProperties") || (depth > 0 && reader.has("unevaluatedProperties"))) {
    names.push_back(RegexPool::kAll);
  }
  if (depth > kMaxDepth) {
    return false;
  }
  std::vector<ExprId> inside =
      reader.has("allOf") ? reader.children("allOf") : std::vector<ExprId>{};
  if (const json* reference = reader.find("$ref"); reference != nullptr && reference->is_string()) {
    if (const Result<std::uint32_t> target =
            language_.document().resolve(reference->get_ref<const std::string&>())) {
      inside.push_back(exprs_.schema(*target));
    }
  }
  return std::all_of(inside.begin(), inside.end(), [&](ExprId id) {
    const ExprPool::Expr expr = exprs_[id];
    return expr.kind != ExprPool::Kind::schema ||
           collect_evaluated(SchemaPlace(language_.document()[expr.schema]), names, depth + 1);
  });
}

void KeywordReader::unevaluated() {
  const json* others = find("unevaluatedProperties");
  if (others == nullptr || *others == json(true)) {
    return;
  }
  std::vector<NodeId> names;
  if (!collect_evaluated(place_, names, 0)) {
    warn("unevaluatedProperties", "is not enforced beside keywords that depend on the value");
    return;
  }
  ObjectClause clause;
  clause.patterns.emplace_back(pool_.complement(pool_.alt(std::move(names))),
                               child("unevaluatedProperties"));
  add(algebra_.objects(std::move(clause)));
}

}  // namespace lm::grammar
