/// What Python's str methods know about characters: classes and case.
#pragma once

#include <cstdint>

#include "runtime/tokenizer/characters.h"

namespace lm::jinja {

using unicode::Case;
using unicode::to_case;

bool is_space(std::uint32_t code_point);
bool is_alpha(std::uint32_t code_point);
bool is_decimal(std::uint32_t code_point);
bool is_numeric(std::uint32_t code_point);
bool is_upper(std::uint32_t code_point);
bool is_lower(std::uint32_t code_point);
bool is_title(std::uint32_t code_point);
/// What repr() shows as it is.
bool is_printable(std::uint32_t code_point);
/// May begin, or stand inside, a name.
bool begins_name(std::uint32_t code_point);
bool continues_name(std::uint32_t code_point);

}  // namespace lm::jinja
