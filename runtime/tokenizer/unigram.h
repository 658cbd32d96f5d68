/// Unigram, the tokenizer of T5 and XLM-R: the cut of a text whose pieces are most probable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

/// Reads tokenizer.ggml.precompiled_charsmap and .remove_extra_whitespaces. Characters that no
/// piece covers become byte tokens where the vocabulary has all 256, else the unknown token, one
/// for a run of them. Errors: bad_vocab (a malformed charsmap), bad_value.
Result<std::unique_ptr<Tokenizer>> make_unigram(Vocab vocab, const Metadata& metadata,
                                                std::vector<std::string>* warnings);

}  // namespace lm::tokenizer
