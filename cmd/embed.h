/// Texts to vectors with a loaded embedding model.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cmd/load.h"

namespace lm::cmd {

struct EmbedChoices {
  bool truncate = true;
  std::uint32_t dimensions = 0;  ///< 0: all
};

struct Embeddings {
  std::vector<std::vector<float>> vectors;  ///< one a text, in order, of length 1
  std::uint64_t prompt_tokens = 0;
  std::uint64_t truncated_tokens = 0;
};

/// Embeds all texts, many at a time. Errors: those of the engine, of the first text that fails.
Result<Embeddings> embed_texts(Engine& engine, std::span<const std::string> texts,
                               const EmbedChoices& choices);

/// A vector as a JSON array.
std::string vector_json(std::span<const float> vector);

}  // namespace lm::cmd
