/// A compiled grammar: which texts are allowed, and what may come next after a part of one.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/grammar/machine.h"
#include "runtime/grammar/parts.h"
#include "runtime/grammar/schema_language.h"

namespace lm::grammar {

/// Made on one thread at a time; steps keep what they find out, so one grammar must not be used by
/// two threads at once. Sequences with the same grammar share it.
class Grammar {
 public:
  /// From a JSON schema. Errors (their subject names the JSON pointer): bad_value, missing,
  /// unsupported, limit_exceeded.
  static Result<std::shared_ptr<Grammar>> from_schema(std::string_view json);
  /// Any JSON object.
  static Result<std::shared_ptr<Grammar>> any_object();
  /// From GBNF; the rule `root` is the whole text.
  static Result<std::shared_ptr<Grammar>> from_gbnf(std::string_view source);

  /// From parts. Errors: as `from_schema`, and bad_value where no value fits a schema.
  static Result<std::shared_ptr<Grammar>> from_parts(const PartGraph& parts);

  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  /// What is valid in the schema and not enforced.
  const std::vector<Warning>& warnings() const { return warnings_; }
  /// Position before the first byte; kStuck when nothing at all is allowed.
  ConfigId start() const { return start_; }
  Machine& machine() { return *machine_; }

  /// The text is complete and nothing can follow, of a schema nothing but white space.
  bool finished(ConfigId config) const;

  /// Does the grammar allow `text`, all of it? Errors: limit_exceeded.
  Result<bool> accepts(std::string_view text);
  /// So much has been found out that another sequence should compile its own.
  bool worn() const { return budget_.spent() || budget_.worn(); }
  /// The error of a step that went over budget; none while all is well.
  Result<void> check() const;

 private:
  Grammar();
  Result<void> begin(StackId document);

  Budget budget_;
  RegexPool pool_;
  Lexer lexer_;
  std::unique_ptr<SchemaLanguage> schema_;
  std::unique_ptr<Expander> expander_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<PartsExpander> parts_;
  std::vector<Warning> warnings_;
  ConfigId start_ = kStuck;
};

}  // namespace lm::grammar
