// Conversions exhaustively, the types that no golden file has by hand, and
// quantise-then-dequantise.
#include "backends/reference/dequant.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace lm::reference {
namespace LM_FILE {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool same_bits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

TEST(HalfConversion, KnownValues) {
  EXPECT_EQ(f16_to_f32(0x3C00), 1.0f);
  EXPECT_EQ(f16_to_f32(0xC000), -2.0f);
  EXPECT_EQ(f16_to_f32(0x7BFF), 65504.0f);
  EXPECT_EQ(f16_to_f32(0x0400), 0x1p-14f);
  EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24f);
  EXPECT_TRUE(same_bits(f16_to_f32(0x8000), -0.0f));
  EXPECT_EQ(f16_to_f32(0x7C00), kInfinity);
  EXPECT_TRUE(std::isnan(f16_to_f32(0x7E00)));
  EXPECT_EQ(f32_to_f16(65519.99f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)), 0x0001);
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3F80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
}

TEST(HalfConversion, EveryF16RoundTrips) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = f16_to_f32(half);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value)))) << bits;
      ASSERT_EQ((bits & 0x7C00u), 0x7C00u);
      continue;
    }
    ASSERT_EQ(f32_to_f16(value), half);
  }
}

TEST(HalfConversion, EveryBf16RoundTrips) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = bf16_to_f32(half);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(f32_to_bf16(value), half);
  }
}

/// Between two neighbours the lower half of the f32 values must give the one, the upper half the
/// other, and the middle the even one. Conversion is monotonic, so the values beside each middle
/// decide for all.
template <class ToHalf, class ToFloat>
void check_rounding(std::uint32_t last_finite, ToHalf to_half, ToFloat to_float) {
  for (std::uint32_t bits = 0; bits < last_finite; ++bits) {
    const auto low = static_cast<std::uint16_t>(bits);
    const auto high = static_cast<std::uint16_t>(bits + 1);
    const double middle =
        (static_cast<double>(to_float(low)) + static_cast<double>(to_float(high))) / 2;
    const auto exact = static_cast<float>(middle);
    ASSERT_EQ(static_cast<double>(exact), middle);
    const std::uint16_t even = bits % 2 == 0 ? low : high;
    for (const float sign : {1.0f, -1.0f}) {
      const auto sign_bit = static_cast<std::uint16_t>(sign < 0 ? 0x8000 : 0);
      const auto with_sign = [&](std::uint16_t half) {
        return static_cast<std::uint16_t>(half | sign_bit);
      };
      ASSERT_EQ(to_half(sign * exact), with_sign(even)) << bits;
      ASSERT_EQ(to_half(sign * std::nextafter(exact, 0.0f)), with_sign(low)) << bits;
      ASSERT_EQ(to_half(sign * std::nextafter(exact, kInfinity)), with_sign(high)) << bits;
    }
  }
}

TEST(HalfConversion, F16RoundsToNearestEven) {
  check_rounding(0x7BFF, f32_to_f16, f16_to_f32);
}

TEST(HalfConversion, Bf16RoundsToNearestEven) {
  check_rounding(0x7F7F, f32_to_bf16, bf16_to_f32);
}

std::vector<float> dequantize(DType type, const std::vector<std::uint8_t>& blocks) {
  const BlockLayout& l = layout(type);
  std::vector<float> values(blocks.size() / l.block_bytes * l.block_elems);
  dequantize_row(type, reinterpret_cast<const std::byte*>(blocks.data()), values.size(),
                 values.data());
  return values;
}

TEST(Dequant, Q1_0IsASignPerBit) {
  std::vector<std::uint8_t> block(18, 0);
  block[1] = 0x40;  // d = 2
  block[2] = 0x05;
  block[17] = 0x80;
  const std::vector<float> values = dequantize(DType::q1_0, block);
  ASSERT_EQ(values.size(), 128u);
  for (std::size_t i = 0; i < 128; ++i) {
    EXPECT_EQ(values[i], i == 0 || i == 2 || i == 127 ? 2.0f : -2.0f) << i;
  }
}

