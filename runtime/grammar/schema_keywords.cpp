// What each keyword of a schema says, as a normal form. A schema is all of its keywords together.
#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string_view>

#include <fmt/core.h>

#include "runtime/grammar/pattern.h"
#include "runtime/grammar/schema_language.h"
#include "runtime/grammar/string_formats.h"

namespace lm::grammar {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxModulus = 1'000'000;

// Keywords that say something about validity and are not read below.
constexpr std::string_view kNotEnforced[] = {"$dynamicRef", "$recursiveRef", "extends", "disallow"};

/// Decimal texts that equal one of `values`: the shortest text, and zeros behind it.
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

class KeywordReader {
 public:
  KeywordReader(SchemaLanguage& language, SchemaPlace place)
      : language_(language),
        pool_(language.pool()),
        exprs_(language.exprs()),
        algebra_(language.algebra()),
        place_(std::move(place)),
        json_(*place_.json) {}

  Normal read() {
    if (json_.is_boolean()) {
      return json_.get<bool>() ? algebra_.all() : Normal{};
    }
    if (!json_.is_object()) {
      language_.set_error(place_.pointer, ErrorCode::bad_value,
                          "is not a schema (an object, true or false)");
      return {};
    }
    out_ = algebra_.all();
    types();
    constants();
    numbers();
    strings();
    arrays();
    objects();
    references();
    combinations();
    for (const std::string_view keyword : kNotEnforced) {
      if (has(keyword)) {
        warn(keyword, "is not enforced");
      }
    }
    return std::move(out_);
  }

 private:
  const json* find(std::string_view keyword) const {
    const auto at = json_.find(keyword);
    return at == json_.end() ? nullptr : &*at;
  }
  bool has(std::string_view keyword) const { return find(keyword) != nullptr; }
  std::string at(std::string_view keyword) const { return child_pointer(place_.pointer, keyword); }
  void warn(std::string_view keyword, std::string problem) {
    language_.warn(at(keyword), std::move(problem));
  }
  void bad(std::string_view keyword, std::string problem, ErrorCode code = ErrorCode::bad_value) {
    language_.set_error(at(keyword), code, std::move(problem));
  }
  void add(const Normal& n) { out_ = algebra_.both(out_, n); }
  ExprId child(std::string_view keyword) {
    const json* schema = find(keyword);
    return schema == nullptr ? kTrue : language_.child(place_, *schema, at(keyword));
  }
  std::vector<ExprId> children(std::string_view keyword) {
    std::vector<ExprId> out;
    const json* list = find(keyword);
    if (list != nullptr && (!list->is_array() || list->empty())) {
      bad(keyword, "is not a list of schemas");
    } else if (list != nullptr) {
      for (std::size_t i = 0; i < list->size(); ++i) {
        out.push_back(language_.child(place_, (*list)[i], fmt::format("{}/{}", at(keyword), i)));
      }
    }
    return out;
  }
  /// A count: an integer, also written 2.0. Nothing when absent.
  std::optional<std::uint64_t> count(std::string_view keyword, bool is_least) {
    const json* value = find(keyword);
    if (value == nullptr) {
      return std::nullopt;
    }
    std::optional<std::uint64_t> n;
    if (value->is_number_unsigned()) {
      n = value->get<std::uint64_t>();
    } else if (value->is_number_float()) {
      const double real = value->get<double>();
      if (real >= 0 && real == std::floor(real)) {
        n = real < 1e18 ? static_cast<std::uint64_t>(real) : kNoLimit - 1;
      }
    }
    if (!n) {
      bad(keyword, "is not a count (an integer from 0)");
    } else if (is_least && *n > kMaxRepetition) {
      bad(keyword, fmt::format("asks for more than {}", kMaxRepetition), ErrorCode::limit_exceeded);
    }
    return n;
  }
  std::optional<Decimal> number(std::string_view keyword) {
    const json* value = find(keyword);
    if (value == nullptr) {
      return std::nullopt;
    }
    std::optional<Decimal> out;
    if (value->is_number()) {
      out = Decimal::parse(value->dump());
    }
    if (!out) {
      bad(keyword, "is not a number that lm can compare with");
    }
    return out;
  }

  void types();
  void constants();
  void numbers();
  void strings();
  void arrays();
  void objects();
  void unevaluated();
  void references();
  void combinations();
  void one_of(const std::vector<ExprId>& of);
  Normal numbers_in(NodeId language) const {
    Normal n = algebra_.all();
    n.number = language;
    n.exponents = false;
    return n;
  }
  NodeId names_in(std::string_view keyword, bool patterns);
  bool collect_evaluated(const SchemaPlace& place, std::vector<NodeId>& names, int depth);

  SchemaLanguage& language_;
  RegexPool& pool_;
  ExprPool& exprs_;
  NormalAlgebra& algebra_;
  const SchemaPlace place_;
  const json& json_;
  Normal out_;
};

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
    }
  }
}

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
    if (clause.most > 1) {
      warn("uniqueItems", "is not enforced");
    }
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

}  // namespace

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
  } else if (value.is_number()) {
    const std::optional<Decimal> decimal = Decimal::parse(value.dump());
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
