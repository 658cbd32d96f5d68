/// Drafts without a model: what followed the last words when they stood in the text before.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// Up to `n` tokens that followed the latest earlier occurrence of the text's last tokens (the
/// longest match of 8 to 3 tokens counts); none when they never stood there. Linear in the text.
/// Source: prompt lookup decoding (Saxena 2023), speculative decoding by copying from the context.
std::vector<Token> lookup_draft(std::span<const Token> text, std::uint32_t n);

}  // namespace lm
