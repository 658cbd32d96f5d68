#include "runtime/model/model_numbers.h"

#include <fmt/core.h>

namespace lm {
namespace {

std::string shape_text(std::uint64_t cols, std::uint64_t rows) {
  return rows == 1 ? fmt::format("[{}]", cols) : fmt::format("[{}, {}]", cols, rows);
}

std::string shape_text(const GgufTensor& t) {
  std::string text = fmt::format("[{}", t.ne[0]);
  for (std::uint32_t d = 1; d < t.n_dims; ++d) {
    text += fmt::format(", {}", t.ne[d]);
  }
  return text + "]";
}

/// Tokens of the vocabulary, or rows of the embedding where the file has no vocabulary; a
/// difference is an error.
Result<std::uint32_t> read_n_vocab(const GgufFile& file) {
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) {
    return fail(ErrorCode::missing, fmt::format("{}: tensor 'token_embd.weight'", file.name()),
                "is not in the file",
                file.tensors().empty() ? "this file holds a vocabulary only, no model" : "");
  }
  const MetadataValue* tokens = file.metadata().find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->type == GgufType::array && tokens->count != embedding->rows()) {
    return fail(
        ErrorCode::shape_mismatch, fmt::format("{}: tensor 'token_embd.weight'", file.name()),
        fmt::format("has {} rows, the vocabulary has {} tokens", embedding->rows(), tokens->count));
  }
  constexpr std::uint64_t kMaxVocab = 2u << 20;
  if (embedding->rows() == 0 || embedding->rows() > kMaxVocab) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("{}: tensor 'token_embd.weight'", file.name()),
                fmt::format("has {} rows, at most {} are supported", embedding->rows(), kMaxVocab));
  }
  return static_cast<std::uint32_t>(embedding->rows());
}

Result<void> check_tensor(const GgufFile& file, const TensorSpec& spec, const GgufTensor& tensor) {
  const std::string subject = fmt::format("{}: tensor '{}'", file.name(), spec.name);
  const bool fits = spec.vector ? tensor.ne[0] * tensor.rows() == spec.cols * spec.rows
                                : tensor.ne[0] == spec.cols && tensor.rows() == spec.rows;
  if (!fits) {
    return fail(ErrorCode::shape_mismatch, subject,
                fmt::format("has shape {}, expected {}", shape_text(tensor),
                            shape_text(spec.cols, spec.rows)));
  }
  const BlockLayout& type = layout(tensor.dtype);
  if (type.use != TypeUse::weight) {
    return fail(ErrorCode::unsupported_type, subject,
                fmt::format("has type {}, which holds no weights", type.name));
  }
  return {};
}

}  // namespace

Result<std::vector<const GgufTensor*>> find_tensors(const GgufFile& file,
                                                    const std::vector<TensorSpec>& specs) {
  std::vector<const GgufTensor*> found(specs.size(), nullptr);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const TensorSpec& spec = specs[i];
    found[i] = file.find_tensor(spec.name);
    if (found[i] != nullptr) {
      LM_CHECK(check_tensor(file, spec, *found[i]));
      continue;
    }
    if (spec.need == Need::required) {
      return fail(
          ErrorCode::missing, fmt::format("{}: tensor '{}'", file.name(), spec.name),
          fmt::format("is not in the file (expected shape {})", shape_text(spec.cols, spec.rows)));
    }
  }
  return found;
}

Result<ModelNumbers> read_numbers(const GgufFile& file) {
  const std::string& name = file.architecture();
  if (name.empty()) {
    return fail(ErrorCode::missing, fmt::format("{}: general.architecture", file.name()),
                "is not in the file");
  }
  const Architecture* architecture = find_architecture(name);
  if (architecture == nullptr) {
    return fail(ErrorCode::unsupported_arch, fmt::format("{}: general.architecture", file.name()),
                fmt::format("'{}' is not supported (nearest: {})", name.substr(0, 64),
                            nearest_architecture(name)),
                "supported: " + supported_architectures());
  }
  LM_TRY(const std::uint32_t n_vocab, read_n_vocab(file));
  LM_TRY(Hparams hparams, architecture->read(ArchKeys(file.metadata(), name)));
  hparams.arch = name;
  hparams.n_vocab = n_vocab;
  return ModelNumbers{architecture, std::move(hparams)};
}

}  // namespace lm
