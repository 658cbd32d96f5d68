/// The matmul kernels of the CPU: one row of the table per weight type and ISA. Internal to
/// backends/cpu.
///
/// A product runs in two phases: activations are converted once (`convert`, by rows), then ranges
/// of weight rows are computed (`run`), each range by whichever thread takes it. Both phases are
/// pure functions of their arguments, so the executor owns all threading and all memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/isa.h"
#include "backends/dtype.h"

namespace lm::cpu {

/// How activations are stored for a kernel. Ops whose kernels share a format and an x convert it
/// once.
enum class ActFormat : std::uint8_t {
  f32,     ///< as they are: x itself, no conversion
  q8_32,   ///< int8 with one scale per 32
  q8_256,  ///< int8 with one scale per 256 and sums per 16
};

/// One product: out[r, o] (+)= sum_i x[r, i] w[o, i] + bias[o] for o in [begin, end) and all n_rows
/// rows.
struct MatMulArgs {
  const std::byte* weight = nullptr;  ///< [n_out rows] of weight_row_bytes
  std::uint64_t weight_row_bytes = 0;
  std::uint32_t k = 0;             ///< n_in
  const std::byte* act = nullptr;  ///< converted activations (64-byte aligned), or f32 rows of x
                                   ///< (stride x_stride floats)
  std::uint64_t x_stride = 0;      ///< floats between rows of x; format f32 only
  std::uint32_t n_rows = 0;        ///< activation rows, 1..512
  const float* bias = nullptr;
  float* out = nullptr;  ///< element [r, o] at out[r * out_stride + o]
  std::uint64_t out_stride = 0;
  bool accumulate = false;
};

struct MatMulKernel {
  DType weight;
  ActFormat format;
  /// Weight-row ranges given to `run` begin at multiples of this (the last may be shorter). Chosen
  /// so that one range is a sensible work item; the executor may join several.
  std::uint32_t row_step;
  /// Bytes of converted activations for n_rows rows of k values, never less than for fewer rows; 0
  /// for format f32.
  std::uint64_t (*act_bytes)(std::uint32_t n_rows, std::uint32_t k);
  /// Converts rows [row_begin, row_end) of x (of n_rows in all) into act, which is aligned to 64
  /// bytes. Rows are independent: any split over threads. `row_group` rows share cache lines of the
  /// packed form: split at multiples of it. The form depends on n_rows, and is the same for all
  /// kernels that `find_matmul` returns for one isa and format. Null for format f32.
  void (*convert)(const float* x, std::uint64_t x_stride, std::uint32_t n_rows, std::uint32_t k,
                  std::byte* act, std::uint32_t row_begin, std::uint32_t row_end);
  std::uint32_t row_group;
  /// Bytes of scratch a thread needs for `run` (unpacked weights), aligned to 64 bytes; never less
  /// than for fewer rows.
  std::uint64_t (*scratch_bytes)(std::uint32_t n_rows, std::uint32_t k);
  /// Computes weight rows [begin, end). Picks its own inner form by n_rows (streams for 1, unpack
  /// once for many). With one row a long range is read as several far streams, so give each thread
  /// few and long ones. An output's value does not depend on how ranges are cut.
  void (*run)(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch);
};

/// The best kernel for a weight type at or below `isa`, or null when there is none (no CPU path for
/// the type). `k` is the row length. Types without an own SIMD kernel run through dequantised rows
/// (format f32).
const MatMulKernel* find_matmul(DType weight, Isa isa, std::uint32_t k);

}  // namespace lm::cpu
