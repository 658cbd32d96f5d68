#include "runtime/plan/model_shape.h"

#include <algorithm>
#include <limits>
#include <set>

namespace lm {
namespace {

constexpr std::uint32_t kContextFloor = 4096;
constexpr std::uint64_t kSlabAlignment = 256;
constexpr std::uint16_t kMaxDevices = 64;

double read_share(const TensorSpec& spec, const GgufTensor& tensor, const Hparams& h) {
  if (spec.role == Role::embedding) {
    return 0.0;
  }
  const bool per_expert = spec.role == Role::experts && h.moe.n_expert > 0 && tensor.n_dims == 3;
  return per_expert ? static_cast<double>(h.moe.n_used) / h.moe.n_expert : 1.0;
}

}  // namespace

std::uint32_t context_floor(const Hparams& hparams) {
  return std::min(kContextFloor, hparams.n_ctx_train);
}

Result<ModelShape> ModelShape::read(const GgufFile& file) {
  ModelShape shape;
  shape.file_ = &file;
  LM_TRY(shape.numbers_, read_numbers(file));
  const Hparams& h = shape.hparams();
  const std::vector<TensorSpec> specs = list_tensors(h, shape.architecture(), file, {});
  LM_TRY(const auto found, find_tensors(file, specs));
  const GgufTensor* embedding = nullptr;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (found[i] == nullptr || specs[i].role == Role::constant) {
      continue;
    }
    shape.uses_.push_back(
        {found[i], specs[i].role, specs[i].layer, read_share(specs[i], *found[i], h)});
    embedding =
        specs[i].role == Role::embedding && specs[i].rows == h.n_vocab ? found[i] : embedding;
    shape.tied_ = shape.tied_ || (specs[i].role == Role::output && found[i] == embedding);
  }
  shape.outline_ = Weights::outline(file, kMaxDevices);
  return shape;
}

std::uint16_t ModelShape::device_of(const TensorUse& use, const Placement& placement) {
  switch (use.role) {
    case Role::embedding:
    case Role::constant:
      return placement.embedding;
    case Role::output:
      return placement.output;
    case Role::attention:
      return placement.of(use.layer, Part::attention);
    case Role::ffn:
      return placement.of(use.layer, Part::ffn);
    case Role::experts:
      return placement.of(use.layer, Part::experts);
  }
  return 0;
}

std::vector<std::uint64_t> ModelShape::weight_bytes(const Placement& placement,
                                                    const std::vector<bool>& copied) const {
  std::vector<std::uint64_t> bytes(copied.size());
  std::set<std::pair<const GgufTensor*, std::uint16_t>> seen;
  for (const TensorUse& use : uses_) {
    const std::uint16_t device = device_of(use, placement);
    if (seen.emplace(use.tensor, device).second) {
      const std::uint64_t unit = copied[device] ? kSlabAlignment : 1;
      bytes[device] += (use.tensor->bytes + unit - 1) / unit * unit;
    }
  }
  return bytes;
}

ForwardInputs ModelShape::forward_inputs(const Placement& placement, const KvLayout& kv,
                                         std::uint16_t n_device, std::uint32_t n_ctx) const {
  return {.hparams = hparams(),
          .file = *file_,
          .weights = *outline_,
          .placement = placement,
          .kv = kv,
          .n_ctx = n_ctx,
          .pooled = hparams().pooling != Pooling::none,
          .n_device = n_device};
}

}  // namespace lm
