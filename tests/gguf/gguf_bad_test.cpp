// Files that must be refused: code, file name, field and what to do must all be in the error.
#include <algorithm>
#include <cstddef>
#include <functional>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/gguf/gguf_file.h"
#include "tests/gguf/reading.h"
#include "tests/support/hostile_gguf.h"

namespace lm {
namespace LM_FILE {

using test::HostileGguf;

TEST(GgufBad, EveryHostileFileIsRefusedWithItsReason) {
  const std::vector<HostileGguf> cases = test::hostile_ggufs();
  std::set<std::string> names;
  for (const HostileGguf& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_TRUE(names.insert(c.name).second) << "two cases of one name";
    const auto file = test::read_bytes(c.bytes, "bad.gguf");
    ASSERT_FALSE(file.has_value());
    const Error& error = file.error();
    if (c.code) {
      EXPECT_EQ(code_name(error.code), code_name(*c.code)) << error.problem;
    }
    EXPECT_NE(error.subject.find("bad.gguf"), std::string::npos) << error.subject;
    EXPECT_FALSE(error.hint.empty()) << error.problem;
    EXPECT_LT(error.problem.size(), 1000u);
    for (const std::string& word : c.words) {
      EXPECT_NE((error.problem + "; " + error.hint).find(word), std::string::npos)
          << "no '" << word << "' in: " << error.problem;
    }
  }
  std::cout << cases.size() << " hostile files refused\n";
  EXPECT_GE(cases.size(), 150u);
}

TEST(GgufBad, RangedReaderGivesTheSameErrors) {
  for (const HostileGguf& c : test::hostile_ggufs()) {
    SCOPED_TRACE(c.name);
    const auto mapped = test::read_bytes(c.bytes, "bad.gguf");
    const auto ranged = test::read_ranged(c.bytes, "bad.gguf", 16);
    ASSERT_FALSE(ranged.has_value());
    EXPECT_EQ(ranged.error().problem, mapped.error().problem);
  }
}

/// A file with every kind of value and two tensors, whose last tensor fills its padding.
test::ByteVector small_file_of_everything() {
  test::GgufWriter w = test::tiny_keys();
  w.add<std::uint8_t>("u8", 1)
      .add<std::int8_t>("i8", -1)
      .add<std::uint16_t>("u16", 2)
      .add<std::int16_t>("i16", -2);
  w.add_u64("u64", 3)
      .add<std::int64_t>("i64", -3)
      .add_f32("f32", 1.5f)
      .add("f64", 2.5)
      .add_bool("bool", true);
  w.add_strings("words", {"", "a", "longer"}).add_array<std::int32_t>("numbers", {1, 2, 3});
  w.add_array<bool>("bools", {true, false}).add_string("empty", "");
  const test::FieldWriter nested =
      test::FieldWriter().u32(9).u64(2).u32(0).u64(1).u8(7).u32(8).u64(1).string("x");
  w.add_raw("nested", 9, nested.bytes());
  w.add_zeros("a.weight", DType::q8_0, {32, 2}).add_zeros("b.weight", DType::f32, {8, 2});
  return w.build();
}

TEST(GgufBad, EveryTruncationIsReportedWithItsPlace) {
  const test::ByteVector whole = small_file_of_everything();
  ASSERT_TRUE(test::read_bytes(whole, "whole.gguf").has_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const test::ByteVector cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto file = test::read_bytes(cut, "cut.gguf");
    ASSERT_FALSE(file.has_value()) << size;
    ASSERT_EQ(code_name(file.error().code), "truncated") << size << ": " << file.error().problem;
    ASSERT_NE(file.error().problem.find(fmt::format("truncated at {} of ", size)),
              std::string::npos)
        << file.error().problem;
  }
  std::cout << whole.size() << " truncation points\n";
}

TEST(GgufBad, EverySingleByteChangeIsReadOrRefused) {
  const test::ByteVector whole = small_file_of_everything();
  std::size_t refused = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (const unsigned value : {0x00u, 0x01u, 0x7Fu, 0x80u, 0xFFu}) {
      test::ByteVector changed = whole;
      changed[i] = static_cast<std::byte>(value);
      const auto file = test::read_bytes(std::move(changed), "changed.gguf");
      if (!file) {
        ++refused;
        ASSERT_NE(file.error().subject.find("changed.gguf"), std::string::npos);
        continue;
      }
      test::use_everything(*file);
    }
  }
  std::cout << whole.size() * 5 << " changes, " << refused << " refused\n";
  EXPECT_GT(refused, 500u);
}

TEST(GgufBad, LongKeysAreCutInMessages) {
  const std::string key = "k" + std::string(40'000, 'x') + "\xE2\x82\xAC";
  const auto file =
      test::read_bytes(test::tiny_keys().add_u32(key, 1).add_u32(key, 1).build(), "bad.gguf");
  ASSERT_FALSE(file.has_value());
  EXPECT_LT(file.error().problem.size(), 300u);
  EXPECT_NE(file.error().problem.find("40004 bytes"), std::string::npos) << file.error().problem;
}

TEST(GgufBad, LimitsAreTheCallers) {
  GgufLimits limits;
  limits.max_keys = 2;
  const auto keys = test::read_bytes(test::tiny_keys().build(), "bad.gguf", limits);
  ASSERT_FALSE(keys.has_value());
  EXPECT_EQ(keys.error().code, ErrorCode::limit_exceeded);
  limits = {};
  limits.max_tensors = 1;
  EXPECT_FALSE(test::read_bytes(test::tiny_model().build(), "bad.gguf", limits).has_value());
  limits = {};
  limits.max_array_elements = 2;
  EXPECT_FALSE(test::read_bytes(test::tiny_keys().add_strings("x", {"a", "b", "c"}).build(),
                                "bad.gguf", limits)
                   .has_value());
  limits = {};
  limits.max_string_bytes = 4;
  EXPECT_FALSE(test::read_bytes(test::tiny_keys().build(), "bad.gguf", limits).has_value());
}

TEST(GgufBad, NoFileIsAnError) {
  const auto file = GgufFile::read({});
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, ErrorCode::invalid_argument);
}

}  // namespace LM_FILE
}  // namespace lm
