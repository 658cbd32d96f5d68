// Every block type on any bits: no undefined behaviour, nothing outside the row, the same result
// twice, and f16 and bf16 conversions that agree with themselves. Byte 0 chooses the type, the rest
// are blocks.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "backends/dtype.h"
#include "backends/reference/dequant.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;

constexpr float kCanary = -12345.0f;

void dequantize(const lm::BlockLayout& type, const std::uint8_t* data, std::size_t size) {
  const std::size_t n_blocks = size / type.block_bytes;
  const std::size_t n = n_blocks * type.block_elems;
  // Exactly as long as the row, so that a sanitizer sees a read past its end.
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const std::vector<std::byte> blocks(begin, begin + n_blocks * type.block_bytes);
  std::vector<float> values(n + 1, kCanary);
  lm::reference::dequantize_row(type.dtype, blocks.data(), n, values.data());
  require(values.back() == kCanary, "nothing is written past the row");
  std::vector<float> again(n + 1, kCanary);
  lm::reference::dequantize_row(type.dtype, blocks.data(), n, again.data());
  require(std::memcmp(values.data(), again.data(), n * sizeof(float)) == 0,
          "the result depends on the blocks alone");
  if (!lm::reference::can_quantize(type.dtype)) {
    return;
  }
  std::vector<std::byte> requantized(blocks.size() + 1, std::byte{0x5A});
  lm::reference::quantize_row(type.dtype, values.data(), n, requantized.data());
  require(requantized.back() == std::byte{0x5A}, "nothing is written past the blocks");
}

void convert(float value) {
  const float half = lm::reference::f16_to_f32(lm::reference::f32_to_f16(value));
  const float brain = lm::reference::bf16_to_f32(lm::reference::f32_to_bf16(value));
  require(std::isnan(half) == std::isnan(value) && std::isnan(brain) == std::isnan(value),
          "NaN stays NaN");
  if (std::isnan(value)) {
    return;
  }
  require(std::signbit(half) == std::signbit(value) && std::signbit(brain) == std::signbit(value),
          "the sign stays");
  if (std::fabs(value) < 65504.0f) {
    require(std::fabs(half - value) <= std::fmax(std::fabs(value) * 0x1p-11f, 0x1p-25f),
            "f16 is the nearest value");
  }
  if (std::fabs(value) < 3e38f) {
    require(std::fabs(brain - value) <= std::fmax(std::fabs(value) * 0x1p-8f, 0x1p-134f),
            "bf16 is the nearest value");
  }
}

}  // namespace

int lm_fuzz_dequant(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const lm::BlockLayout* type = lm::find_layout(data[0] % 64);
  if (type != nullptr && lm::reference::can_dequantize(type->dtype)) {
    dequantize(*type, data + 1, size - 1);
  }
  for (std::size_t i = 1; i + sizeof(float) <= size; i += sizeof(float)) {
    float value = 0.0f;
    std::memcpy(&value, data + i, sizeof(value));
    convert(value);
  }
  return 0;
}
