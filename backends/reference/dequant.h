/// Blocks to f32, one scalar formula per type: the specification of every weight type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backends/dtype.h"

namespace lm::reference {

/// True for types that `dequantize_row` knows.
bool can_dequantize(DType dtype);

/// Writes the `n` values of one row (n a multiple of the block size, `blocks` = row_bytes(dtype, n)
/// bytes). Any bits are legal input: the result is finite, infinite or NaN, never undefined
/// behaviour.
void dequantize_row(DType dtype, const std::byte* blocks, std::uint64_t n, float* out);

/// f32 to one row of a type that tests and the KV cache need (f32, f16, bf16, q8_0, q4_0): round to
/// nearest.
bool can_quantize(DType dtype);
void quantize_row(DType dtype, const float* values, std::uint64_t n, std::byte* blocks);

float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_f16(float value);  ///< round to nearest even
float bf16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_bf16(float value);  ///< round to nearest even

}  // namespace lm::reference
