/// Go text/template sources, as Modelfiles carry them, become Jinja sources, or an error: never a
/// silent misrendering.
#pragma once

#include <string>
#include <string_view>

#include "backends/error.h"

namespace lm {

/// Translates the subset that chat templates use: text, trim marks, comments; `if`, `else if`,
/// `else`, `range` over .Messages, `break`, `continue`, `end`; `$name := …`; fields .System .Prompt
/// .Response .Suffix .Messages (also through $) and .Role .Content of a message; strings, integers,
/// true, false; eq ne lt le gt ge and or not len slice. The result is for ChatTemplate::compile; it
/// reads `messages`.
///
/// A template without .Messages describes one turn (.System .Prompt .Response) and is rendered once
/// a turn, as Ollama does it: a system message, the user message after it and the assistant's
/// answer belong together; the last turn stops behind .Response, which is added at the end where it
/// is missing. Messages of one role in a row become one, joined by an empty line. In a template
/// with .Messages, .System is the text of all system messages, and .Prompt, .Response and .Suffix
/// are empty.
///
/// Errors: bad_template for what is malformed, unsupported for functions and fields outside the
/// subset (.Tools too), with the line.
Result<std::string> translate_go_template(std::string_view source);

/// True for a template in Go's text/template language rather than Jinja.
bool is_go_template(std::string_view text);

}  // namespace lm
