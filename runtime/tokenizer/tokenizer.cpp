#include "runtime/tokenizer/tokenizer.h"

#include <new>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>

#include "runtime/tokenizer/bpe.h"
#include "runtime/tokenizer/spm.h"
#include "runtime/tokenizer/unigram.h"
#include "runtime/tokenizer/wordpiece.h"

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
    if (vocab.model == "bert") {
      return tokenizer::make_wordpiece(std::move(vocab), metadata, warnings);
    }
    if (vocab.model == "t5") {
      return tokenizer::make_unigram(std::move(vocab), metadata, warnings);
    }
    if (vocab.model == "none" || vocab.model == "no_vocab") {
      return fail(ErrorCode::unsupported, metadata.subject(),
                  "the file has no vocabulary (tokenizer.ggml.model)",
                  "give token ids instead of text");
    }
    return fail(ErrorCode::unsupported, metadata.subject(),
                fmt::format("key 'tokenizer.ggml.model' is '{}'; known are llama, gpt2, gemma4, "
                            "bert and t5",
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

void encode_whole(const Tokenizer& tokenizer, std::string_view text, SpecialTokens special,
                  std::vector<Token>& ids) {
  const Vocab& vocab = tokenizer.vocab();
  const std::size_t first = ids.size();
  tokenizer.encode(text, special, true, ids);
  const auto at = ids.begin() + static_cast<std::ptrdiff_t>(first);
  if (vocab.add_bos && vocab.bos != kNoId && (at == ids.end() || *at != vocab.bos)) {
    ids.insert(at, vocab.bos);
  }
  // Encoders end with [SEP]; in XLM-R's vocabularies that is the same token as EOS.
  for (const Token end : {vocab.add_sep ? vocab.sep : kNoId, vocab.add_eos ? vocab.eos : kNoId}) {
    if (end != kNoId && (ids.size() == first || ids.back() != end)) {
      ids.push_back(end);
      break;
    }
  }
}

}  // namespace lm
