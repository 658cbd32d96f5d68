/// Tiles of a KV page as the CPU arranges them, and their conversion to f32.
///
/// K: groups of 16 positions, [2][head_dim][16]. V: rows, [32][head_dim]. K in blocks (q8_0, q4_0):
/// a group is [head_dim / 32][16] f16 scales, then [bytes of quants][16] (as many bytes as the
/// rows' blocks); V in blocks: plain rows of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/vec.h"
#include "backends/dtype.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kKeyGroup = 16;
constexpr std::uint32_t kTileRows = 32;

LM_INLINE void expand_f16(const std::uint16_t* from, std::uint64_t n, float* to) {
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store(to + i, load_f16(from + i));
  }
  if (i < n) {
    std::uint16_t lane[kLanes] = {};
    __builtin_memcpy(lane, from + i, (n - i) * sizeof(std::uint16_t));
    const Vec last = load_f16(lane);
    __builtin_memcpy(to + i, &last, (n - i) * sizeof(float));
  }
}

LM_INLINE void expand_bf16(const std::uint16_t* from, std::uint64_t n, float* to) {
  for (std::uint64_t i = 0; i < n; ++i) {
    to[i] = bits_as<float>(static_cast<std::uint32_t>(from[i]) << 16);
  }
}

/// All keys of a tile, in the same arrangement.
LM_INLINE void expand_keys(DType dtype, const std::byte* tile, std::uint32_t dim, float* to) {
  const std::uint64_t n = static_cast<std::uint64_t>(kTileRows) * dim;
  switch (dtype) {
    case DType::f16:
      return expand_f16(reinterpret_cast<const std::uint16_t*>(tile), n, to);
    case DType::bf16:
      return expand_bf16(reinterpret_cast<const std::uint16_t*>(tile), n, to);
    case DType::q8_0:
      for (std::uint32_t g = 0; g < kTileRows / kKeyGroup; ++g) {
        const auto* scales = reinterpret_cast<const std::uint16_t*>(tile);
        const auto* quants = reinterpret_cast<const std::int8_t*>(scales + dim / 32 * kKeyGroup);
        for (std::uint32_t d = 0; d < dim; ++d) {
          float scale[kKeyGroup];
          expand_f16(scales + d / 32 * kKeyGroup, kKeyGroup, scale);
          for (std::uint32_t p = 0; p < kKeyGroup; ++p) {
            to[p] = scale[p] * static_cast<float>(quants[d * kKeyGroup + p]);
          }
          to += kKeyGroup;
        }
        tile += dim / 32 * 34 * kKeyGroup;
      }
      return;
    case DType::q4_0:
      for (std::uint32_t g = 0; g < kTileRows / kKeyGroup; ++g) {
        const auto* scales = reinterpret_cast<const std::uint16_t*>(tile);
        const auto* quants = reinterpret_cast<const std::uint8_t*>(scales + dim / 32 * kKeyGroup);
        for (std::uint32_t b = 0; b < dim / 32; ++b, quants += 16 * kKeyGroup) {
          float scale[kKeyGroup];
          expand_f16(scales + b * kKeyGroup, kKeyGroup, scale);
          for (std::uint32_t i = 0; i < 16 * kKeyGroup; ++i) {  // byte, position
            const float s = scale[i % kKeyGroup];
            to[i] = s * static_cast<float>((quants[i] & 15) - 8);
            to[i + 16 * kKeyGroup] = s * static_cast<float>((quants[i] >> 4) - 8);
          }
          to += 32 * kKeyGroup;
        }
        tile += dim / 32 * 18 * kKeyGroup;
      }
      return;
    default:
      __builtin_memcpy(to, tile, n * sizeof(float));
  }
}

/// The first `dim_v` dimensions of expanded keys [2][dim_k][16] as rows of `width` floats: values
/// that are part of the keys.
LM_INLINE void transpose_keys(const float* keys, std::uint32_t dim_k, std::uint32_t dim_v,
                              std::uint32_t width, float* to) {
  for (std::uint32_t row = 0; row < kTileRows; ++row, to += width) {
    const float* from =
        keys + static_cast<std::uint64_t>(row / kKeyGroup) * kKeyGroup * dim_k + row % kKeyGroup;
    for (std::uint32_t d = 0; d < dim_v; ++d) {
      to[d] = from[d * kKeyGroup];
    }
    for (std::uint32_t d = dim_v; d < width; ++d) {
      to[d] = 0.0f;
    }
  }
}

/// All values of a tile as rows of `width` floats, `dim` of them used and the rest zero.
LM_INLINE void expand_values(DType dtype, const std::byte* tile, std::uint32_t dim,
                             std::uint32_t width, float* to) {
  for (std::uint32_t row = 0; row < kTileRows; ++row, to += width) {
    switch (dtype) {
      case DType::f16:
        expand_f16(reinterpret_cast<const std::uint16_t*>(tile), dim, to);
        tile += dim * sizeof(std::uint16_t);
        break;
      case DType::bf16:
        expand_bf16(reinterpret_cast<const std::uint16_t*>(tile), dim, to);
        tile += dim * sizeof(std::uint16_t);
        break;
      case DType::q8_0:
        for (std::uint32_t i = 0; i < dim; i += 32) {
          std::uint16_t bits[kLanes] = {};
          __builtin_memcpy(bits, tile, sizeof(std::uint16_t));
          const float scale = load_f16(bits)[0];
          const auto* quants = reinterpret_cast<const std::int8_t*>(tile + 2);
          for (std::uint32_t j = 0; j < 32; ++j) {
            to[i + j] = scale * static_cast<float>(quants[j]);
          }
          tile += 34;
        }
        break;
      case DType::q4_0:
        for (std::uint32_t i = 0; i < dim; i += 32) {
          std::uint16_t bits[kLanes] = {};
          __builtin_memcpy(bits, tile, sizeof(std::uint16_t));
          const float scale = load_f16(bits)[0];
          const auto* quants = reinterpret_cast<const std::uint8_t*>(tile + 2);
          for (std::uint32_t j = 0; j < 16; ++j) {
            to[i + j] = scale * static_cast<float>((quants[j] & 15) - 8);
            to[i + j + 16] = scale * static_cast<float>((quants[j] >> 4) - 8);
          }
          tile += 18;
        }
        break;
      default:
        __builtin_memcpy(to, tile, dim * sizeof(float));
        tile += dim * sizeof(float);
    }
    for (std::uint32_t i = dim; i < width; ++i) {
      to[i] = 0.0f;
    }
  }
}

}  // namespace
}  // namespace lm::cpu
