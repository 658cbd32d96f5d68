/// A model as a planner sees it: what its header says. No weight is read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/gguf/gguf_file.h"
#include "runtime/model/model_numbers.h"
#include "runtime/plan/placement.h"
#include "runtime/plan/work_bytes.h"

namespace lm {

/// The context below which layers leave the GPU rather than tokens the context.
std::uint32_t context_floor(const Hparams& hparams);

/// One use of a tensor: where it is needed, and how much of it one token reads.
struct TensorUse {
  const GgufTensor* tensor = nullptr;
  Role role = Role::attention;
  std::uint32_t layer = 0;
  /// Share that evaluating one token reads: 1; used / all of experts; 0 of an embedding's table.
  double read_share = 1.0;
};

class ModelShape {
 public:
  /// `file` must outlive the shape; its data is not touched. Errors: those of read_numbers and
  /// find_tensors.
  static Result<ModelShape> read(const GgufFile& file);

  const GgufFile& file() const { return *file_; }
  const Hparams& hparams() const { return numbers_.hparams; }
  const Architecture& architecture() const { return *numbers_.architecture; }
  const std::vector<TensorUse>& uses() const { return uses_; }
  /// Output and embedding are one tensor.
  bool tied() const { return tied_; }
  bool has_experts() const { return numbers_.hparams.moe.n_expert > 0; }

  /// Bytes of weights on each of `n_device` devices; a tensor that two parts need on one device
  /// counts once. Where `copied` is set every tensor is rounded up to 256 bytes, as slabs hold
  /// them.
  std::vector<std::uint64_t> weight_bytes(const Placement& placement,
                                          const std::vector<bool>& copied) const;

  /// What plans of this model are made from. The shape must outlive the result, as `placement` and
  /// `kv` must.
  ForwardInputs forward_inputs(const Placement& placement, const KvLayout& kv,
                               std::uint16_t n_device, std::uint32_t n_ctx) const;

  /// The device of a use under a placement.
  static std::uint16_t device_of(const TensorUse& use, const Placement& placement);

 private:
  const GgufFile* file_ = nullptr;
  ModelNumbers numbers_;
  std::vector<TensorUse> uses_;
  std::shared_ptr<const Weights> outline_;
  bool tied_ = false;
};

}  // namespace lm
