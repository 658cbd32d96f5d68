#include "runtime/grammar/grammar.h"

#include <algorithm>

#include "runtime/grammar/gbnf.h"
#include "runtime/grammar/schema_expander.h"

namespace lm::grammar {

Grammar::Grammar() : pool_(budget_), lexer_(pool_) {}

Result<void> Grammar::begin(StackId document) {
  start_ = machine_->closure({document});
  return check();
}

Result<void> Grammar::check() const {
  if (budget_.spent()) {
    return fail(ErrorCode::limit_exceeded, "grammar", budget_.why(),
                "simplify the schema or grammar");
  }
  return {};
}

Result<std::shared_ptr<Grammar>> Grammar::from_schema(std::string_view json) {
  LM_TRY(std::unique_ptr<SchemaDocument> document, SchemaDocument::parse(json));
  std::shared_ptr<Grammar> grammar(new Grammar());
  grammar->schema_ = std::make_unique<SchemaLanguage>(grammar->pool_, std::move(document));
  LM_CHECK(grammar->schema_->compile());
  grammar->warnings_ = grammar->schema_->warnings();
  auto expander = std::make_unique<SchemaExpander>(*grammar->schema_, grammar->lexer_);
  SchemaExpander& schema = *expander;
  grammar->expander_ = std::move(expander);
  grammar->machine_ =
      std::make_unique<Machine>(grammar->pool_, grammar->lexer_, *grammar->expander_);
  if (grammar->schema_->inhabited(grammar->schema_->root())) {
    LM_CHECK(grammar->begin(schema.document(*grammar->machine_)));
  }
  return grammar;
}

Result<std::shared_ptr<Grammar>> Grammar::any_object() {
  return from_schema(R"({"type":"object"})");
}

Result<std::shared_ptr<Grammar>> Grammar::from_gbnf(std::string_view source) {
  std::shared_ptr<Grammar> grammar(new Grammar());
  LM_TRY(auto expander, GbnfExpander::compile(source, grammar->pool_, grammar->lexer_));
  GbnfExpander& rules = *expander;
  grammar->expander_ = std::move(expander);
  grammar->machine_ =
      std::make_unique<Machine>(grammar->pool_, grammar->lexer_, *grammar->expander_);
  LM_CHECK(grammar->begin(rules.document(*grammar->machine_)));
  return grammar;
}

Result<std::shared_ptr<Grammar>> Grammar::from_parts(const PartGraph& parts) {
  LM_TRY(std::unique_ptr<SchemaDocument> document, SchemaDocument::parse(parts.schemas));
  std::shared_ptr<Grammar> grammar(new Grammar());
  if (parts.plain_escapes) {
    grammar->lexer_.use_plain_escapes();
  }
  grammar->schema_ = std::make_unique<SchemaLanguage>(grammar->pool_, std::move(document));
  LM_TRY(const std::vector<ExprId> schemas, PartsExpander::schemas_of(parts, *grammar->schema_));
  LM_CHECK(grammar->schema_->compile());
  grammar->warnings_ = grammar->schema_->warnings();
  auto values = std::make_unique<SchemaExpander>(*grammar->schema_, grammar->lexer_);
  LM_TRY(grammar->parts_,
         PartsExpander::create(parts, schemas, *grammar->schema_, grammar->lexer_, *values));
  grammar->expander_ = std::move(values);
  grammar->machine_ = std::make_unique<Machine>(grammar->pool_, grammar->lexer_, *grammar->parts_);
  LM_CHECK(grammar->begin(grammar->parts_->document(*grammar->machine_)));
  return grammar;
}

bool Grammar::finished(ConfigId config) const {
  if (!machine_->complete(config)) {
    return false;
  }
  // Of a schema, a lexeme above the empty stack is the white space at the document's end.
  const std::vector<StackId>& stacks = machine_->stacks(config);
  return std::all_of(stacks.begin(), stacks.end(), [&](StackId stack) {
    return schema_ != nullptr && parts_ == nullptr && machine_->frame(stack).parent == 0;
  });
}

Result<bool> Grammar::accepts(std::string_view text) {
  ConfigId at = start_;
  for (const char byte : text) {
    budget_.start_phase();
    at = machine_->step(at, static_cast<std::uint8_t>(byte));
  }
  LM_CHECK(check());
  return machine_->complete(at);
}

}  // namespace lm::grammar