TEST(Dequant, Q2_0CountsFromMinusOne) {
  std::vector<std::uint8_t> block(18, 0);
  block[1] = 0x3C;  // d = 1
  for (std::size_t i = 2; i < 18; ++i) {
    block[i] = 0xE4;  // 0, 1, 2, 3 from the low end
  }
  const std::vector<float> values = dequantize(DType::q2_0, block);
  ASSERT_EQ(values.size(), 64u);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(values[i], static_cast<float>(i % 4) - 1.0f) << i;
  }
}

TEST(Dequant, Nvfp4MultipliesE2m1ByItsGroupsScale) {
  std::vector<std::uint8_t> block(36, 0);
  block[0] = 0x38;  // exponent 7, mantissa 0: 1
  block[1] = 0x44;  // exponent 8, mantissa 4: 3
  block[2] = 0x01;  // subnormal: 2^-9
  block[3] = 0x7F;  // taken as 0
  constexpr float kE2m1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6};
  constexpr float kScale[4] = {1.0f, 3.0f, 0x1p-9f, 0.0f};
  for (std::size_t k = 0; k < 4; ++k) {
    for (std::size_t r = 0; r < 8; ++r) {
      block[4 + 8 * k + r] = static_cast<std::uint8_t>(r | (15 - r) << 4);
    }
  }
  const std::vector<float> values = dequantize(DType::nvfp4, block);
  ASSERT_EQ(values.size(), 64u);
  for (std::size_t i = 0; i < 64; ++i) {
    const std::size_t r = i % 16;
    EXPECT_EQ(values[i], kScale[i / 16] * kE2m1[r < 8 ? r : 15 - (r - 8)]) << i;
  }
}

TEST(Dequant, Mxfp4HandlesTheEndsOfItsScale) {
  std::vector<std::uint8_t> block(17, 0x22);  // every nibble 2: 1
  for (const auto& [e, expected] :
       {std::pair{127, 1.0f}, {128, 2.0f}, {0, 0x1p-127f}, {1, 0x1p-126f}, {254, 0x1p127f}}) {
    block[0] = static_cast<std::uint8_t>(e);
    EXPECT_EQ(dequantize(DType::mxfp4, block)[31], expected) << e;
  }
}

TEST(Dequant, EveryWeightTypeHasAFormulaAndOthersHaveNone) {
  int weights = 0;
  for (std::uint32_t id = 0; id < 64; ++id) {
    const BlockLayout* l = find_layout(id);
    if (l != nullptr) {
      EXPECT_EQ(can_dequantize(l->dtype), l->use == TypeUse::weight) << l->name;
      weights += l->use == TypeUse::weight ? 1 : 0;
    }
  }
  EXPECT_EQ(weights, 28);
}

TEST(Dequant, AnyBitsGiveFloatsAndNothingIsWrittenPastTheRow) {
  std::mt19937 random(7);
  for (std::uint32_t id = 0; id < 64; ++id) {
    const BlockLayout* l = find_layout(id);
    if (l == nullptr || !can_dequantize(l->dtype)) {
      continue;
    }
    const std::uint64_t n = std::uint64_t{l->block_elems} * 3;
    for (int round = 0; round < 200; ++round) {
      std::vector<std::byte> blocks(static_cast<std::size_t>(row_bytes(l->dtype, n)));
      for (std::byte& b : blocks) {
        b = round == 0 ? std::byte{0xFF} : static_cast<std::byte>(random() & 0xFF);
      }
      std::vector<float> values(static_cast<std::size_t>(n) + 1, 12345.0f);
      dequantize_row(l->dtype, blocks.data(), n, values.data());
      EXPECT_EQ(values.back(), 12345.0f) << l->name;
    }
  }
}

TEST(Dequant, AnEmptyRowIsNothing) {
  for (std::uint32_t id = 0; id < 64; ++id) {
    const BlockLayout* l = find_layout(id);
    if (l != nullptr && can_dequantize(l->dtype)) {
      dequantize_row(l->dtype, nullptr, 0, nullptr);
    }
    if (l != nullptr && can_quantize(l->dtype)) {
      quantize_row(l->dtype, nullptr, 0, nullptr);
    }
  }
}

