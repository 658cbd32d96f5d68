/// F32, F16 and BF16 weights with f32 activations on 64-bit ARM, and NVFP4, Q1_0 and Q2_0 through
/// rows dequantised to f32. One row: dots of several far rows at once. More rows: eight weight rows
/// by kChunk values are brought to f32 and transposed (row r in lane r), then tiles of eight weight
/// rows by four token rows run.

#include "backends/cpu/kernels/floats_of_blocks.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/simd_neon.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 4;
constexpr std::uint32_t kChunk =
    512;  ///< values of k a panel holds: a multiple of every block size
constexpr std::ptrdiff_t kDecodeAhead = 1024;
constexpr std::uint64_t kPanelBytes = std::uint64_t{kChunk} * kLanes * sizeof(float);

using Step = float[kLanes];  ///< one value of k of eight rows

// ---- weight types: kBytes of a value, one value, four values ----

struct F32 {
  static constexpr std::uint32_t kBytes = 4;
  static float one(const std::uint8_t* p) { return float_of_bits(load_u32(p)); }
  static float32x4_t four(const std::uint8_t* p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
};

struct F16 {
  static constexpr std::uint32_t kBytes = 2;
  static float one(const std::uint8_t* p) { return load_half(p); }
  static float32x4_t four(const std::uint8_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
  }
};

struct Bf16 {
  static constexpr std::uint32_t kBytes = 2;
  static float one(const std::uint8_t* p) {
    return float_of_bits(std::uint32_t{load_u16(p)} << 16);
  }
  static float32x4_t four(const std::uint8_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
  }
};

// ---- several rows ----

/// Four values of four rows: value i of row r to lane r of step[i].
inline void put_transposed(const float32x4_t (&row)[4], Step* step, int first) {
  const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(row[0], row[1]));
  const float64x2_t odd01 = vreinterpretq_f64_f32(vtrn2q_f32(row[0], row[1]));
  const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(row[2], row[3]));
  const float64x2_t odd23 = vreinterpretq_f64_f32(vtrn2q_f32(row[2], row[3]));
  vst1q_f32(step[0] + first, vreinterpretq_f32_f64(vtrn1q_f64(even01, even23)));
  vst1q_f32(step[1] + first, vreinterpretq_f32_f64(vtrn1q_f64(odd01, odd23)));
  vst1q_f32(step[2] + first, vreinterpretq_f32_f64(vtrn2q_f64(even01, even23)));
  vst1q_f32(step[3] + first, vreinterpretq_f32_f64(vtrn2q_f64(odd01, odd23)));
}

/// Values [0, n) at byte `offset` of the eight rows to panel steps.
template <class Type>
void unpack_panel(const PanelRows& rows, std::size_t offset, std::uint32_t n, Step* panel) {
  std::uint32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const std::size_t at = offset + std::size_t{i} * Type::kBytes;
    for (int first = 0; first < 8; first += 4) {
      float32x4_t row[4];
      for (int r = 0; r < 4; ++r) {
        row[r] = Type::four(rows.row[first + r] + at);
      }
      put_transposed(row, panel + i, first);
    }
  }
  for (; i < n; ++i) {
    for (std::uint32_t r = 0; r < kLanes; ++r) {
      panel[i][r] = Type::one(rows.row[r] + offset + std::size_t{i} * Type::kBytes);
    }
  }
}

template <int kLane>
inline void add_products(const Step& step, const float32x4_t (&x)[kTokens],
                         float32x4_t (&total)[kTokens][2]) {
  const float32x4_t low = vld1q_f32(step);
  const float32x4_t high = vld1q_f32(step + 4);
#pragma GCC unroll 4
  for (std::uint32_t n = 0; n < kTokens; ++n) {
    total[n][0] = vfmaq_laneq_f32(total[n][0], low, x[n], kLane);
    total[n][1] = vfmaq_laneq_f32(total[n][1], high, x[n], kLane);
  }
}

/// One register tile: n values of k for eight weight rows by `tokens` token rows. Past the last one
/// it is repeated, and dropped.
void run_tile(const MatMulArgs& args, const Step* panel, const float* x, std::uint32_t n,
              std::uint32_t token, std::uint32_t tokens, std::uint32_t first, std::uint32_t alive) {
  float32x4_t total[kTokens][2];
  const float* row[kTokens];
#pragma GCC unroll 4
  for (std::uint32_t r = 0; r < kTokens; ++r) {
    total[r][0] = total[r][1] = vdupq_n_f32(0.0f);
    row[r] = x + std::uint64_t{r < tokens ? r : tokens - 1} * args.x_stride;
  }
  std::uint32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float32x4_t values[kTokens] = {vld1q_f32(row[0] + i), vld1q_f32(row[1] + i),
                                         vld1q_f32(row[2] + i), vld1q_f32(row[3] + i)};
    add_products<0>(panel[i], values, total);
    add_products<1>(panel[i + 1], values, total);
    add_products<2>(panel[i + 2], values, total);
    add_products<3>(panel[i + 3], values, total);
  }
  for (; i < n; ++i) {
    const float32x4_t values[kTokens] = {vdupq_n_f32(row[0][i]), vdupq_n_f32(row[1][i]),
                                         vdupq_n_f32(row[2][i]), vdupq_n_f32(row[3][i])};
    add_products<0>(panel[i], values, total);
  }
  store_outputs(args, token, tokens, first, alive, total);
}

