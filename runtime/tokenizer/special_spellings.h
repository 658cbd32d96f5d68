/// Tokens whose meaning shows in their spelling only: many files give them a wrong id or a wrong
/// type.
#pragma once

#include <string_view>

namespace lm::tokenizer {

/// True for texts of tokens that end an answer: <|im_end|>, <|eot_id|>, <end_of_turn> …
bool ends_generation(std::string_view text);
/// True for texts of tokens that are control tokens whatever type the file gives them: those that
/// end an answer and those that mark the parts of an infill prompt.
bool is_control_spelling(std::string_view text);

}  // namespace lm::tokenizer
