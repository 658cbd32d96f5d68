#include "runtime/model/model.h"

#include <algorithm>
#include <unordered_set>

#include <fmt/core.h>

#include "runtime/model/architecture.h"
#include "runtime/model/forward.h"
#include "runtime/model/model_numbers.h"

namespace lm {
namespace {

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
    LM_TRY(ModelNumbers numbers, lm::read_numbers(*model.file_));
    model.architecture_ = numbers.architecture;
    model.hparams_ = std::move(numbers.hparams);
    return {};
  }

  Result<void> bind_weights() {
    const GgufFile& file = *model.file_;
    const std::vector<TensorSpec> specs =
        list_tensors(model.hparams_, *model.architecture_, file, model.placement_);
    LM_TRY(const auto found, find_tensors(file, specs));
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
  return load(std::make_shared<const GgufFile>(std::move(file)), options);
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const GgufFile> file,
                                                 const LoadOptions& options) {
  if (options.devices.empty()) {
    return fail(ErrorCode::invalid_argument, "devices", "a model needs at least one device");
  }
  std::shared_ptr<Model> model(new Model(std::move(file)));
  model->devices_ = options.devices;
  model->placement_ = options.placement;
  ModelBuilder builder{*model};
  LM_CHECK(builder.read_numbers());
  if (options.need_tokenizer) {
    LM_TRY(model->tokenizer_, Tokenizer::create(model->file_->metadata(), &model->warnings_));
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
