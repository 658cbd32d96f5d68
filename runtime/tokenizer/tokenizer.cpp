#include "runtime/tokenizer/tokenizer.h"

#include <new>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>

#include "runtime/tokenizer/bpe.h"
#include "runtime/tokenizer/spm.h"

namespace lm {

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(const Metadata& metadata,
                                                     std::vector<std::string>* warnings) {
  try {
    LM_TRY(Vocab vocab, read_vocab(metadata, warnings));
    if (vocab.model == "llama") {
      return tokenizer::make_spm(std::move(vocab), warnings);
    }
    if (vocab.model == "gpt2" || vocab.model == "gemma4") {
      return tokenizer::make_bpe(std::move(vocab), metadata, warnings);
    }
    if (vocab.model == "none" || vocab.model == "no_vocab") {
      return fail(ErrorCode::unsupported, metadata.subject(),
                  "the file has no vocabulary (tokenizer.ggml.model)",
                  "give token ids instead of text");
    }
    return fail(ErrorCode::unsupported, metadata.subject(),
                fmt::format("key 'tokenizer.ggml.model' is '{}'; known are llama, gpt2 and gemma4",
                            std::string_view(vocab.model).substr(0, 100)),
                "this model needs a newer lm");
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory, metadata.subject(),
                "there is not enough memory for the tokenizer");
  } catch (const std::length_error&) {
    return fail(ErrorCode::out_of_memory, metadata.subject(),
                "the vocabulary is larger than memory can hold");
  }
}

std::size_t Tokenizer::n_vocab() const {
  return vocab().size();
}

}  // namespace lm
