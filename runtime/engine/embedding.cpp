#include "runtime/engine/embedding.h"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

namespace lm {

Result<EncodedText> encode_for_embedding(const Embed& embed, const Tokenizer& tokenizer,
                                         std::uint32_t n_ctx) {
  EncodedText text;
  const Vocab& vocab = tokenizer.vocab();
  text.tokens = embed.ids.empty() ? encode_prompt(tokenizer, embed.prompt, true) : embed.ids;
  const Token end = vocab.add_sep ? vocab.sep : vocab.add_eos ? vocab.eos : kNoId;
  const bool ends = embed.ids.empty() && end != kNoId;
  if (ends && (text.tokens.empty() || text.tokens.back() != end)) {
    text.tokens.push_back(end);
  }
  if (text.tokens.empty()) {
    return fail(ErrorCode::invalid_argument, "input", "is empty", "give some text");
  }
  for (const Token token : text.tokens) {
    if (token < 0 || static_cast<std::size_t>(token) >= tokenizer.n_vocab()) {
      return fail(ErrorCode::invalid_argument, "input",
                  fmt::format("token {} is not below {}", token, tokenizer.n_vocab()));
    }
  }
  text.n_whole = static_cast<std::uint32_t>(text.tokens.size());
  if (text.n_whole <= n_ctx) {
    return text;
  }
  if (!embed.truncate) {
    return fail(ErrorCode::context_exceeded, "input",
                fmt::format("input length exceeds the context length: {} tokens, {} fit",
                            text.n_whole, n_ctx),
                "shorten it, or allow truncation");
  }
  text.n_dropped = text.n_whole - n_ctx;
  text.tokens.resize(n_ctx);
  if (ends) {
    text.tokens.back() = end;
  }
  return text;
}

Result<std::vector<float>> finish_embedding(std::span<const float> values, std::uint32_t dimensions,
                                            bool normalize) {
  if (dimensions > values.size()) {
    return fail(ErrorCode::invalid_argument, "dimensions",
                fmt::format("{} are asked for, the model has {}", dimensions, values.size()));
  }
  if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) {
    return fail(ErrorCode::non_finite, "embedding", "is not finite",
                "find the bad tensor with: lm verify --weights MODEL");
  }
  const auto kept = dimensions == 0 ? values : values.first(dimensions);
  std::vector<float> vector(kept.begin(), kept.end());
  if (normalize) {
    double squares = 0.0;
    for (const float v : vector) {
      squares += static_cast<double>(v) * static_cast<double>(v);
    }
    const double scale = squares > 0.0 ? 1.0 / std::sqrt(squares) : 0.0;
    for (float& v : vector) {
      v = static_cast<float>(static_cast<double>(v) * scale);
    }
  }
  return vector;
}

}  // namespace lm
