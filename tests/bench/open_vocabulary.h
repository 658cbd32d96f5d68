/// The vocabulary of a GGUF file, for programs that need no weights.
#pragma once

#include <memory>
#include <utility>

#include "runtime/gguf/gguf_file.h"
#include "runtime/tokenizer/tokenizer.h"

namespace lm {

struct OpenVocabulary {
  GgufFile file;  ///< the tokenizer's texts lie in it
  std::unique_ptr<Tokenizer> tokenizer;
};

inline Result<OpenVocabulary> open_vocabulary(const char* path) {
  LM_TRY(GgufFile file, GgufFile::open(path));
  LM_TRY(auto tokenizer, Tokenizer::create(file.metadata()));
  return OpenVocabulary{.file = std::move(file), .tokenizer = std::move(tokenizer)};
}

}  // namespace lm
