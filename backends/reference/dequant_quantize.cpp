// f32 to the types that tests and the KV cache write. Rounding of the block types as ggml's
// reference quantisers do it: Q8_0 half away from zero of x * (127 / max), Q4_0 truncation of x / d
// + 8.5 with d = (value of largest magnitude) / -8.
#include <algorithm>
#include <cmath>

#include "backends/error.h"
#include "backends/reference/dequant_blocks.h"

namespace lm::reference {
namespace {

constexpr std::uint32_t kBlock = 32;

void store_u16(std::uint8_t* b, std::uint16_t value) {
  std::memcpy(b, &value, sizeof(value));
}

/// `value` as an integer of [low, high]; NaN gives 0, so that no input is undefined behaviour.
std::int32_t clamp_to_int(float value, float low, float high) {
  return std::isnan(value) ? 0 : static_cast<std::int32_t>(std::clamp(value, low, high));
}

void quantize_q8_0(const float* x, std::uint8_t* b) {
  float largest = 0.0f;
  for (std::uint32_t i = 0; i < kBlock; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
  }
  const float d = largest / 127.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_u16(b, f32_to_f16(d));
  for (std::uint32_t i = 0; i < kBlock; ++i) {
    b[2 + i] = static_cast<std::uint8_t>(clamp_to_int(std::round(x[i] * inverse), -127.0f, 127.0f));
  }
}

void quantize_q4_0(const float* x, std::uint8_t* b) {
  float largest = 0.0f;
  for (std::uint32_t i = 0; i < kBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) {
      largest = x[i];
    }
  }
  const float d = largest / -8.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_u16(b, f32_to_f16(d));
  for (std::uint32_t i = 0; i < kBlock / 2; ++i) {
    const std::int32_t low = clamp_to_int(x[i] * inverse + 8.5f, 0.0f, 15.0f);
    const std::int32_t high = clamp_to_int(x[i + 16] * inverse + 8.5f, 0.0f, 15.0f);
    b[2 + i] = static_cast<std::uint8_t>(low | high << 4);
  }
}

}  // namespace

bool can_quantize(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 ||
         dtype == DType::q8_0 || dtype == DType::q4_0;
}

void quantize_row(DType dtype, const float* values, std::uint64_t n, std::byte* blocks) {
  if (n == 0) {
    return;  // the pointers may be null then
  }
  auto* bytes = reinterpret_cast<std::uint8_t*>(blocks);
  switch (dtype) {
    case DType::f32:
      std::memcpy(bytes, values, n * sizeof(float));
      return;
    case DType::f16:
      for (std::uint64_t i = 0; i < n; ++i) {
        store_u16(bytes + 2 * i, f32_to_f16(values[i]));
      }
      return;
    case DType::bf16:
      for (std::uint64_t i = 0; i < n; ++i) {
        store_u16(bytes + 2 * i, f32_to_bf16(values[i]));
      }
      return;
    case DType::q8_0:
      for (std::uint64_t i = 0; i < n / kBlock; ++i) {
        quantize_q8_0(values + i * kBlock, bytes + i * 34);
      }
      return;
    case DType::q4_0:
      for (std::uint64_t i = 0; i < n / kBlock; ++i) {
        quantize_q4_0(values + i * kBlock, bytes + i * 18);
      }
      return;
    default:
      LM_ASSERT(false, "a type without a quantiser; ask can_quantize first");
  }
}

}  // namespace lm::reference
