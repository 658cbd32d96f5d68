#include "runtime/model/model.h"

#include <algorithm>
#include <unordered_set>

#include <fmt/core.h>

#include "runtime/model/architecture.h"
#include "runtime/model/forward.h"

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

/// All specs against the file before any weight is read. Returns the tensors that are there, in
/// spec order.
Result<std::vector<const GgufTensor*>> check_tensors(const GgufFile& file,
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

std::vector<std::string> unused_tensor_warnings(const GgufFile& file,
                                                const std::vector<const GgufTensor*>& used) {
  const std::unordered_set<const GgufTensor*> known(used.begin(), used.end());
  std::size_t n = 0;
  std::string_view first;
  for (const GgufTensor& tensor : file.tensors()) {
    if (!known.contains(&tensor)) {
      first = n == 0 ? tensor.name : first;
      ++n;
    }
  }
  if (n == 0) {
    return {};
  }
  return {fmt::format("{}: {} tensor{} not used by this architecture (first: '{}')", file.name(), n,
                      n == 1 ? "" : "s", first)};
}

}  // namespace

/// Steps of Model::load that need its private members.
struct ModelBuilder {
  Model& model;

  Result<void> read_numbers() {
    const GgufFile& file = model.file_;
    const std::string& name = file.architecture();
    if (name.empty()) {
      return fail(ErrorCode::missing, fmt::format("{}: general.architecture", file.name()),
                  "is not in the file");
    }
    model.architecture_ = find_architecture(name);
    if (model.architecture_ == nullptr) {
      return fail(ErrorCode::unsupported_arch, fmt::format("{}: general.architecture", file.name()),
                  fmt::format("'{}' is not supported (nearest: {})", name.substr(0, 64),
                              nearest_architecture(name)),
                  "supported: " + supported_architectures());
    }
    LM_TRY(const std::uint32_t n_vocab, read_n_vocab(file));
    LM_TRY(model.hparams_, model.architecture_->read(ArchKeys(file.metadata(), name)));
    model.hparams_.arch = name;
    model.hparams_.n_vocab = n_vocab;
    return {};
  }

  Result<void> bind_weights() {
    const GgufFile& file = model.file_;
    const std::vector<TensorSpec> specs =
        list_tensors(model.hparams_, *model.architecture_, file, model.placement_);
    LM_TRY(const auto found, check_tensors(file, specs));
    model.warnings_ = file.warnings();
    for (std::string& warning : unused_tensor_warnings(file, found)) {
      model.warnings_.push_back(std::move(warning));
    }
    WeightsBuilder builder(file, model.devices_);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (found[i] != nullptr && specs[i].role != Role::constant) {
        builder.add(*found[i], specs[i].device);
      }
    }
    LM_TRY(model.weights_, builder.build());
    return {};
  }
};

Result<std::shared_ptr<const Model>> Model::load(GgufFile file, const LoadOptions& options) {
  if (options.devices.empty()) {
    return fail(ErrorCode::invalid_argument, "devices", "a model needs at least one device");
  }
  std::shared_ptr<Model> model(new Model(std::move(file)));
  model->devices_ = options.devices;
  model->placement_ = options.placement;
  ModelBuilder builder{*model};
  LM_CHECK(builder.read_numbers());
  if (options.need_tokenizer) {
    LM_TRY(model->tokenizer_, Tokenizer::create(model->file_.metadata(), &model->warnings_));
  }
  std::vector<std::string> vocabulary_warnings = std::move(model->warnings_);
  LM_CHECK(builder.bind_weights());
  model->warnings_.insert(model->warnings_.end(), vocabulary_warnings.begin(),
                          vocabulary_warnings.end());
  return std::shared_ptr<const Model>(std::move(model));
}

namespace {

/// Whether the model's result is a pooled vector. A vocabulary alone may lack the numbers that
/// tell.
bool gives_embeddings(const GgufFile& file) {
  const std::string& name = file.architecture();
  if (const Architecture* architecture = find_architecture(name)) {
    if (const auto h = architecture->read(ArchKeys(file.metadata(), name))) {
      return h->pooling != Pooling::none;
    }
  }
  return file.metadata().has(name + ".pooling_type");
}

}  // namespace

Result<ModelSummary> summarize(const GgufFile& file) {
  ModelSummary summary;
  const Metadata& metadata = file.metadata();
  const std::string& arch = file.architecture();
  summary.architecture = arch;
  summary.quantization = quantization_name(file);
  summary.parameter_count = file.parameter_count();
  LM_TRY(summary.n_ctx_train, metadata.int_or(arch + ".context_length", 0));
  LM_TRY(summary.n_embd, metadata.int_or(arch + ".embedding_length", 0));
  LM_TRY(const auto source, metadata.try_string("tokenizer.chat_template"));
  summary.chat_template = std::string(source.value_or(""));
  summary.capabilities.emplace_back(gives_embeddings(file) ? "embedding" : "completion");
  if (summary.chat_template.find("tools") != std::string::npos ||
      summary.chat_template.find("tool_call") != std::string::npos) {
    summary.capabilities.emplace_back("tools");
  }
  return summary;
}

}  // namespace lm
