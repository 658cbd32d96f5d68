/// A model ready to run: numbers, vocabulary, template and weights on their devices. Const after
/// load.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "runtime/chat/chat_template.h"
#include "runtime/gguf/gguf_file.h"
#include "runtime/model/hparams.h"
#include "runtime/model/weights.h"
#include "runtime/plan/placement.h"
#include "runtime/tokenizer/tokenizer.h"

namespace lm {

struct Architecture;

struct LoadOptions {
  /// Devices, in the order that Placement numbers them. The model keeps them.
  std::vector<std::shared_ptr<Backend>> devices;
  Placement placement;         ///< empty: everything on device 0
  bool need_tokenizer = true;  ///< false: `debug logits --ids` and bench work without a vocabulary
};

class Model {
 public:
  /// Reads hyper-parameters, checks every tensor's shape against them, then binds weights (mapped
  /// in place on a CPU). Errors name key or tensor: unsupported_arch (lists what is supported and
  /// the nearest relative), missing, shape_mismatch, bad_value, unsupported_type, bad_vocab.
  static Result<std::shared_ptr<const Model>> load(GgufFile file, const LoadOptions& options);
  /// The same with a file that can be loaded again after a failure.
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const GgufFile> file,
                                                   const LoadOptions& options);

  const GgufFile& file() const { return *file_; }
  const Hparams& hparams() const { return hparams_; }
  const Architecture& architecture() const { return *architecture_; }
  const Weights& weights() const { return *weights_; }
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }  ///< null without a vocabulary
  const std::vector<std::shared_ptr<Backend>>& devices() const { return devices_; }
  const Placement& placement() const { return placement_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  std::uint32_t n_vocab() const { return hparams_.n_vocab; }

 private:
  friend struct ModelBuilder;
  explicit Model(std::shared_ptr<const GgufFile> file) : file_(std::move(file)) {}

  // Destroyed from the last to the first: weights before the devices and the file that they lie in.
  std::shared_ptr<const GgufFile> file_;
  std::vector<std::shared_ptr<Backend>> devices_;
  Hparams hparams_;
  const Architecture* architecture_ = nullptr;
  std::unique_ptr<Tokenizer> tokenizer_;
  Placement placement_;
  std::vector<std::string> warnings_;
  std::unique_ptr<Weights> weights_;
};

/// What `show` and lists need, from the header alone (a vocabulary-only file is enough).
struct ModelSummary {
  std::string architecture;
  std::string quantization;
  std::uint64_t parameter_count = 0;
  std::int64_t n_ctx_train = 0;
  std::int64_t n_embd = 0;
  std::string chat_template;              ///< Jinja source, or empty
  std::vector<std::string> capabilities;  ///< completion, tools, embedding
};
Result<ModelSummary> summarize(const GgufFile& file);

}  // namespace lm