std::vector<float> quantize_and_back(DType type, const std::vector<float>& values) {
  std::vector<std::byte> blocks(static_cast<std::size_t>(row_bytes(type, values.size())));
  quantize_row(type, values.data(), values.size(), blocks.data());
  std::vector<float> back(values.size());
  dequantize_row(type, blocks.data(), back.size(), back.data());
  return back;
}

TEST(Quantize, ErrorsStayWithinHalfAStep) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(-4.0f, 4.0f);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> values(64);
    for (float& v : values) {
      v = uniform(random);
    }
    const std::vector<float> q8 = quantize_and_back(DType::q8_0, values);
    const std::vector<float> q4 = quantize_and_back(DType::q4_0, values);
    const std::vector<float> f16 = quantize_and_back(DType::f16, values);
    const std::vector<float> bf16 = quantize_and_back(DType::bf16, values);
    EXPECT_EQ(quantize_and_back(DType::f32, values), values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      float largest = 0.0f;
      for (std::size_t k = 0; k < 32; ++k) {
        largest = std::max(largest, std::fabs(values[i / 32 * 32 + k]));
      }
      EXPECT_LE(std::fabs(q8[i] - values[i]), largest / 127 * 0.5f + largest * 0x1p-10f);
      EXPECT_LE(std::fabs(q4[i] - values[i]), largest / 8 + largest * 0x1p-10f);
      EXPECT_LE(std::fabs(f16[i] - values[i]), std::fabs(values[i]) * 0x1p-11f);
      EXPECT_LE(std::fabs(bf16[i] - values[i]), std::fabs(values[i]) * 0x1p-8f);
    }
  }
}

TEST(Quantize, KnownBlocks) {
  std::vector<float> values(32, 0.0f);
  values[0] = 127.0f;
  values[1] = -64.5f;  // halves go away from zero
  values[2] = 0.5f;
  std::vector<std::byte> q8(34);
  quantize_row(DType::q8_0, values.data(), 32, q8.data());
  EXPECT_EQ(q8[1], std::byte{0x3C});
  EXPECT_EQ(static_cast<std::int8_t>(q8[2]), 127);
  EXPECT_EQ(static_cast<std::int8_t>(q8[3]), -65);
  EXPECT_EQ(static_cast<std::int8_t>(q8[4]), 1);

  std::vector<float> four(32, 0.0f);
  four[0] = -8.0f;  // the value of largest magnitude becomes code 0
  four[1] = 8.0f;   // code 16 does not exist: 15
  four[16] = 3.0f;
  std::vector<std::byte> q4(18);
  quantize_row(DType::q4_0, four.data(), 32, q4.data());
  EXPECT_EQ(q4[1], std::byte{0x3C});
  EXPECT_EQ(q4[2], std::byte{0xB0});
  EXPECT_EQ(q4[3], std::byte{0x8F});
  EXPECT_EQ(q4[4], std::byte{0x88});
}

TEST(Quantize, ZerosStayZerosAndOddValuesAreDefined) {
  const std::vector<float> zeros(32, 0.0f);
  for (const DType type : {DType::f16, DType::bf16, DType::q8_0, DType::q4_0}) {
    EXPECT_TRUE(can_quantize(type));
    EXPECT_EQ(quantize_and_back(type, zeros), zeros);
    for (const float odd : {kInfinity, -kInfinity, std::nanf(""), 0x1p-149f, -0x1p-140f, 3e38f}) {
      std::vector<float> values(32, 1.0f);
      values[5] = odd;
      values[6] = 0.0f;
      EXPECT_EQ(quantize_and_back(type, values).size(), 32u);
      EXPECT_EQ(quantize_and_back(type, std::vector<float>(32, odd)).size(), 32u);
    }
  }
  EXPECT_FALSE(can_quantize(DType::q4_k));
  EXPECT_FALSE(can_quantize(DType::i8));
}

}  // namespace LM_FILE
}  // namespace lm::reference
