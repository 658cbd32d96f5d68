/// What a plan has to know of a model; nothing of it needs the weights.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/chat/message.h"
#include "runtime/gguf/gguf_file.h"
#include "runtime/tokenizer/tokenizer.h"
#include "server/api/chat_format.h"
#include "server/api/generation_options.h"

namespace lm::api {

/// How a vocabulary marks a gap to be filled in.
struct FillMarks {
  std::string prefix, suffix, middle;
  bool suffix_first = false;  ///< the text behind the gap comes first
  bool operator==(const FillMarks&) const = default;
};

/// Read off the vocabulary; none: the model was not taught to fill in.
std::optional<FillMarks> fill_marks(const Vocab& vocab);

struct ModelFacts {
  std::string name;  ///< as it is stored
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatFormat> format;
  std::optional<FillMarks> fill;
  ParameterTexts parameters;      ///< of the stored model
  std::string system;             ///< its default system message
  std::vector<Message> messages;  ///< its MESSAGEs
  std::uint32_t n_ctx = 0;        ///< of one sequence, as loaded
  bool embeds = false;            ///< it pools: vectors instead of text
  /// Vectors of /api/embeddings are of length 1 (all but nomic-bert without normalize_embeddings).
  bool normalizes = true;
  std::uint64_t load_ns = 0;  ///< what this request waited for the model; 0: it was there
};

/// Facts of a file: vocabulary, marks, whether it pools. The caller adds what the store knows and
/// what loading decided (parameters, system, messages, n_ctx, load_ns). `template_source` empty:
/// the file has none and no default fits. Linear in the vocabulary: make it once a model. Errors:
/// those of the vocabulary.
Result<ModelFacts> facts_of(const GgufFile& file, const std::string& name,
                            const std::string& template_source);

}  // namespace lm::api
