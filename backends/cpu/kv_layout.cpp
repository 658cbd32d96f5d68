#include "backends/cpu/kv_layout.h"

#include <cstring>

#include "backends/error.h"

namespace lm::cpu {
namespace {

constexpr std::uint32_t kGroup = 16;
constexpr std::uint32_t kQuantBlock = 32;

/// Bytes of quants in a block, behind its f16 scale; 0 for types without blocks.
std::uint32_t quant_bytes(DType dtype) {
  return dtype == DType::q8_0 ? 32 : (dtype == DType::q4_0 ? 16 : 0);
}

/// Element d of a key stands 16 elements after element d - 1.
template <class Value>
void put_values(const std::byte* row, std::uint32_t dim, std::byte* tile) {
  for (std::uint32_t d = 0; d < dim; ++d) {
    std::memcpy(tile + d * kGroup * sizeof(Value), row + d * sizeof(Value), sizeof(Value));
  }
}

template <class Value>
void get_values(const std::byte* tile, std::uint32_t dim, std::byte* row) {
  for (std::uint32_t d = 0; d < dim; ++d) {
    std::memcpy(row + d * sizeof(Value), tile + d * kGroup * sizeof(Value), sizeof(Value));
  }
}

}  // namespace

bool kv_type_known(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 ||
         quant_bytes(dtype) != 0;
}

void put_key(DType dtype, const std::byte* row, std::uint32_t dim, std::uint32_t at,
             std::byte* tile) {
  tile += row_bytes(dtype, std::uint64_t{kGroup} * dim) * (at / kGroup);
  const std::uint32_t lane = at % kGroup;
  if (dtype == DType::f32) {
    put_values<float>(row, dim, tile + lane * sizeof(float));
  } else if (quant_bytes(dtype) == 0) {
    put_values<std::uint16_t>(row, dim, tile + lane * sizeof(std::uint16_t));
  } else {
    std::byte* quants = tile + dim / kQuantBlock * kGroup * sizeof(std::uint16_t);
    const std::uint32_t n = quant_bytes(dtype);
    for (std::uint32_t b = 0; b < dim / kQuantBlock; ++b, row += sizeof(std::uint16_t) + n) {
      std::memcpy(tile + (b * kGroup + lane) * sizeof(std::uint16_t), row, sizeof(std::uint16_t));
      put_values<std::int8_t>(row + sizeof(std::uint16_t), n, quants + b * n * kGroup + lane);
    }
  }
}

void get_key(DType dtype, const std::byte* tile, std::uint32_t dim, std::uint32_t at,
             std::byte* row) {
  tile += row_bytes(dtype, std::uint64_t{kGroup} * dim) * (at / kGroup);
  const std::uint32_t lane = at % kGroup;
  if (dtype == DType::f32) {
    get_values<float>(tile + lane * sizeof(float), dim, row);
  } else if (quant_bytes(dtype) == 0) {
    get_values<std::uint16_t>(tile + lane * sizeof(std::uint16_t), dim, row);
  } else {
    const std::byte* quants = tile + dim / kQuantBlock * kGroup * sizeof(std::uint16_t);
    const std::uint32_t n = quant_bytes(dtype);
    for (std::uint32_t b = 0; b < dim / kQuantBlock; ++b, row += sizeof(std::uint16_t) + n) {
      std::memcpy(row, tile + (b * kGroup + lane) * sizeof(std::uint16_t), sizeof(std::uint16_t));
      get_values<std::int8_t>(quants + b * n * kGroup + lane, n, row + sizeof(std::uint16_t));
    }
  }
}

}  // namespace lm::cpu