/// `fill(first, i, n, panel)` brings values [i, i + n) of the rows from `first` on into the panel.
/// Chunks after the first are added to what the earlier ones wrote.
template <class Fill>
void run_tiles(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, Step* panel,
               const Fill& fill) {
  const float* x = reinterpret_cast<const float*>(args.act);
  for (std::uint32_t first = begin; first < end; first += kLanes) {
    MatMulArgs part = args;
    for (std::uint32_t i = 0; i < args.k; i += kChunk) {
      const std::uint32_t n = args.k - i < kChunk ? args.k - i : kChunk;
      fill(first, i, n, panel);
      for (std::uint32_t token = 0; token < args.n_rows; token += kTokens) {
        const std::uint32_t tokens = args.n_rows - token < kTokens ? args.n_rows - token : kTokens;
        run_tile(part, panel, x + token * args.x_stride + i, n, token, tokens, first, end - first);
      }
      part.bias = nullptr;
      part.accumulate = true;
    }
  }
}

// ---- one row ----

template <class Type>
struct FloatDot {
  const float* x;
  std::uint32_t k;

  template <int kStreams>
  void run(const std::uint8_t* const* row, float* out) const {
    float32x4_t acc[kStreams][2];
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      acc[s][0] = acc[s][1] = vdupq_n_f32(0.0f);
    }
    std::uint32_t i = 0;
    for (; i + 8 <= k; i += 8) {
      const float32x4_t low = vld1q_f32(x + i);
      const float32x4_t high = vld1q_f32(x + i + 4);
#pragma GCC unroll 4
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* p = row[s] + std::size_t{i} * Type::kBytes;
        prefetch(p, kDecodeAhead);
        acc[s][0] = vfmaq_f32(acc[s][0], Type::four(p), low);
        acc[s][1] = vfmaq_f32(acc[s][1], Type::four(p + 4 * Type::kBytes), high);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s] = vaddvq_f32(vaddq_f32(acc[s][0], acc[s][1]));
    }
    for (; i < k; ++i) {
      for (int s = 0; s < kStreams; ++s) {
        out[s] += Type::one(row[s] + std::size_t{i} * Type::kBytes) * x[i];
      }
    }
  }
};

// ---- table ----

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  if (args.n_rows == 1) {
    const FloatDot<Type> dot{reinterpret_cast<const float*>(args.act), args.k};
    for_each_stream<kDecodeStreams>(args, begin, end, dot);
    return;
  }
  run_tiles(args, begin, end, reinterpret_cast<Step*>(scratch),
            [&](std::uint32_t first, std::uint32_t i, std::uint32_t n, Step* panel) {
              unpack_panel<Type>(PanelRows(args, first, end), std::size_t{i} * Type::kBytes, n,
                                 panel);
            });
}

/// Types of floats_of_blocks.h: rows pass through f32 in scratch.
template <DType kWeight>
void run_dequantized(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end,
                     std::byte* scratch) {
  Step* panel = reinterpret_cast<Step*>(scratch);
  float* rows = reinterpret_cast<float*>(scratch + kPanelBytes);  // [kLanes, kChunk]
  const BlockLayout& block = layout(kWeight);
  const auto read = [&](std::uint32_t o, std::uint32_t i, std::uint32_t n, float* out) {
    const std::uint64_t before = std::uint64_t{i / block.block_elems} * block.block_bytes;
    floats_of_blocks<kWeight>(args.weight + o * args.weight_row_bytes + before, n, out);
  };
  if (args.n_rows == 1) {
    const float* x = reinterpret_cast<const float*>(args.act);
    const auto* values = reinterpret_cast<const std::uint8_t*>(rows);
    for (std::uint32_t o = begin; o < end; ++o) {
      float total = 0.0f;
      for (std::uint32_t i = 0; i < args.k; i += kChunk) {
        const std::uint32_t n = args.k - i < kChunk ? args.k - i : kChunk;
        float sum;
        read(o, i, n, rows);
        FloatDot<F32>{x + i, n}.template run<1>(&values, &sum);
        total += sum;
      }
      store_output(args, o, total);
    }
    return;
  }
  MatMulArgs dense;
  dense.weight = scratch + kPanelBytes;
  dense.weight_row_bytes = kChunk * sizeof(float);
  run_tiles(args, begin, end, panel,
            [&](std::uint32_t first, std::uint32_t i, std::uint32_t n, Step* out) {
              const std::uint32_t count = end - first < kLanes ? end - first : kLanes;
              for (std::uint32_t r = 0; r < count; ++r) {
                read(first + r, i, n, rows + std::size_t{r} * kChunk);
              }
              unpack_panel<F32>(PanelRows(dense, 0, count), 0, n, out);
            });
}

std::uint64_t no_act(std::uint32_t, std::uint32_t) {
  return 0;
}
std::uint64_t panel_bytes(std::uint32_t, std::uint32_t) {
  return kPanelBytes;
}
std::uint64_t two_panels(std::uint32_t, std::uint32_t) {
  return 2 * kPanelBytes;
}

template <class Type>
constexpr MatMulKernel float_kernel(DType weight) {
  return {weight, ActFormat::f32, kRowStep, no_act, nullptr, 1, panel_bytes, run<Type>};
}
template <DType kWeight>
constexpr MatMulKernel dequantized_kernel() {
  return {kWeight,    ActFormat::f32,          kRowStep, no_act, nullptr, 1,
          two_panels, run_dequantized<kWeight>};
}

constexpr MatMulKernel kKernels[] = {
    float_kernel<F32>(DType::f32),     float_kernel<F16>(DType::f16),
    float_kernel<Bf16>(DType::bf16),   dequantized_kernel<DType::nvfp4>(),
    dequantized_kernel<DType::q1_0>(), dequantized_kernel<DType::q2_0>(),
};

}  // namespace

const MatMulKernel* matmul_float_neon(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
