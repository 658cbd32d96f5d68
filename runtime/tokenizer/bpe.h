/// Byte-pair encoding with merges: byte-level ("gpt2") and over characters ("gemma4").
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

/// `metadata` holds the merges. Errors: missing, bad_vocab (a merge that is no pair), unsupported
/// (pre-tokenizer).
Result<std::unique_ptr<Tokenizer>> make_bpe(Vocab vocab, const Metadata& metadata,
                                            std::vector<std::string>* warnings);

}  // namespace lm::tokenizer
