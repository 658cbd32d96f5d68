// lm debug grammar: does a schema or grammar allow a text? Asks the automaton that masks decoding.
#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/debug.h"
#include "cmd/output.h"
#include "cmd/text_file.h"
#include "runtime/grammar/grammar.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kMaxGrammarBytes = 16u << 20;
constexpr std::size_t kMaxInputBytes = 256u << 20;

/// Every failure before the text is looked at counts as "not compilable": exit 2.
template <class T>
Result<T> not_compilable(Result<T> result) {
  if (!result) {
    result.error().exit = ExitCode::usage;
  }
  return result;
}

Result<std::shared_ptr<grammar::Grammar>> compile(const std::optional<std::string>& schema,
                                                  const std::string& source) {
  auto compiled =
      schema ? grammar::Grammar::from_schema(source) : grammar::Grammar::from_gbnf(source);
  if (!compiled) {
    return std::unexpected(Failure(compiled.error()));
  }
  const auto& warnings = (*compiled)->warnings();
  if (!warnings.empty()) {
    for (std::size_t i = 1; i < warnings.size(); ++i) {
      print_warning(fmt::format("schema at '#{}': {}", warnings[i].pointer, warnings[i].problem));
    }
    return failure("unsupported", fmt::format("schema at '#{}'", warnings[0].pointer),
                   warnings[0].problem);
  }
  return std::move(*compiled);
}

}  // namespace

Result<ExitCode> debug_grammar(CommandLine& line) {
  std::optional<std::string> schema, gbnf, text;
  Arguments arguments(line);
  arguments.text("--schema", schema, "FILE", "a JSON schema");
  arguments.text("--gbnf", gbnf, "FILE", "a grammar in GBNF");
  arguments.positional("TEXT|-", text);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (schema.has_value() == gbnf.has_value()) {
    return usage_error("lm debug grammar", "takes one of --schema FILE and --gbnf FILE");
  }
  LM_TRY(const std::string source,
         not_compilable(read_text_file(schema ? *schema : *gbnf, kMaxGrammarBytes)));
  LM_TRY(const std::shared_ptr<grammar::Grammar> grammar, not_compilable(compile(schema, source)));
  if (!text) {
    return ExitCode::ok;
  }
  if (*text == "-") {
    LM_TRY(text, read_text_file("-", kMaxInputBytes));
  }
  const auto accepted = grammar->accepts(*text);
  if (!accepted) {
    return std::unexpected(Failure(accepted.error()));
  }
  return *accepted ? ExitCode::ok : ExitCode::failed;
}

}  // namespace lm::cmd
