/// What the tests of the matmul kernels share: random weights of every type, and activations as a
/// kernel rounds them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "backends/cpu/isa.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/dtype.h"
#include "backends/reference/dequant.h"

namespace lm::cpu {

/// Where a type's blocks keep their f16 scales; the rest of a block may be any bits. `min` is the
/// second of two, as a multiple of the first that centres the weights around zero.
struct TypeCase {
  DType dtype;
  std::vector<std::size_t> halves;
  float min = 1.0f;
};

inline std::vector<TypeCase> all_types() {
  return {{DType::f32, {}},
          {DType::f16, {}},
          {DType::bf16, {}},
          {DType::q8_0, {0}},
          {DType::q4_0, {0}},
          {DType::q4_1, {0, 2}, -7.5f},
          {DType::q5_0, {0}},
          {DType::q5_1, {0, 2}, -15.5f},
          {DType::iq4_nl, {0}},
          {DType::mxfp4, {}},
          {DType::q4_k, {0, 2}, 7.5f},
          {DType::q5_k, {0, 2}, 15.5f},
          {DType::q6_k, {208}},
          {DType::q2_k, {80, 82}, 1.5f},
          {DType::q3_k, {108}},
          {DType::iq2_xxs, {0}},
          {DType::iq2_xs, {0}},
          {DType::iq2_s, {0}},
          {DType::iq3_xxs, {0}},
          {DType::iq3_s, {0}},
          {DType::iq1_s, {0}},
          {DType::iq1_m, {}},
          {DType::iq4_xs, {0}},
          {DType::tq1_0, {52}},
          {DType::tq2_0, {64}},
          {DType::nvfp4, {}},
          {DType::q1_0, {0}},
          {DType::q2_0, {0}}};
}

inline std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : isa_levels()) {
    if (has_isa(isa)) {
      isas.push_back(isa);
    }
  }
  return isas;
}

inline void put_half(std::byte* p, float v) {
  const std::uint16_t bits = reference::f32_to_f16(v);
  std::memcpy(p, &bits, sizeof bits);
}

/// Random blocks whose scales are of one magnitude, so that every block counts in a sum.
inline void fill_weights(const TypeCase& type, std::byte* data, std::uint64_t bytes,
                         std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> scale(0.01f, 0.02f);
  if (type.dtype == DType::f32 || type.dtype == DType::f16 || type.dtype == DType::bf16) {
    const std::uint64_t n = bytes / layout(type.dtype).block_bytes;
    std::vector<float> values(n);
    for (float& v : values) {
      v = normal(rng);
    }
    reference::quantize_row(type.dtype, values.data(), n, data);
    return;
  }
  const std::uint32_t block_bytes = layout(type.dtype).block_bytes;
  for (std::uint64_t i = 0; i < bytes; ++i) {
    data[i] = static_cast<std::byte>(rng());
  }
  for (std::byte* block = data; block < data + bytes; block += block_bytes) {
    float value = scale(rng);
    for (const std::size_t offset : type.halves) {
      put_half(block + offset, value);
      value *= type.min;
    }
    if (type.dtype == DType::mxfp4) {
      block[0] = static_cast<std::byte>(120 + rng() % 4);
    } else if (type.dtype == DType::iq1_m) {  // the upper bits of its scale
      block[55] = (block[55] & std::byte{0x0f}) | std::byte{0x20};
    } else if (type.dtype == DType::nvfp4) {
      for (int i = 0; i < 4; ++i) {
        block[i] = static_cast<std::byte>(0x30 + rng() % 16);
      }
    }
  }
}

/// What the kernel multiplies: x itself, or x rounded to int8 per block.
inline std::vector<double> quantized_activations(const std::vector<float>& x, ActFormat format) {
  std::vector<double> out(x.begin(), x.end());
  if (format == ActFormat::f32) {
    return out;
  }
  const std::size_t block = format == ActFormat::q8_32 ? 32 : 256;
  for (std::size_t b = 0; b < x.size(); b += block) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < block; ++i) {
      largest = std::max(largest, std::abs(x[b + i]));
    }
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    for (std::size_t i = 0; i < block; ++i) {
      out[b + i] = static_cast<double>(largest / 127.0f) *
                   static_cast<double>(std::rint(x[b + i] * inverse));
    }
  }
  return out;
}

}  // namespace lm::cpu
