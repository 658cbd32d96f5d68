/// Escapes in the strings of templates, as Python reads them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lm::jinja {

/// Appends what the escape stands for that `source` begins with (a backslash and at least one more
/// byte). Returns its length in bytes; 0 when it is malformed.
std::size_t read_escape(std::string_view source, std::string& text);

}  // namespace lm::jinja
