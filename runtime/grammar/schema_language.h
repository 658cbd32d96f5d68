/// A JSON schema (draft 2020-12; draft-07's tuples) as normal forms, computed when asked for.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/error.h"
#include "runtime/grammar/schema_document.h"
#include "runtime/grammar/schema_expr.h"
#include "runtime/grammar/schema_normal.h"

namespace lm::grammar {

/// A keyword that is valid and not (fully) enforced.
struct Warning {
  std::string pointer;  ///< of the keyword
  std::string problem;  ///< "is not enforced: ..."
};

class SchemaLanguage {
 public:
  SchemaLanguage(RegexPool& pool, std::unique_ptr<SchemaDocument> document);

  /// Reads every schema that the root reaches. Errors name the JSON pointer: bad_value
  /// (malformed), missing and unsupported (`$ref`), limit_exceeded.
  Result<void> compile();
  ExprId root() { return exprs_.schema(0); }
  /// The schema at a JSON pointer of the document; to be asked for before `compile`. Errors:
  /// missing.
  Result<ExprId> schema_at(const std::string& pointer);
  const std::vector<Warning>& warnings() const { return warnings_; }

  /// The reference stays valid. Over budget: the empty language.
  const Normal& normal(ExprId id);
  /// Can any value satisfy it? Never false for one that can; true for some that no value satisfies
  /// (counts of `contains` that contradict each other).
  bool inhabited(ExprId id);
  /// The same of one clause; not to be asked while a schema is being read.
  template <class Clause>
  bool inhabited(const Clause& clause) {
    bool tentative = false;
    return search(clause, 0, tentative);
  }
  /// The value that `text` (JSON that the automaton let through) stands for. Numbers keep all their
  /// digits.
  ExprId value_of(const std::string& text);
  /// At most so many different values satisfy it; kNoLimit when they are more than can be counted.
  std::uint64_t count(ExprId id);

  // For the keywords.
  SchemaDocument& document() { return *document_; }
  RegexPool& pool() { return pool_; }
  ExprPool& exprs() { return exprs_; }
  NormalAlgebra& algebra() { return algebra_; }
  ExprId child(const SchemaPlace& of, const nlohmann::json& schema, const std::string& pointer);
  ExprId constant(const nlohmann::json& value, const std::string& pointer);
  void warn(const std::string& pointer, std::string problem);
  void set_error(const std::string& pointer, ErrorCode code, std::string problem,
                 std::string hint = {});
  bool failed() const { return error_.has_value(); }

 private:
  Normal compute(ExprId id);
  bool search(ExprId id, int depth, bool& tentative);
  bool search(const ArrayClause& clause, int depth, bool& tentative);
  bool search(const ObjectClause& clause, int depth, bool& tentative);

  RegexPool& pool_;
  std::unique_ptr<SchemaDocument> document_;
  ExprPool exprs_;
  NormalAlgebra algebra_;
  std::map<ExprId, std::unique_ptr<Normal>> normals_;  ///< null: being computed
  std::map<ExprId, bool> inhabited_;
  std::map<ExprId, bool> searching_;
  std::map<ExprId, std::uint64_t> counts_;
  std::map<std::string, ExprId> values_;
  std::deque<nlohmann::json> value_texts_;
  Normal none_;
  int depth_ = 0;  ///< of normal forms being computed
  std::optional<Error> error_;
  std::vector<Warning> warnings_;
};

/// The classes of property names that an object clause tells apart.
struct NameClass {
  NodeId language = RegexPool::kNone;
  ExprId value = kTrue;         ///< of every property with such a name
  std::uint32_t some = 0;       ///< bits: which of the clause's `some` a property here may satisfy
  std::u32string literal = {};  ///< the one name, when it is one
  bool is_literal = false;
  bool required = false;
};
/// Literal names first, then what the patterns leave. Over budget: empty.
std::vector<NameClass> name_classes(RegexPool& pool, ExprPool& exprs, const ObjectClause& clause);

/// Normal form of one schema of the document: all its keywords together.
Normal read_schema(SchemaLanguage& language, std::uint32_t place);
/// Values that equal `value`.
Normal read_constant(SchemaLanguage& language, std::uint32_t place);

std::u32string to_code_points(std::string_view utf8);

}  // namespace lm::grammar
