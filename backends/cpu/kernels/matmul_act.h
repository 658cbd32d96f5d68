/// How converted activations lie in memory. Included by files compiled for different instruction
/// sets, so everything here has internal linkage: a function that one of them emitted must never be
/// linked into another.
///
/// One row (decode), or a few, are stored block by block. More rows are stored in tiles of
/// kTileRows: the four bytes of one k-step of all rows of a tile lie together, so that a tile is
/// one stream whatever the row length is (rows a power of two apart would share cache sets) and a
/// kernel broadcasts one row's four bytes with a single load. The baseline kernels store every row
/// as a single one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lm::cpu {
namespace {

constexpr std::uint32_t kTileRows = 8;

/// 32 values of one row, for weights in blocks of 32: x = d * q.
struct alignas(32) ActRow32 {
  std::int8_t q[32];
  std::int32_t
      offset[8];  ///< -128 * (sum of four q): what an unsigned weight w + 128 adds too much
  float d;
  float d_sum;  ///< d * sum of q
};

/// 256 values of one row, for weights in blocks of 256.
struct alignas(64) ActRow256 {
  std::int8_t q[256];
  std::int16_t sum16[16];  ///< sums of 16 q
  std::int16_t sum32[8];   ///< sums of 32 q
  float d;
};

/// 32 values of kTileRows rows.
struct alignas(32) ActTile32 {
  std::int8_t q[8][kTileRows][4];
  std::int32_t offset[kTileRows];  ///< -128 * sum of q
  float d[kTileRows];
  float d_sum[kTileRows];
};

/// 256 values of kTileRows rows.
struct alignas(32) ActTile256 {
  std::int8_t q[64][kTileRows][4];
  std::int16_t sum32[4][kTileRows][2];  ///< sums of 32 q, by pairs
  std::int16_t sum16[8][kTileRows][2];  ///< sums of 16 q, by pairs
  std::int32_t
      offset16[16][kTileRows];  ///< -32 * sum of 16 q: what an unsigned weight w + 32 adds too much
  float d[kTileRows];
};

inline std::uint32_t tile_count(std::uint32_t n_rows) {
  return (n_rows + kTileRows - 1) / kTileRows;
}

/// Up to kMaxSingles rows are stored one by one, more in tiles. Never less than for fewer rows.
template <class Row, class Tile, std::uint32_t kBlock, std::uint32_t kMaxSingles>
std::uint64_t tiled_act_bytes(std::uint32_t n_rows, std::uint32_t k) {
  const std::uint64_t n_blocks = k / kBlock;
  if (n_rows <= kMaxSingles) {
    return n_rows * n_blocks * sizeof(Row);
  }
  const std::uint64_t tiles = tile_count(n_rows) * n_blocks * sizeof(Tile);
  const std::uint64_t singles = kMaxSingles * n_blocks * sizeof(Row);
  return tiles > singles ? tiles : singles;
}

template <class Row, std::uint32_t kBlock>
std::uint64_t row_act_bytes(std::uint32_t n_rows, std::uint32_t k) {
  return std::uint64_t{n_rows} * (k / kBlock) * sizeof(Row);
}

/// Below this a block's largest value counts as zero: its reciprocal would not be finite.
constexpr float kTinyScale = 1e-30f;

}  // namespace
}  // namespace lm::cpu
