/// Reads the keywords of one schema. What each says is a normal form; a schema is all of them
/// together.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "runtime/grammar/schema_language.h"

namespace lm::grammar {

/// Decimal texts that equal one of `values`: the shortest text, and zeros behind it.
NodeId equal_numbers(RegexPool& pool, const std::vector<Decimal>& values);

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
    for (const char* keyword : {"$dynamicRef", "$recursiveRef", "extends", "disallow"}) {
      if (has(keyword)) {
        warn(keyword, "is not enforced");
      }
    }
    return std::move(out_);
  }

 private:
  using json = nlohmann::json;
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

}  // namespace lm::grammar
