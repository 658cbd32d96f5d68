/// Ops become dispatches: which shader, with which constants and parameters, over how many
/// workgroups. Pure arithmetic, so that scratch is known before anything is loaded.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/vulkan/pipelines.h"

namespace lm::vulkan {

struct Dispatch {
  PipelineKey key;
  std::uint64_t params_at = 0;  ///< in Emitter::params
  std::uint32_t groups[3] = {1, 1, 1};
  std::uint32_t op = 0;  ///< number of the op in the segment
  bool after = false;    ///< needs what the dispatch before it wrote
};

class Emitter {
 public:
  /// `buffers` may be empty: then only sizes are of use.
  Emitter(std::span<Buffer* const> buffers, std::uint64_t scratch_address, std::uint32_t max_rows,
          std::uint32_t max_outputs)
      : buffers_(buffers),
        scratch_address_(scratch_address),
        max_rows_(max_rows),
        max_outputs_(max_outputs) {}

  void emit(const Op& op);

  // For the functions that emit one kind of op:

  /// Address of a tensor; 0 for an empty ref.
  std::uint64_t at(const TensorRef& t) const {
    return t.empty() || buffers_.empty() ? 0 : buffers_[t.buffer]->address() + t.offset;
  }
  std::uint32_t rows(RowSet set) const { return set == RowSet::step ? max_rows_ : max_outputs_; }
  std::uint32_t max_rows() const { return max_rows_; }
  /// Work memory of the current op.
  std::uint64_t scratch(std::uint64_t bytes);
  /// `after`: reads or overwrites what an earlier dispatch of the same op wrote.
  template <class Params>
  void dispatch(std::string shader, std::vector<std::uint32_t> constants, const Params& values,
                std::uint32_t x, std::uint32_t y = 1, std::uint32_t z = 1, bool after = false) {
    Dispatch d;
    d.key = {std::move(shader), std::move(constants)};
    d.params_at = (params.size() + 15) / 16 * 16;
    d.groups[0] = x;
    d.groups[1] = y;
    d.groups[2] = z;
    d.op = op_;
    d.after = after;
    params.resize(d.params_at + sizeof(Params));
    std::memcpy(params.data() + d.params_at, &values, sizeof(Params));
    dispatches.push_back(std::move(d));
  }

  std::vector<Dispatch> dispatches;
  std::vector<std::byte> params;
  std::vector<bool> uses_scratch;  ///< [op]
  std::uint64_t scratch_bytes = 0;

 private:
  std::span<Buffer* const> buffers_;
  std::uint64_t scratch_address_;
  std::uint32_t max_rows_, max_outputs_;
  std::uint32_t op_ = 0;
  std::uint64_t scratch_used_ = 0;
};

/// Whether there is a shader for weights of this type, and for a KV cache of it.
bool weight_type_known(DType dtype);
bool kv_type_known(DType dtype);
/// "q4_k": how shaders of a type are named.
std::string type_suffix(DType dtype);
/// Number of a KV type in shaders/pages.glsl.
std::uint32_t kv_type_number(DType dtype);

/// The parts of `a` of size `b`, the last perhaps shorter.
constexpr std::uint32_t parts(std::uint64_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>((a + b - 1) / b);
}
/// Devices take 65535 workgroups in a dimension at least; shaders take turns beyond.
constexpr std::uint32_t kMaxGroups = 65535;

void emit(const ops::Embed& op, Emitter& e);
void emit(const ops::Norm& op, Emitter& e);
void emit(const ops::MatMul& op, Emitter& e);
void emit(const ops::QkvMatMul& op, Emitter& e);
void emit(const ops::HeadMatMul& op, Emitter& e);
void emit(const ops::CopyCols& op, Emitter& e);
void emit(const ops::RopeKvWrite& op, Emitter& e);
void emit(const ops::Attention& op, Emitter& e);
void emit(const ops::GatedFfn& op, Emitter& e);
void emit(const ops::MoeRoute& op, Emitter& e);
void emit(const ops::MoeFfn& op, Emitter& e);
void emit(const ops::CausalConv& op, Emitter& e);
void emit(const ops::DeltaNet& op, Emitter& e);
void emit(const ops::MeanRows& op, Emitter& e);
void emit(const ops::GatherRows& op, Emitter& e);
void emit(const ops::Logits& op, Emitter& e);
void emit(const ops::Add& op, Emitter& e);
void emit(const ops::Mul& op, Emitter& e);
void emit(const ops::Scale& op, Emitter& e);
void emit(const ops::Copy& op, Emitter& e);

}  // namespace lm::vulkan
