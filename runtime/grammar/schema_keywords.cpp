// Keywords about any value: types, constants, references, combinations.
#include "runtime/grammar/schema_keywords.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>

#include <fmt/core.h>

namespace lm::grammar {

using nlohmann::json;

void KeywordReader::types() {
  const json* type = find("type");
  if (type == nullptr) {
    return;
  }
  const Normal all = algebra_.all();
  Normal n;
  const auto allow = [&](const json& name) {
    const std::string text = name.is_string() ? name.get<std::string>() : "";
    if (text == "null") {
      n.null = true;
    } else if (text == "boolean") {
      n.yes = n.no = true;
    } else if (text == "number") {
      n.number = all.number;
      n.exponents = true;
    } else if (text == "integer") {
      n.number = n.exponents ? n.number : algebra_.any_integer();
    } else if (text == "string") {
      n.string = all.string;
    } else if (text == "array") {
      n.arrays = all.arrays;
    } else if (text == "object") {
      n.objects = all.objects;
    } else {
      bad("type", fmt::format("names no type: {}", name.dump()));
    }
  };
  if (type->is_array()) {
    std::for_each(type->begin(), type->end(), allow);
  } else {
    allow(*type);
  }
  if (const json* nullable = find("nullable"); nullable != nullptr && *nullable == json(true)) {
    n.null = true;
  }
  add(n);
}

void KeywordReader::constants() {
  if (const json* value = find("const")) {
    add(language_.normal(language_.constant(*value, at("const"))));
  }
  const json* values = find("enum");
  if (values == nullptr) {
    return;
  }
  if (!values->is_array()) {
    bad("enum", "is not a list of values");
    return;
  }
  // Strings, by far the most common, become one trie, and so do numbers.
  Normal n;
  std::vector<std::u32string> words;
  std::vector<Decimal> numbers;
  for (std::size_t i = 0; i < values->size(); ++i) {
    const json& value = (*values)[i];
    if (value.is_string()) {
      words.push_back(to_code_points(value.get_ref<const std::string&>()));
    } else if (const auto decimal =
                   value.is_number() ? Decimal::parse(value.dump()) : std::nullopt) {
      numbers.push_back(*decimal);
    } else {
      n = algebra_.either(
          n, language_.normal(language_.constant(value, fmt::format("{}/{}", at("enum"), i))));
    }
    if (!pool_.budget().tick()) {
      return;
    }
  }
  n.string = pool_.any_of(std::move(words));
  n.number = pool_.alt({n.number, equal_numbers(pool_, numbers)});
  add(n);
}

void KeywordReader::references() {
  const json* reference = find("$ref");
  if (reference == nullptr) {
    return;
  }
  if (!reference->is_string()) {
    bad("$ref", "is not a string");
    return;
  }
  const Result<std::uint32_t> target =
      language_.document().resolve(reference->get_ref<const std::string&>());
  if (!target) {
    language_.set_error(at("$ref"), target.error().code, target.error().problem,
                        target.error().hint);
    return;
  }
  add(language_.normal(exprs_.schema(*target)));
}

/// Exactly one holds: any of them, each without those others that it has values in common with.
void KeywordReader::one_of(const std::vector<ExprId>& of) {
  Normal exactly;
  bool wide = false;
  for (std::size_t i = 0; i < of.size(); ++i) {
    Normal one = language_.normal(of[i]);
    for (std::size_t j = 0; j < of.size() && !wide; ++j) {
      if (j != i && language_.inhabited(exprs_.both({of[i], of[j]}))) {
        one = algebra_.both(one, algebra_.complement(language_.normal(of[j])));
      }
      wide = algebra_.too_wide;
    }
    exactly = algebra_.either(exactly, one);
  }
  if (wide) {
    algebra_.too_wide = false;
    warn("oneOf", "is enforced as anyOf: its schemas overlap in too many ways");
    exactly = Normal{};
    for (const ExprId id : of) {
      exactly = algebra_.either(exactly, language_.normal(id));
    }
  }
  add(exactly);
}

void KeywordReader::combinations() {
  for (const ExprId id : children("allOf")) {
    add(language_.normal(id));
  }
  if (has("anyOf")) {
    Normal any;
    for (const ExprId id : children("anyOf")) {
      any = algebra_.either(any, language_.normal(id));
    }
    add(any);
  }
  if (has("oneOf")) {
    one_of(children("oneOf"));
  }
  if (has("not")) {
    add(algebra_.complement(language_.normal(child("not"))));
  }
  if (has("if") && (has("then") || has("else"))) {
    const Normal condition = language_.normal(child("if"));
    const Normal yes = algebra_.both(condition, language_.normal(child("then")));
    const Normal no =
        algebra_.both(algebra_.complement(condition), language_.normal(child("else")));
    add(algebra_.either(yes, no));
  }
}

Normal read_schema(SchemaLanguage& language, std::uint32_t place) {
  return KeywordReader(language, language.document()[place]).read();
}

Normal read_constant(SchemaLanguage& language, std::uint32_t number) {
  const SchemaPlace place = language.document()[number];
  const json& value = *place.json;
  RegexPool& pool = language.pool();
  Normal n;
  if (value.is_null()) {
    n.null = true;
  } else if (value.is_boolean()) {
    (value.get<bool>() ? n.yes : n.no) = true;
  } else if (value.is_string()) {
    n.string = pool.any_of({to_code_points(value.get_ref<const std::string&>())});
  } else if (value.is_number() || value.is_binary()) {
    // Binary: a number that was read, as text (SchemaLanguage::value_of).
    const std::optional<Decimal> decimal = Decimal::parse(
        value.is_binary() ? std::string(value.get_binary().begin(), value.get_binary().end())
                          : value.dump());
    if (!decimal) {
      language.set_error(place.pointer, ErrorCode::unsupported,
                         "is a number that lm can't compare with");
      return n;
    }
    n.number = equal_numbers(pool, {*decimal});
  } else if (value.is_array()) {
    ArrayClause clause;
    clause.least = clause.most = value.size();
    for (std::size_t i = 0; i < value.size(); ++i) {
      clause.prefix.push_back(language.constant(value[i], fmt::format("{}/{}", place.pointer, i)));
    }
    clause.rest = kFalse;
    n.arrays.push_back(std::move(clause));
  } else {
    ObjectClause clause;
    clause.most = value.size();
    for (const auto& [key, member] : value.items()) {
      const std::u32string name = to_code_points(key);
      clause.names.emplace(name, language.constant(member, child_pointer(place.pointer, key)));
      clause.required.insert(name);
    }
    n.objects.push_back(std::move(clause));
  }
  return n;
}

}  // namespace lm::grammar
