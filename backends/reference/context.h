/// What a reference op sees: the buffers of its segment and the step. One overload of `run` per op,
/// one file each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/backend.h"

namespace lm::reference {

struct Context {
  std::span<Buffer* const> buffers;
  const StepInput& step;

  std::uint32_t rows(RowSet set) const { return set == RowSet::step ? step.n_row : step.n_out; }

  /// Start of row `row` of `t`.
  std::byte* bytes(const TensorRef& t, std::uint32_t row = 0) const;
  /// The same for f32 tensors; null for an empty ref.
  float* f32(const TensorRef& t, std::uint32_t row = 0) const;
  /// Row `row` of a tensor of any weight type.
  std::vector<float> dequantized(const TensorRef& t, std::uint32_t row) const;

  /// One layer's state of a sequence.
  float* state(const StateRef& ref, std::uint32_t seq) const;

  /// Where the K (or V) row of KV index `kv` of a sequence lies: tiles are plain rows here.
  std::byte* k_row(const KvRef& ref, std::uint32_t seq, std::uint32_t head, std::uint32_t kv) const;
  std::byte* v_row(const KvRef& ref, std::uint32_t seq, std::uint32_t head, std::uint32_t kv) const;
};

/// out[r, o] = sum_i x[r, i] w[o, i] + bias[o], or added to out: what every product op is made of.
void linear(const Context& c, const TensorRef& x, const TensorRef& weight, const TensorRef& bias,
            const TensorRef& out, std::uint32_t n_rows, bool accumulate);

double softcap(double value, float cap);
double activate(Activation act, double value);  ///< of the ungated kinds
/// act(gate) * up, and the gated kinds.
double gated(Activation act, double gate, double up);

void run(const ops::Embed& op, const Context& c);
void run(const ops::Norm& op, const Context& c);
void run(const ops::MatMul& op, const Context& c);
void run(const ops::QkvMatMul& op, const Context& c);
void run(const ops::HeadMatMul& op, const Context& c);
void run(const ops::CopyCols& op, const Context& c);
void run(const ops::RopeKvWrite& op, const Context& c);
void run(const ops::Attention& op, const Context& c);
void run(const ops::GatedFfn& op, const Context& c);
void run(const ops::MoeRoute& op, const Context& c);
void run(const ops::MoeFfn& op, const Context& c);
void run(const ops::CausalConv& op, const Context& c);
void run(const ops::DeltaNet& op, const Context& c);
void run(const ops::MeanRows& op, const Context& c);
void run(const ops::GatherRows& op, const Context& c);
void run(const ops::Logits& op, const Context& c);
void run(const ops::Add& op, const Context& c);
void run(const ops::Mul& op, const Context& c);
void run(const ops::Scale& op, const Context& c);

}  // namespace lm::reference
