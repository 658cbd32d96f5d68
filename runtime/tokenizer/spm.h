/// SentencePiece's BPE variant ("SPM", tokenizer.ggml.model = "llama").
#pragma once

#include <memory>

#include "runtime/tokenizer/tokenizer.h"

namespace lm::tokenizer {

/// Never fails for bad vocabularies; what can't be a byte token is taken as text, with a warning.
std::unique_ptr<Tokenizer> make_spm(Vocab vocab, std::vector<std::string>* warnings);

}  // namespace lm::tokenizer
