/// Rows in and out of the CPU's KV tiles (arrangement: kernels/kv_tile.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/ops.h"

namespace lm::cpu {

/// KV types that the CPU stores.
bool kv_type_known(DType dtype);

/// Writes the K row of position `at` (0..31 in its page) into a tile. `row` has the plain form of
/// the type.
void put_key(DType dtype, const std::byte* row, std::uint32_t dim, std::uint32_t at,
             std::byte* tile);
/// Reads it back.
void get_key(DType dtype, const std::byte* tile, std::uint32_t dim, std::uint32_t at,
             std::byte* row);

}  // namespace lm::cpu
