/// Kernels of all ops but products, one table an instruction set. Internal to backends/cpu.
///
/// Each family is written once, over the vector type of kernels/vec.h, and compiled once per ISA by
/// a file that holds nothing but the table: norm_avx2.cpp, attention_avx512.cpp, ...
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/isa.h"
#include "backends/ops.h"

namespace lm::cpu {

struct NormKernels {
  /// One row: out (+)= norm(x) * weight + bias. x == out is allowed without accumulate.
  void (*rms)(const float* x, std::uint32_t n, const float* weight, const float* bias, float eps,
              bool accumulate, float* out);
  void (*layer)(const float* x, std::uint32_t n, const float* weight, const float* bias, float eps,
                bool accumulate, float* out);
};

struct ElementKernels {
  /// out[i] = act(gate[i]) * up[i] (or the gated kinds' form); up null: out[i] = act(gate[i]). out
  /// may be gate or up.
  void (*gate)(Activation act, const float* gate, const float* up, float* out, std::uint64_t n);
  /// out = factor_a * a + factor_b * b. out may be a or b.
  void (*add)(const float* a, float factor_a, const float* b, float factor_b, float* out,
              std::uint64_t n);
  void (*scale)(const float* x, float factor, float* out, std::uint64_t n);
  /// x = cap * tanh(factor * x / cap), or factor * x without a cap.
  void (*softcap)(float* x, float factor, float cap, std::uint32_t n);
};

/// The heads of one row. `turn` holds n_rot / 2 cosines, then as many sines.
struct RopeHeads {
  float* heads = nullptr;  ///< [n_head, head_dim], changed in place
  std::uint32_t n_head = 0;
  std::uint32_t head_dim = 0;
  bool normalise = false;       ///< RMS norm of every head
  const float* norm = nullptr;  ///< its weights [head_dim], or null: 1
  float eps = 0.0f;
  RopeKind rope = RopeKind::none;
  std::uint32_t rot_begin = 0;
  std::uint32_t n_rot = 0;
  const float* turn = nullptr;
  float factor = 1.0f;  ///< all values, afterwards
};

struct RopeKernels {
  void (*rotate)(const RopeHeads& row);
  /// f32 to f16, round to nearest even.
  void (*to_f16)(const float* x, std::uint32_t n, std::uint16_t* out);
};

/// Some channels of one sequence's convolution. Rows of all arrays but `weight` lie `stride` apart.
struct ConvBlock {
  std::uint32_t n = 0;  ///< channels
  std::uint64_t stride = 0;
  std::uint32_t taps = 0;
  const float* x = nullptr;       ///< [rows of the sequence, n]
  float* state = nullptr;         ///< [taps - 1, n]: the inputs before x
  const float* weight = nullptr;  ///< [taps, n], close together
  float* out = nullptr;           ///< [rows of the sequence, n]
};

/// Most rows of a DeltaRows.
constexpr std::uint32_t kMaxDeltaRows = 16;

/// Some rows of one head of the gated delta rule.
struct DeltaRows {
  std::uint32_t rows = 0;  ///< at most kMaxDeltaRows
  std::uint32_t dim = 0;
  float eps = 0.0f;
  const float* q = nullptr;  ///< of the first row; rows of q, k and v lie qkv_stride apart
  const float* k = nullptr;
  const float* v = nullptr;
  std::uint64_t qkv_stride = 0;
  const float* decay = nullptr;  ///< [rows]: e^g
  const float* beta = nullptr;   ///< [rows]: b
  float* state = nullptr;        ///< [dim key][dim value]
  float* out = nullptr;
  std::uint64_t out_stride = 0;
};

struct RecurrentKernels {
  /// Rows [row_begin, row_end) of out, without activation; the state stays.
  void (*conv)(const ConvBlock& block, std::uint32_t row_begin, std::uint32_t row_end);
  void (*delta)(const DeltaRows& rows, std::byte* scratch);
  std::uint64_t (*delta_scratch_bytes)(std::uint32_t dim);
};

/// Rows of one sequence against a range of its pages, for KV heads [head_begin, head_end) and all
/// their query heads.
struct AttentionItem {
  const ops::Attention* op = nullptr;
  const StepInput* step = nullptr;
  std::uint32_t seq = 0;
  std::uint32_t row_begin = 0;
  std::uint32_t row_end = 0;
  std::uint32_t head_begin = 0;
  std::uint32_t head_end = 0;
  std::uint32_t page_begin = 0;  ///< index into the sequence's page table
  std::uint32_t page_end = 0;
  const float* q = nullptr;
  const float* sinks = nullptr;
  const float* slopes = nullptr;
  float* out = nullptr;
  /// Null: `out` gets the result. Else the item is one of several over the KV range, and leaves for
  /// row r and query head h at partial + (r * n_head + h) * (head_dim_v + 2): the weighted sum of
  /// values, the highest score, the sum of weights.
  float* partial = nullptr;
};

struct AttentionKernels {
  /// Scratch for an item of so many rows and KV heads.
  std::uint64_t (*scratch_bytes)(const ops::Attention& op, std::uint32_t rows, std::uint32_t heads);
  void (*run)(const AttentionItem& item, std::byte* scratch);
  /// Joins `n_split` partial results, `split_stride` floats apart, of one row into its out.
  void (*combine)(const ops::Attention& op, const float* partial, std::uint64_t split_stride,
                  std::uint32_t n_split, const float* sinks, float* out);
};

struct OpKernels {
  NormKernels norm;
  ElementKernels element;
  RopeKernels rope;
  AttentionKernels attention;
  RecurrentKernels recurrent;
};

/// The best table at or below `isa`.
const OpKernels& op_kernels(Isa isa);

// What the files of each ISA define.
#define LM_DECLARE_KERNELS(isa)                  \
  extern const NormKernels norm_##isa;           \
  extern const ElementKernels element_##isa;     \
  extern const RopeKernels rope_##isa;           \
  extern const AttentionKernels attention_##isa; \
  extern const RecurrentKernels recurrent_##isa;
LM_DECLARE_KERNELS(baseline)
#if defined(__x86_64__)
LM_DECLARE_KERNELS(avx2)
LM_DECLARE_KERNELS(avx512)
#endif
#undef LM_DECLARE_KERNELS

}  // namespace lm::cpu
