#include "runtime/grammar/schema_language.h"

#include <algorithm>

#include <fmt/core.h>

#include "runtime/tokenizer/utf8.h"

namespace lm::grammar {
namespace {

constexpr std::size_t kMaxPatterns = 16;
constexpr std::size_t kMaxSome = 16;
constexpr int kMaxSearchDepth = 200;
constexpr int kMaxNormalDepth = 256;
constexpr std::uint64_t kMaxCounted = 256;

}  // namespace

std::u32string to_code_points(std::string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const utf8::Character c = utf8::decode(text, i);
    out.push_back(c.code_point);
    i += c.bytes;
  }
  return out;
}

SchemaLanguage::SchemaLanguage(RegexPool& pool, std::unique_ptr<SchemaDocument> document)
    : pool_(pool), document_(std::move(document)), exprs_(pool.budget()), algebra_(pool, exprs_) {}

Result<void> SchemaLanguage::compile() {
  // Reading a schema names further ones; the list grows until all are read.
  for (std::uint32_t i = 0; i < document_->size() && !failed(); ++i) {
    normal(exprs_.schema(i));
    if (pool_.budget().spent()) {
      set_error((*document_)[i].pointer, ErrorCode::limit_exceeded, pool_.budget().why(),
                "simplify the schema");
    }
  }
  if (!failed()) {
    inhabited(root());
    if (pool_.budget().spent()) {
      set_error("", ErrorCode::limit_exceeded, pool_.budget().why(), "simplify the schema");
    }
  }
  if (error_) {
    return std::unexpected(*error_);
  }
  algebra_.narrows = true;
  return {};
}

Result<ExprId> SchemaLanguage::schema_at(const std::string& pointer) {
  LM_TRY(const std::uint32_t place, document_->resolve("#" + pointer));
  return exprs_.schema(place);
}

ExprId SchemaLanguage::child(const SchemaPlace& of, const nlohmann::json& schema,
                             const std::string& pointer) {
  if (schema.is_boolean()) {
    return schema.get<bool>() ? kTrue : kFalse;
  }
  if (!schema.is_object()) {
    set_error(pointer, ErrorCode::bad_value, "is not a schema (an object, true or false)");
    return kFalse;
  }
  if (of.depth >= kMaxDepth) {
    set_error(pointer, ErrorCode::limit_exceeded,
              fmt::format("is nested more than {} deep", kMaxDepth));
    return kFalse;
  }
  if (schema.empty()) {
    return kTrue;
  }
  return exprs_.schema(document_->place(schema, pointer, false, of.depth + 1));
}

ExprId SchemaLanguage::constant(const nlohmann::json& value, const std::string& pointer) {
  return exprs_.schema(document_->place(value, pointer, true, 0));
}

