/// WordPiece, the tokenizer of BERT: normalised words, each cut greedily into the longest pieces.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

/// Pieces that begin a word carry U+2581 in the file, others carry nothing. Reads
/// tokenizer.ggml.normalizer.lowercase and .strip_accents; without them both are done. Errors:
/// bad_value (a key of a wrong type).
Result<std::unique_ptr<Tokenizer>> make_wordpiece(Vocab vocab, const Metadata& metadata,
                                                  std::vector<std::string>* warnings);

}  // namespace lm::tokenizer
