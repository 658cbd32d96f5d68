/// F32, F16 and BF16 weights with f32 activations on AVX2, and NVFP4, Q1_0 and Q2_0 through
/// rows dequantised to f32. One row: dots of several far rows at once. More rows: eight weight
/// rows by kChunk values are brought to f32 and transposed (row r in lane r), then tiles of eight
/// weight rows by eight token rows run.

#include "backends/cpu/kernels/floats_of_blocks.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/simd_avx2.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kRowStep = 64;
constexpr int kDecodeStreams = 8;
constexpr std::uint32_t kChunk =
    512;  ///< values of k a panel holds: a multiple of every block size
constexpr std::ptrdiff_t kDecodeAhead = 1024;
constexpr std::uint64_t kPanelBytes = std::uint64_t{kChunk} * kLanes * sizeof(float);

using Step = float[kLanes];  ///< one value of k of eight rows

// ---- weight types ----
// Each has: kBytes of a value, one value, eight values, and unpack (16 bytes of eight rows to panel
// steps).

struct F32 {
  static constexpr std::uint32_t kBytes = 4;
  static float one(const std::uint8_t* p) {
    float v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  static __m256 eight(const std::uint8_t* p) { return _mm256_castsi256_ps(load256(p)); }
  static void unpack(const Dwords4& v, Step* step) {
    for (int c = 0; c < 4; ++c) {
      store256(step[c], v.dword[c]);
    }
  }
};

struct F16 {
  static constexpr std::uint32_t kBytes = 2;
  static float one(const std::uint8_t* p) { return load_half(p); }
  static __m256 eight(const std::uint8_t* p) { return _mm256_cvtph_ps(load128(p)); }
  static void unpack(const Dwords4& v, Step* step) {
    for (int c = 0; c < 4; ++c) {
      const __m256i odd = _mm256_srli_epi32(v.dword[c], 16);
      _mm256_store_ps(step[2 * c], halves_of_lanes(v.dword[c]));
      _mm256_store_ps(step[2 * c + 1], halves_of_lanes(odd));
    }
  }
};

struct Bf16 {
  static constexpr std::uint32_t kBytes = 2;
  static float one(const std::uint8_t* p) {
    return float_of_bits(std::uint32_t{load_u16(p)} << 16);
  }
  static __m256 widen(__m128i v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
  }
  static __m256 eight(const std::uint8_t* p) { return widen(load128(p)); }
  static void unpack(const Dwords4& v, Step* step) {
    for (int c = 0; c < 4; ++c) {
      store256(step[2 * c], _mm256_slli_epi32(v.dword[c], 16));
      store256(step[2 * c + 1],
               _mm256_and_si256(v.dword[c], _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
    }
  }
};

// ---- several rows ----

/// Values [0, n) at byte `offset` of the eight rows to panel steps.
template <class Type>
void unpack_panel(const PanelRows& rows, std::size_t offset, std::uint32_t n, Step* panel) {
  constexpr std::uint32_t kPerLoad = 16 / Type::kBytes;
  std::uint32_t i = 0;
  for (; i + kPerLoad <= n; i += kPerLoad) {
    Type::unpack(load_transposed(rows, offset + std::size_t{i} * Type::kBytes), panel + i);
  }
  for (; i < n; ++i) {
    for (std::uint32_t r = 0; r < kLanes; ++r) {
      panel[i][r] = Type::one(rows.row[r] + offset + std::size_t{i} * Type::kBytes);
    }
  }
}

/// One register tile: n values of k for eight weight rows by kRows token rows.
template <int kRows>
void run_tile(const MatMulArgs& args, const Step* panel, const float* x, std::uint32_t n,
              std::uint32_t token, std::uint32_t first, std::uint32_t count) {
  __m256 total[kRows];
  const float* row[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    total[r] = _mm256_setzero_ps();
    row[r] = x + static_cast<std::uint64_t>(r) * args.x_stride;
  }
  for (std::uint32_t i = 0; i < n; ++i) {
    const __m256 w = _mm256_load_ps(panel[i]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      total[r] = _mm256_fmadd_ps(w, _mm256_set1_ps(row[r][i]), total[r]);
    }
  }
  store_outputs<kRows>(args, token, first, count, total);
}

using Tile = void (*)(const MatMulArgs&, const Step*, const float*, std::uint32_t, std::uint32_t,
                      std::uint32_t, std::uint32_t);
constexpr Tile kTiles[kTileRows + 1] = {nullptr,     run_tile<1>, run_tile<2>,
                                        run_tile<3>, run_tile<4>, run_tile<5>,
                                        run_tile<6>, run_tile<7>, run_tile<8>};

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
      for (std::uint32_t token = 0; token < args.n_rows; token += kTileRows) {
        const std::uint32_t alive =
            args.n_rows - token < kTileRows ? args.n_rows - token : kTileRows;
        kTiles[alive](part, panel, x + token * args.x_stride + i, n, token, first, end - first);
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

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m256 acc[kStreams];
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = _mm256_setzero_ps();
    }
    std::uint32_t i = 0;
    for (; i + 8 <= k; i += 8) {
      const __m256 v = _mm256_loadu_ps(x + i);
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* p = row[s] + std::size_t{i} * Type::kBytes;
        prefetch(p, kDecodeAhead);
        acc[s] = _mm256_fmadd_ps(Type::eight(p), v, acc[s]);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s][0] = sum_lanes(acc[s]);
    }
    for (; i < k; ++i) {
      for (int s = 0; s < kStreams; ++s) {
        out[s][0] += Type::one(row[s] + std::size_t{i} * Type::kBytes) * x[i];
      }
    }
  }
};