ExprId SchemaLanguage::value_of(const std::string& text) {
  using nlohmann::json;
  const auto known = values_.find(text);
  if (known != values_.end()) {
    return known->second;
  }
  const bool is_number = !text.empty() && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
  json value;
  std::string key = text;
  if (is_number) {
    const std::optional<Decimal> decimal = Decimal::parse(text);
    key =
        decimal ? decimal->text() : "0";  // out of reach: then no exponent may follow, as behind 0
    value = json::binary({key.begin(), key.end()});
  } else {
    value = json::parse(text, nullptr, false);
    if (value.is_discarded()) {
      return values_[text] =
                 kTrue;  // a number in it is too large: nothing can be told apart from it
    }
    key = value.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  pool_.budget().memory(text.size() + 2 * key.size() + 400);
  ExprId id = kFalse;
  if (const auto same = values_.find("=" + key); same != values_.end()) {
    id = same->second;
  } else {
    value_texts_.push_back(std::move(value));
    // No pointer begins so: values that were read are not in the document.
    id = values_["=" + key] = constant(value_texts_.back(), "=" + key);
  }
  return values_[text] = id;
}

std::uint64_t SchemaLanguage::count(ExprId id) {
  if (id == kTrue || id == kFalse) {
    return id == kTrue ? kNoLimit : 0;
  }
  if (const auto known = counts_.find(id); known != counts_.end()) {
    return known->second;
  }
  if (const auto at = normals_.find(id); at != normals_.end() && at->second == nullptr) {
    return kNoLimit;  // being computed
  }
  const Normal& n = normal(id);
  std::uint64_t out = (n.null ? 1u : 0u) + (n.yes ? 1u : 0u) + (n.no ? 1u : 0u);
  const auto add = [&](std::uint64_t more) {
    out = out == kNoLimit || more == kNoLimit ? kNoLimit : out + more;
  };
  if (n.exponents || !n.arrays.empty() || !n.objects.empty()) {
    out = kNoLimit;
  }
  // Of numbers that all are integers, the texts without a point.
  const NodeId fractions = pool_.without(n.number, algebra_.any_integer());
  if (out != kNoLimit && n.number != RegexPool::kNone) {
    add(pool_.live(fractions)
            ? kNoLimit
            : pool_.count(pool_.both({n.number, algebra_.plain_integer()}), kMaxCounted));
  }
  if (out != kNoLimit) {
    add(pool_.count(n.string, kMaxCounted));
  }
  return counts_[id] = out;
}

void SchemaLanguage::warn(const std::string& pointer, std::string problem) {
  if (warnings_.size() < 100 &&
      std::none_of(warnings_.begin(), warnings_.end(),
                   [&](const Warning& w) { return w.pointer == pointer; })) {
    warnings_.push_back({pointer, std::move(problem)});
  }
}

void SchemaLanguage::set_error(const std::string& pointer, ErrorCode code, std::string problem,
                               std::string hint) {
  if (!error_) {
    error_ = Error{code, fmt::format("schema at '{}'", "#" + pointer), std::move(problem),
                   std::move(hint)};
  }
}

const Normal& SchemaLanguage::normal(ExprId id) {
  const auto [at, fresh] = normals_.try_emplace(id, nullptr);
  if (!fresh) {
    if (at->second != nullptr) {
      return *at->second;
    }
    // Needed for its own value: a $ref that comes back without consuming anything.
    const ExprPool::Expr& expr = exprs_[id];
    set_error(expr.kind == ExprPool::Kind::schema ? (*document_)[expr.schema].pointer : "",
              ErrorCode::bad_value, "refers to itself without a value in between");
    return none_;
  }
  Normal computed;
  if (depth_ >= kMaxNormalDepth) {
    set_error("", ErrorCode::limit_exceeded,
              fmt::format("chains more than {} references", kMaxNormalDepth));
  }
  if (!failed() && pool_.budget().state()) {
    ++depth_;
    computed = compute(id);
    --depth_;
    pool_.budget().memory((computed.arrays.size() + computed.objects.size()) * 400 + 200);
    if (algebra_.too_wide) {
      algebra_.too_wide = false;
      const ExprPool::Expr& expr = exprs_[id];
      set_error(expr.kind == ExprPool::Kind::schema ? (*document_)[expr.schema].pointer : "",
                ErrorCode::limit_exceeded, "combines more than 512 alternatives",
                "simplify the schema");
    }
  }
  // `at` may have moved in meaning only: map nodes stay where they are.
  at->second = std::make_unique<Normal>(std::move(computed));
  return *at->second;
}

Normal SchemaLanguage::compute(ExprId id) {
  const ExprPool::Expr expr = exprs_[id];
  switch (expr.kind) {
    case ExprPool::Kind::fails:
      return {};
    case ExprPool::Kind::holds:
      return algebra_.all();
    case ExprPool::Kind::schema:
      return (*document_)[expr.schema].constant ? read_constant(*this, expr.schema)
                                                : read_schema(*this, expr.schema);
    case ExprPool::Kind::complement: {
      // De Morgan: what was narrowed must not be complemented.
      const ExprPool::Expr inner = exprs_[expr.of[0]];
      if (inner.kind != ExprPool::Kind::both && inner.kind != ExprPool::Kind::either) {
        return algebra_.complement(normal(expr.of[0]));
      }
      std::vector<ExprId> parts;
      for (const ExprId part : inner.of) {
        parts.push_back(exprs_.complement(part));
      }
      return normal(inner.kind == ExprPool::Kind::both ? exprs_.either(std::move(parts))
                                                       : exprs_.both(std::move(parts)));
    }
    case ExprPool::Kind::both:
    case ExprPool::Kind::either: {
      Normal out = normal(expr.of[0]);
      for (std::size_t i = 1; i < expr.of.size(); ++i) {
        const Normal& next = normal(expr.of[i]);
        out = expr.kind == ExprPool::Kind::both ? algebra_.both(out, next)
                                                : algebra_.either(out, next);
      }
      return out;
    }
  }
  return {};
}

bool SchemaLanguage::inhabited(ExprId id) {
  bool tentative = false;
  return search(id, 0, tentative);
}

/// Least fixpoint: a value must exist that is finite, so a schema being searched further up counts
/// as not inhabited; a negative answer that rests on that (`tentative`) holds only for the search's
/// root.
bool SchemaLanguage::search(ExprId id, int depth, bool& tentative) {
  if (id == kTrue || id == kFalse) {
    return id == kTrue;
  }
  if (const auto known = inhabited_.find(id); known != inhabited_.end()) {
    return known->second;
  }
  if (searching_.contains(id)) {
    tentative = true;
    return false;
  }
  if (const auto at = normals_.find(id);
      depth > kMaxSearchDepth || (at != normals_.end() && at->second == nullptr)) {
    return true;  // its normal form is being computed: not known yet
  }
  searching_[id] = true;
  const Normal& n = normal(id);
  bool tentative_here = false;
  bool found =
      n.null || n.yes || n.no || n.exponents || pool_.live(n.number) || pool_.live(n.string);
  for (std::size_t i = 0; !found && i < n.arrays.size(); ++i) {
    found = search(n.arrays[i], depth + 1, tentative_here);
  }
  for (std::size_t i = 0; !found && i < n.objects.size(); ++i) {
    found = search(n.objects[i], depth + 1, tentative_here);
  }
  searching_.erase(id);
  if (found || !tentative_here || searching_.empty()) {
    inhabited_[id] = found;
  } else {
    tentative = true;
  }
  return found;
}

bool SchemaLanguage::search(const ArrayClause& clause, int depth, bool& tentative) {
  // Items from the first position that nothing fits are out of reach.
  std::uint64_t reach = clause.most;
  std::uint64_t needed = clause.least;
  for (const Contains& contains : clause.contains) {
    if (contains.least > 0) {
      needed = std::max(needed, contains.from + contains.least);
    }
  }
  for (std::uint64_t i = 0; i < clause.prefix.size() && i < needed && i < reach; ++i) {
    if (!search(clause.prefix[i], depth, tentative)) {
      reach = i;
    }
  }
  if (needed > clause.prefix.size() && reach > clause.prefix.size() &&
      !search(clause.rest, depth, tentative)) {
    reach = clause.prefix.size();
  }
  if (clause.unique && needed > clause.prefix.size()) {
    const std::uint64_t different = count(clause.rest);
    if (different < needed - clause.prefix.size()) {
      return false;
    }
  }
  return needed <= reach &&
         std::all_of(clause.contains.begin(), clause.contains.end(), [&](const Contains& contains) {
           if (contains.least == 0) {
             return true;
           }
           for (std::uint64_t i = contains.from; i < clause.prefix.size(); ++i) {
             if (search(exprs_.both({clause.prefix[i], contains.value}), depth, tentative)) {
               return true;
             }
           }
           return search(exprs_.both({clause.rest, contains.value}), depth, tentative);
         });
}

bool SchemaLanguage::search(const ObjectClause& clause, int depth, bool& tentative) {
  if (clause.required.empty() && clause.least == 0 && clause.some.empty()) {
    return true;
  }
  const std::vector<NameClass> classes = name_classes(pool_, exprs_, clause);
  std::uint64_t names = 0;
  std::uint32_t some = 0;
  for (const NameClass& c : classes) {
    const bool possible = search(c.value, depth, tentative);
    if (c.required && !possible) {
      return false;
    }
    if (possible) {
      names = c.is_literal ? names + (names == kNoLimit ? 0 : 1) : kNoLimit;
    }
    for (std::uint32_t i = 0; possible && i < clause.some.size(); ++i) {
      if ((c.some >> i & 1) != 0 && (some >> i & 1) == 0 &&
          search(exprs_.both({c.value, clause.some[i].second}), depth, tentative)) {
        some |= 1u << i;
      }
    }
  }
  return names >= clause.least && clause.required.size() <= clause.most &&
         some == (1u << clause.some.size()) - 1;
}

std::vector<NameClass> name_classes(RegexPool& pool, ExprPool& exprs, const ObjectClause& clause) {
  if (clause.patterns.size() > kMaxPatterns || clause.some.size() > kMaxSome) {
    pool.budget().spend("combines more than 16 patterns of property names");
    return {};
  }
  std::vector<NameClass> out;
  std::set<std::u32string> literals = clause.required;
  for (const auto& [name, value] : clause.names) {
    literals.insert(name);
  }
  for (const std::u32string& name : literals) {
    NameClass c{pool.literal(name), kTrue, 0, name, true, clause.required.contains(name)};
    std::vector<ExprId> values;
    if (const auto at = clause.names.find(name); at != clause.names.end()) {
      values.push_back(at->second);
    }
    for (const auto& [language, value] : clause.patterns) {
      if (pool.matches(language, name)) {
        values.push_back(value);
      }
    }
    for (std::uint32_t i = 0; i < clause.some.size(); ++i) {
      c.some |= pool.matches(clause.some[i].first, name) ? 1u << i : 0;
    }
    c.value = exprs.both(std::move(values));
    out.push_back(std::move(c));
    if (!pool.budget().tick()) {
      return {};
    }
  }
  // What is left, cut by one language after the other.
  NodeId others = RegexPool::kAll;
  if (!literals.empty()) {
    others = pool.complement(pool.any_of({literals.begin(), literals.end()}));
  }
  std::vector<NameClass> rest(1);
  rest[0].language = others;
  const auto cut = [&](NodeId language, ExprId value, std::uint32_t some_bit) {
    std::vector<NameClass> next;
    for (const NameClass& c : rest) {
      NameClass inside = c, outside = c;
      inside.language = pool.both({c.language, language});
      inside.value = exprs.both({c.value, value});
      inside.some |= some_bit;
      outside.language = pool.without(c.language, language);
      if (pool.live(inside.language)) {
        next.push_back(std::move(inside));
      }
      if (pool.live(outside.language)) {
        next.push_back(std::move(outside));
      }
    }
    rest = std::move(next);
  };
  for (const auto& [language, value] : clause.patterns) {
    cut(language, value, 0);
  }
  for (std::uint32_t i = 0; i < clause.some.size(); ++i) {
    cut(clause.some[i].first, kTrue, 1u << i);
  }
  for (NameClass& c : rest) {
    out.push_back(std::move(c));
  }
  return out;
}

}  // namespace lm::grammar
