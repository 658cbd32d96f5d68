#include "runtime/gguf/metadata.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/gguf/reading.h"
#include "tests/support/gguf_writer.h"

namespace lm {
namespace LM_FILE {

using test::FieldWriter;
using test::GgufWriter;

GgufFile file_of(const GgufWriter& writer) {
  auto file = test::read_bytes(writer.build(), "a.gguf");
  EXPECT_TRUE(file.has_value()) << file.error().problem;
  return std::move(*file);
}

TEST(Metadata, ReadsIntegersOfAnyWidth) {
  GgufWriter w;
  w.add<std::uint8_t>("u8", 200).add<std::int8_t>("i8", -100).add<std::uint16_t>("u16", 60'000);
  w.add<std::int16_t>("i16", -30'000)
      .add<std::uint32_t>("u32", 4'000'000'000)
      .add<std::int32_t>("i32", -2'000'000'000);
  w.add<std::uint64_t>("u64", 1ull << 62)
      .add<std::int64_t>("i64", std::numeric_limits<std::int64_t>::min());
  w.add<std::uint64_t>("too large", 1ull << 63);
  const GgufFile file = file_of(w);
  const Metadata& m = file.metadata();
  EXPECT_EQ(*m.get_int("u8"), 200);
  EXPECT_EQ(*m.get_int("i8"), -100);
  EXPECT_EQ(*m.get_int("u16"), 60'000);
  EXPECT_EQ(*m.get_int("i16"), -30'000);
  EXPECT_EQ(*m.get_int("u32"), 4'000'000'000);
  EXPECT_EQ(*m.get_int("i32"), -2'000'000'000);
  EXPECT_EQ(*m.get_int("u64"), 1ll << 62);
  EXPECT_EQ(*m.get_int("i64"), std::numeric_limits<std::int64_t>::min());
  const auto large = m.get_int("too large");
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error().code, ErrorCode::bad_value);
  EXPECT_FALSE(m.try_ints("too large").has_value());
  EXPECT_FALSE(m.get_float("too large").has_value());
  EXPECT_EQ(**m.try_ints("i8"), std::vector<std::int64_t>{-100});
}

TEST(Metadata, ReadsFloatsOfBothWidthsAndIntegersAsFloats) {
  GgufWriter w;
  w.add_f32("f32", 0.5f).add("f64", 1e-300).add_u32("u32", 7).add_f32("nan", std::nanf(""));
  w.add_array<float>("f32s", {1.0f, -2.5f})
      .add_array<double>("f64s", {0.25, 3.0})
      .add_array<std::int32_t>("ints", {1});
  const GgufFile file = file_of(w);
  const Metadata& m = file.metadata();
  EXPECT_EQ(*m.get_float("f32"), 0.5);
  EXPECT_EQ(*m.get_float("f64"), 1e-300);
  EXPECT_EQ(*m.get_float("u32"), 7.0);
  EXPECT_TRUE(std::isnan(*m.get_float("nan")));
  EXPECT_EQ(**m.try_floats("f32s"), (std::vector<float>{1.0f, -2.5f}));
  EXPECT_EQ(**m.try_floats("f64s"), (std::vector<float>{0.25f, 3.0f}));
  EXPECT_FALSE(m.try_floats("ints").has_value());
  EXPECT_FALSE(m.try_floats("f32").has_value());
}

TEST(Metadata, ReadsArraysOfStringsAndIntegers) {
  GgufWriter w;
  w.add_strings("words", {"", "one", "zwei\xC3\xA4", std::string("a\0b", 3)});
  w.add_array<std::int8_t>("i8s", {-1, 2})
      .add_array<std::uint64_t>("u64s", {5})
      .add_array<bool>("bools", {true, false});
  const GgufFile file = file_of(w);
  const Metadata& m = file.metadata();
  const std::vector<std::string_view> words = m.try_strings("words").value().value();
  ASSERT_EQ(words.size(), 4u);
  EXPECT_EQ(words[0], "");
  EXPECT_EQ(words[1], "one");
  EXPECT_EQ(words[2], "zwei\xC3\xA4");
  EXPECT_EQ(words[3].size(), 3u);
  EXPECT_EQ(**m.try_ints("i8s"), (std::vector<std::int64_t>{-1, 2}));
  EXPECT_EQ(**m.try_ints("u64s"), (std::vector<std::int64_t>{5}));
  EXPECT_EQ(**m.try_ints("bools"), (std::vector<std::int64_t>{1, 0}));
}

TEST(Metadata, EmptyArraysFitEveryArrayGetter) {
  GgufWriter w;
  w.add_raw("empty", 9, FieldWriter().u32(8).u64(0).bytes());
  const GgufFile file = file_of(w);
  EXPECT_TRUE((*file.metadata().try_ints("empty"))->empty());
  EXPECT_TRUE((*file.metadata().try_floats("empty"))->empty());
  EXPECT_TRUE((*file.metadata().try_strings("empty"))->empty());
}

TEST(Metadata, AWrongTypeIsAnErrorNamingKeyAndTypes) {
  GgufWriter w;
  w.add_string("text", "5")
      .add_f32("float", 5.0f)
      .add_bool("bool", true)
      .add_strings("texts", {"5"});
  w.add_u32("int", 5);
  const GgufFile file = file_of(w);
  const Metadata& m = file.metadata();
  const auto error = m.try_int("text");
  ASSERT_FALSE(error.has_value());
  EXPECT_EQ(error.error().code, ErrorCode::bad_value);
  EXPECT_EQ(error.error().subject, "a.gguf");
  EXPECT_NE(error.error().problem.find("'text' is string, expected an integer"), std::string::npos)
      << error.error().problem;
  EXPECT_FALSE(error.error().hint.empty());
  EXPECT_FALSE(m.try_int("float").has_value());
  EXPECT_FALSE(m.try_int("bool").has_value());
  EXPECT_FALSE(m.try_int("texts").has_value());
  EXPECT_FALSE(m.try_float("text").has_value());
  EXPECT_FALSE(m.try_float("bool").has_value());
  EXPECT_FALSE(m.try_bool("int").has_value());
  EXPECT_FALSE(m.try_bool("text").has_value());
  EXPECT_FALSE(m.try_string("int").has_value());
  EXPECT_FALSE(m.try_string("texts").has_value());
  EXPECT_FALSE(m.try_strings("text").has_value());
  EXPECT_FALSE(m.try_ints("texts").has_value());
  EXPECT_FALSE(m.try_ints("float").has_value());
  EXPECT_FALSE(m.int_or("text", 1).has_value());
  EXPECT_FALSE(m.float_or("text", 1).has_value());
  EXPECT_FALSE(m.bool_or("text", true).has_value());
}

TEST(Metadata, AnAbsentKeyIsNothingADefaultOrAnError) {
  const GgufFile file = file_of(GgufWriter().add_u32("present", 1));
  const Metadata& m = file.metadata();
  EXPECT_FALSE(m.has("absent"));
  EXPECT_EQ(m.find("absent"), nullptr);
  EXPECT_FALSE(m.try_int("absent")->has_value());
  EXPECT_FALSE(m.try_float("absent")->has_value());
  EXPECT_FALSE(m.try_bool("absent")->has_value());
  EXPECT_FALSE(m.try_string("absent")->has_value());
  EXPECT_FALSE(m.try_ints("absent")->has_value());
  EXPECT_FALSE(m.try_floats("absent")->has_value());
  EXPECT_FALSE(m.try_strings("absent")->has_value());
  EXPECT_EQ(*m.int_or("absent", 42), 42);
  EXPECT_EQ(*m.float_or("absent", 0.5), 0.5);
  EXPECT_TRUE(*m.bool_or("absent", true));
  for (const Error& error : {m.get_int("absent").error(), m.get_float("absent").error(),
                             m.get_string("absent").error()}) {
    EXPECT_EQ(error.code, ErrorCode::missing);
    EXPECT_NE(error.problem.find("'absent'"), std::string::npos);
  }
}

TEST(Metadata, EntriesKeepTheFilesOrder) {
  const GgufFile file = file_of(GgufWriter().add_u32("z", 1).add_u32("a", 2).add_u32("m", 3));
  const auto& entries = file.metadata().entries();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].key, "z");
  EXPECT_EQ(entries[1].key, "a");
  EXPECT_EQ(entries[2].key, "m");
}

}  // namespace LM_FILE
}  // namespace lm
