/// Regular expressions of JSON schemas (ECMA-262) as regular languages.
#pragma once

#include <string_view>

#include "backends/error.h"
#include "runtime/grammar/regex.h"

namespace lm::grammar {

/// The strings in which `pattern` matches somewhere, as JSON schema's `pattern` means it. Anchors
/// and look-ahead are part of the language built. Errors: bad_value (not an expression),
/// unsupported (back-references, look-behind, word boundaries, unknown \p names), limit_exceeded.
Result<NodeId> compile_pattern(RegexPool& pool, std::string_view pattern);

}  // namespace lm::grammar
