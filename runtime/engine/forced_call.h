/// Answers whose outline is fixed: exactly one tool call in the syntax of the model's family, or a
/// form behind the marks that a family puts in front of its answers.
#pragma once

#include "runtime/engine/messages.h"
#include "runtime/grammar/parts.h"
#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// One call of a tool that the request allows, its arguments as the tool's schema says. Marks that
/// are control tokens of the vocabulary are those tokens. Errors: invalid_argument (no tools, or
/// not the one named).
Result<grammar::PartGraph> call_parts(const Request& request, const Tokenizer& tokenizer);

/// A text of the schema on gpt-oss' channel for answers.
grammar::PartGraph final_channel_parts(const std::string& schema, const Tokenizer& tokenizer);

}  // namespace lm