// ---- table ----

template <class Type>
void run(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  if (args.n_rows == 1) {
    const FloatDot<Type> dot{reinterpret_cast<const float*>(args.act), args.k};
    for_each_stream<kDecodeStreams, 1>(args, begin, end, dot);
    return;
  }
  run_tiles(args, begin, end, reinterpret_cast<Step*>(scratch),
            [&](std::uint32_t first, std::uint32_t i, std::uint32_t n, Step* panel) {
              unpack_panel<Type>(PanelRows(args, first, end), std::size_t{i} * Type::kBytes, n,
                                 panel);
            });
}

/// Bytes before value i of a row. Not `row_bytes`: that one is inline and must not be emitted here,
/// with AVX2.
inline std::uint64_t bytes_before(DType weight, std::uint32_t i) {
  const BlockLayout& l = layout(weight);
  return std::uint64_t{i / l.block_elems} * l.block_bytes;
}

/// Types of floats_of_blocks.h: rows pass through f32 in scratch.
template <DType kWeight>
void run_dequantized(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end,
                     std::byte* scratch) {
  Step* panel = reinterpret_cast<Step*>(scratch);
  float* rows = reinterpret_cast<float*>(scratch + kPanelBytes);  // [kLanes, kChunk]
  const auto read = [&](std::uint32_t o, std::uint32_t i, std::uint32_t n, float* out) {
    floats_of_blocks<kWeight>(args.weight + o * args.weight_row_bytes + bytes_before(kWeight, i), n,
                              out);
  };
  if (args.n_rows == 1) {
    const float* x = reinterpret_cast<const float*>(args.act);
    const auto* values = reinterpret_cast<const std::uint8_t*>(rows);
    for (std::uint32_t o = begin; o < end; ++o) {
      float total = 0.0f;
      for (std::uint32_t i = 0; i < args.k; i += kChunk) {
        const std::uint32_t n = args.k - i < kChunk ? args.k - i : kChunk;
        float sum[1][1];
        read(o, i, n, rows);
        FloatDot<F32>{x + i, n}.run<1, 1>(&values, sum);
        total += sum[0][0];
      }
      store_output(args, 0, o, total);
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

constexpr MatMulKernel float_kernel(DType weight,
                                    void (*run_kernel)(const MatMulArgs&, std::uint32_t,
                                                       std::uint32_t, std::byte*)) {
  return {weight, ActFormat::f32, kRowStep, no_act, nullptr, 1, panel_bytes, run_kernel};
}
template <DType kWeight>
constexpr MatMulKernel dequantized_kernel() {
  return {kWeight,    ActFormat::f32,          kRowStep, no_act, nullptr, 1,
          two_panels, run_dequantized<kWeight>};
}

constexpr MatMulKernel kKernels[] = {
    float_kernel(DType::f32, run<F32>),   float_kernel(DType::f16, run<F16>),
    float_kernel(DType::bf16, run<Bf16>), dequantized_kernel<DType::nvfp4>(),
    dequantized_kernel<DType::q1_0>(),    dequantized_kernel<DType::q2_0>(),
};

}  // namespace

const MatMulKernel* matmul_float_avx2(DType weight) {
  for (const MatMulKernel& kernel : kKernels) {
    if (kernel.weight == weight) {
      return &kernel;
    }
  }
  return nullptr;
}

}  // namespace lm::cpu
