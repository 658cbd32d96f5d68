/// References to tensors in device memory. C++17, because .cu files include it.
#pragma once

#include <cstdint>

#include "backends/dtype.h"

namespace lm {

/// Index into the buffer table that a segment is compiled with. 0 is the device's activation arena.
using BufferIndex = std::uint16_t;
constexpr BufferIndex kArena = 0;
constexpr BufferIndex kNoBuffer = 0xffff;

/// A row-major matrix [rows, cols] with contiguous cols, somewhere in a buffer. Trivially copyable,
/// never a pointer. For activations `rows` is the capacity (the plan's token bucket); how many rows
/// are alive in a step says StepInput.
struct TensorRef {
  DType dtype = DType::f32;
  BufferIndex buffer = kNoBuffer;
  std::uint64_t offset = 0;  ///< bytes from the buffer's start
  std::uint32_t rows = 0;
  std::uint32_t cols = 0;

  constexpr bool empty() const { return buffer == kNoBuffer; }
  std::uint64_t bytes() const { return empty() ? 0 : row_bytes(dtype, cols) * rows; }
};

}  // namespace lm
