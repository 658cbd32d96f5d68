/// Products of queries with one page of keys and of weights with one page of values, with the
/// vectors of kernels/vec.h; the arrangement of tiles is told in attention_body.h, which includes
/// this.
#pragma once

#include "backends/cpu/kernels/kv_tile.h"
#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/kernels/vec.h"

namespace lm::cpu {
namespace {

// Registers: accumulators + vectors of the tile + one query value. 32 of them with AVX-512 and on
// 64-bit ARM, else 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr std::uint32_t kScoreQueries = 8;  // x 2 vectors of positions
constexpr std::uint32_t kValueVectors = 4;  // x 4 queries
#else
constexpr std::uint32_t kScoreQueries = 4;
constexpr std::uint32_t kValueVectors = 2;
#endif
constexpr std::uint32_t kScoreVectors = 2;
constexpr std::uint32_t kValueQueries = 4;
constexpr std::uint32_t kPageVectors = kPageTokens / kLanes;

struct F32Tile {
  using Value = float;
  static LM_INLINE Vec vector(const float* p) { return load(p); }
};
struct F16Tile {
  using Value = std::uint16_t;
  static LM_INLINE Vec vector(const std::uint16_t* p) { return load_f16(p); }
};

constexpr std::uint32_t padded(std::uint32_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

/// Scores of `Queries` queries for the 32 keys of a K tile. The line of `ahead` that lies as far in
/// as the one being read is asked for on the way.
template <class Tile, std::uint32_t Queries>
LM_INLINE void score_block(const float* q, std::uint32_t dim, const typename Tile::Value* k,
                           float* scores, const std::byte* ahead) {
  constexpr std::uint32_t kStep = kScoreVectors * kLanes;
  for (std::uint32_t first = 0; first < kPageTokens; first += kStep) {
    const typename Tile::Value* column[kScoreVectors];
    Vec sum[Queries][kScoreVectors];
#pragma GCC unroll 8
    for (std::uint32_t v = 0; v < kScoreVectors; ++v) {
      const std::uint32_t position = first + v * kLanes;
      column[v] = k + static_cast<std::uint64_t>(position / kKeyGroup) * kKeyGroup * dim +
                  position % kKeyGroup;
    }
#pragma GCC unroll 8
    for (std::uint32_t m = 0; m < Queries; ++m) {
#pragma GCC unroll 8
      for (std::uint32_t v = 0; v < kScoreVectors; ++v) {
        sum[m][v] = zero();
      }
    }
    const std::byte* line =
        ahead + static_cast<std::uint64_t>(first) * dim * sizeof(typename Tile::Value);
    for (std::uint32_t d = 0; d < dim; ++d) {
      Vec key[kScoreVectors];
#pragma GCC unroll 8
      for (std::uint32_t v = 0; v < kScoreVectors; ++v) {
        key[v] = Tile::vector(column[v] + static_cast<std::uint64_t>(d) * kKeyGroup);
      }
      __builtin_prefetch(line + d * kStep * sizeof(typename Tile::Value));
#pragma GCC unroll 8
      for (std::uint32_t m = 0; m < Queries; ++m) {
        const Vec value = splat(q[static_cast<std::uint64_t>(m) * dim + d]);
#pragma GCC unroll 8
        for (std::uint32_t v = 0; v < kScoreVectors; ++v) {
          sum[m][v] += value * key[v];
        }
      }
    }
#pragma GCC unroll 8
    for (std::uint32_t m = 0; m < Queries; ++m) {
#pragma GCC unroll 8
      for (std::uint32_t v = 0; v < kScoreVectors; ++v) {
        store(scores + m * kPageTokens + first + v * kLanes, sum[m][v]);
      }
    }
  }
}

template <class Tile>
void score_tile(const float* q, std::uint32_t queries, std::uint32_t dim,
                const typename Tile::Value* k, float* scores, const std::byte* ahead) {
  std::uint32_t m = 0;
  for (; m + kScoreQueries <= queries; m += kScoreQueries) {
    score_block<Tile, kScoreQueries>(q + static_cast<std::uint64_t>(m) * dim, dim, k,
                                     scores + m * kPageTokens, ahead);
  }
  if constexpr (kScoreQueries > 4) {
    for (; m + 4 <= queries; m += 4) {
      score_block<Tile, 4>(q + static_cast<std::uint64_t>(m) * dim, dim, k,
                           scores + m * kPageTokens, ahead);
    }
  }
  for (; m + 2 <= queries; m += 2) {
    score_block<Tile, 2>(q + static_cast<std::uint64_t>(m) * dim, dim, k, scores + m * kPageTokens,
                         ahead);
  }
  for (; m < queries; ++m) {
    score_block<Tile, 1>(q + static_cast<std::uint64_t>(m) * dim, dim, k, scores + m * kPageTokens,
                         ahead);
  }
}

/// Keys of a page that any row sees: values of the others are never touched, for they may be left
/// from another sequence and not even numbers.
struct KeyRange {
  std::uint32_t begin;
  std::uint32_t end;
};

/// sums = sums * factor + weights x V for `Queries` queries and `Vectors` vectors of dimensions.
template <class Tile, std::uint32_t Queries, std::uint32_t Vectors>
LM_INLINE void value_block(const float* weights, const float* factor, KeyRange keys,
                           const typename Tile::Value* v, std::uint32_t v_stride, float* sums,
                           std::uint32_t sum_stride, const std::byte* ahead,
                           std::uint32_t ahead_stride) {
  Vec sum[Queries][Vectors];
#pragma GCC unroll 8
  for (std::uint32_t m = 0; m < Queries; ++m) {
#pragma GCC unroll 8
    for (std::uint32_t i = 0; i < Vectors; ++i) {
      sum[m][i] =
          load(sums + static_cast<std::uint64_t>(m) * sum_stride + i * kLanes) * splat(factor[m]);
    }
  }
  for (std::uint32_t p = keys.begin; p < keys.end; ++p) {
    Vec value[Vectors];
#pragma GCC unroll 8
    for (std::uint32_t i = 0; i < Vectors; ++i) {
      value[i] = Tile::vector(v + static_cast<std::uint64_t>(p) * v_stride + i * kLanes);
    }
    constexpr std::uint32_t kWidth = Vectors * kLanes * sizeof(typename Tile::Value);
#pragma GCC unroll 8
    for (std::uint32_t line = 0; line < kWidth; line += 64) {
      __builtin_prefetch(ahead + static_cast<std::uint64_t>(p) * ahead_stride + line);
    }
#pragma GCC unroll 8
    for (std::uint32_t m = 0; m < Queries; ++m) {
      const Vec weight = splat(weights[m * kPageTokens + p]);
#pragma GCC unroll 8
      for (std::uint32_t i = 0; i < Vectors; ++i) {
        sum[m][i] += weight * value[i];
      }
    }
  }
#pragma GCC unroll 8
  for (std::uint32_t m = 0; m < Queries; ++m) {
#pragma GCC unroll 8
    for (std::uint32_t i = 0; i < Vectors; ++i) {
      store(sums + static_cast<std::uint64_t>(m) * sum_stride + i * kLanes, sum[m][i]);
    }
  }
}

template <class Tile, std::uint32_t Queries>
LM_INLINE void value_rows(const float* weights, const float* factor, KeyRange keys,
                          const typename Tile::Value* v, std::uint32_t v_stride, float* sums,
                          std::uint32_t width, const std::byte* ahead) {
  const std::uint32_t ahead_stride =
      v_stride * static_cast<std::uint32_t>(sizeof(typename Tile::Value));
  std::uint32_t i = 0;
  for (; i + kValueVectors * kLanes <= width; i += kValueVectors * kLanes) {
    value_block<Tile, Queries, kValueVectors>(weights, factor, keys, v + i, v_stride, sums + i,
                                              width, ahead + i * sizeof(typename Tile::Value),
                                              ahead_stride);
  }
  for (; i < width; i += kLanes) {
    value_block<Tile, Queries, 1>(weights, factor, keys, v + i, v_stride, sums + i, width,
                                  ahead + i * sizeof(typename Tile::Value), ahead_stride);
  }
}

template <class Tile>
void value_tile(const float* weights, const float* factor, std::uint32_t queries, KeyRange keys,
                const typename Tile::Value* v, std::uint32_t v_stride, float* sums,
                std::uint32_t width, const std::byte* ahead) {
  std::uint32_t m = 0;
  for (; m + kValueQueries <= queries; m += kValueQueries) {
    value_rows<Tile, kValueQueries>(weights + m * kPageTokens, factor + m, keys, v, v_stride,
                                    sums + static_cast<std::uint64_t>(m) * width, width, ahead);
  }
  for (; m + 2 <= queries; m += 2) {
    value_rows<Tile, 2>(weights + m * kPageTokens, factor + m, keys, v, v_stride,
                        sums + static_cast<std::uint64_t>(m) * width, width, ahead);
  }
  for (; m < queries; ++m) {
    value_rows<Tile, 1>(weights + m * kPageTokens, factor + m, keys, v, v_stride,
                        sums + static_cast<std::uint64_t>(m) * width, width, ahead);
  }
}

}  // namespace
}  // namespace lm::cpu
