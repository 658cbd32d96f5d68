// Files that a strict reader might refuse and must not.
#include <cstddef>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/gguf/gguf_file.h"
#include "tests/gguf/reading.h"
#include "tests/support/hostile_gguf.h"

namespace lm {
namespace LM_FILE {

using test::ByteVector;
using test::FieldWriter;
using test::GgufWriter;

struct GoodFile {
  std::string name;
  ByteVector bytes;
  std::size_t n_tensors;
  std::size_t n_keys;
};

GgufWriter two_tensors() {
  GgufWriter w;
  w.add_zeros("a.weight", DType::f32, {8}).add_zeros("b.weight", DType::q4_0, {32, 3});
  return w;
}

std::vector<GoodFile> good_files() {
  std::vector<GoodFile> files;
  const auto add = [&](std::string name, ByteVector bytes, std::size_t n_tensors,
                       std::size_t n_keys) {
    files.push_back({std::move(name), std::move(bytes), n_tensors, n_keys});
  };
  add("version 2", test::tiny_model().build(2), 2, 3);
  add("version 3", test::tiny_model().build(3), 2, 3);
  add("no keys and no tensors", GgufWriter().build(), 0, 0);
  add("vocabulary only", test::tiny_keys().build(), 0, 3);
  add("architecture last",
      GgufWriter().add_u32("llama.block_count", 1).add_string("general.architecture", "x").build(),
      0, 2);
  {
    GgufWriter w;  // every unknown key of every type, scalar, in an array, and in an empty array
    for (std::uint32_t type = 0; type <= 12; ++type) {
      if (type != 9) {
        w.add_raw("unknown." + std::to_string(type), type,
                  FieldWriter()
                      .zeros(type < 2 || type == 7 ? 1
                             : type < 4            ? 2
                             : type < 7            ? 4
                                                   : 8)
                      .bytes());
      }
      w.add_raw("empty." + std::to_string(type), 9, FieldWriter().u32(type).u64(0).bytes());
    }
    add("unknown keys of every type", w.build(), 0, 25);
  }
  {
    FieldWriter nested;
    nested.u32(9).u64(2).u32(9).u64(1).u32(9).u64(1).u32(4).u64(1).u32(5).u32(8).u64(1).string("x");
    add("arrays nested to the limit", GgufWriter().add_raw("x", 9, nested.bytes()).build(), 0, 1);
  }
  {
    GgufWriter w;
    w.add_tensor({"late.weight", 0, {8}, ByteVector(32), 64});
    w.add_tensor({"early.weight", 0, {16}, ByteVector(64), 0});
    add("tensors in any order", w.build(), 2, 0);
  }
  {
    GgufWriter w;
    w.add_tensor({"a.weight", 0, {8}, ByteVector(32), 0});
    w.add_tensor({"b.weight", 0, {8}, ByteVector(96), 64});
    add("an aligned gap", w.build(), 2, 0);
  }
  {
    GgufWriter w;
    w.add_tensor({"a.weight", 0, {8}, ByteVector(128), 96});
    add("a gap before the first tensor", w.build(), 1, 0);
  }
  {
    ByteVector bytes = two_tensors().build();
    bytes.resize(bytes.size() - 10);  // 54 bytes of data, 10 of padding
    add("no padding after the last tensor", bytes, 2, 0);
    bytes.resize(bytes.size() + 5);
    add("half the padding after the last tensor", bytes, 2, 0);
    bytes.resize(bytes.size() + 1000);
    add("bytes after the last tensor", std::move(bytes), 2, 0);
  }
  {
    ByteVector bytes = test::tiny_keys().build();
    bytes.resize(bytes.size() + 13);
    add("bytes after the keys", std::move(bytes), 0, 3);
  }
  for (std::uint32_t alignment = 8; alignment <= 1 << 20; alignment *= 2) {
    add("alignment " + std::to_string(alignment), two_tensors().build(3, alignment), 2,
        alignment == 32 ? 0 : 1);
  }
  for (const std::uint32_t type : {0u, 1u, 2u, 3u, 4u, 5u, 10u, 11u}) {
    const FieldWriter value = FieldWriter().u64(64);
    const std::size_t size = type < 2 ? 1 : type < 4 ? 2 : type < 6 ? 4 : 8;
    GgufWriter w = two_tensors();
    w.add_raw("general.alignment", type, std::span(value.bytes()).first(size));
    add("alignment as type " + std::to_string(type), w.build(3, 64), 2, 1);
  }
  add("key of 65535 bytes", GgufWriter().add_u32(std::string(65'535, 'k'), 1).build(), 0, 1);
  add("tensor name of 64 bytes",
      GgufWriter().add_zeros(std::string(64, 'n'), DType::f32, {8}).build(), 1, 0);
  add("keys that are not UTF-8",
      GgufWriter().add_u32("\xFF\xFE", 1).add_u32("a b\x1B[0m", 2).build(), 0, 2);
  add("four dimensions", GgufWriter().add_zeros("a", DType::f32, {2, 3, 4, 5}).build(), 1, 0);
  {
    GgufWriter w;
    for (const DType type : {DType::i8, DType::i16, DType::i32, DType::i64, DType::f64}) {
      w.add_zeros(layout(type).name, type, {4});
    }
    add("integer tensors", w.build(), 5, 0);
  }
  {
    GgufWriter w;
    for (std::uint32_t id = 0; id < 64; ++id) {
      const BlockLayout* type = find_layout(id);
      if (type != nullptr && type->use == TypeUse::weight) {
        w.add_zeros(type->name, type->dtype, {256, 2});
      }
    }
    add("every weight type", w.build(), 28, 0);
  }
  return files;
}

TEST(GgufLoad, EveryGoodFileLoads) {
  const std::vector<GoodFile> files = good_files();
  for (const GoodFile& good : files) {
    SCOPED_TRACE(good.name);
    const auto file = test::read_bytes(good.bytes, "good.gguf");
    ASSERT_TRUE(file.has_value()) << file.error().problem;
    EXPECT_EQ(file->tensors().size(), good.n_tensors);
    EXPECT_EQ(file->metadata().entries().size(), good.n_keys);
    test::use_everything(*file);
    const auto ranged = test::read_ranged(good.bytes, "good.gguf", 7);
    ASSERT_TRUE(ranged.has_value()) << ranged.error().problem;
    EXPECT_EQ(ranged->tensors().size(), good.n_tensors);
    test::use_everything(*ranged);
  }
  std::cout << files.size() << " good files read\n";
  EXPECT_GE(files.size(), 40u);
}

TEST(GgufLoad, TensorsSayWhereTheyAre) {
  GgufWriter w = test::tiny_keys();
  const std::vector<float> values = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
  w.add_zeros("first", DType::q8_0, {32, 2, 3}).add_tensor_f32("second", {3, 2}, values);
  const ByteVector bytes = w.build();
  const auto file = test::read_bytes(bytes, "good.gguf");
  ASSERT_TRUE(file.has_value());
  const GgufTensor* first = file->find_tensor("first");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->dtype, DType::q8_0);
  EXPECT_EQ(first->n_dims, 3u);
  EXPECT_EQ(first->ne, (std::array<std::uint64_t, 4>{32, 2, 3, 1}));
  EXPECT_EQ(first->rows(), 6u);
  EXPECT_EQ(first->bytes, 6u * 34);
  const GgufTensor* second = file->find_tensor("second");
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->file_offset, first->file_offset + 224);
  const auto data = file->data(*second);
  ASSERT_TRUE(data.has_value());
  EXPECT_EQ(std::memcmp(data->data(), values.data(), sizeof(float) * values.size()), 0);
  EXPECT_EQ(file->find_tensor("third"), nullptr);
  EXPECT_EQ(file->parameter_count(), 192u + 6);
  EXPECT_EQ(file->tensor_bytes(), 204u + 24);
  EXPECT_EQ(file->file_bytes(), bytes.size());
  EXPECT_EQ(file->architecture(), "llama");
  EXPECT_EQ(file->name(), "good.gguf");
  EXPECT_EQ(file->version(), 3u);
  EXPECT_LE(file->header_bytes(0), first->file_offset);
  EXPECT_LT(first->file_offset - file->header_bytes(0), 32u);
}

TEST(GgufLoad, OddButHarmlessThingsAreWarnings) {
  ByteVector bytes = two_tensors().build();
  EXPECT_TRUE(test::read_bytes(bytes, "a.gguf")->warnings().empty());
  bytes.resize(bytes.size() - 10);
  const auto unpadded = test::read_bytes(bytes, "a.gguf");
  ASSERT_EQ(unpadded->warnings().size(), 1u);
  EXPECT_NE(unpadded->warnings()[0].find("padding"), std::string::npos);
  bytes.resize(bytes.size() + 1000);
  const auto trailing = test::read_bytes(bytes, "a.gguf");
  ASSERT_EQ(trailing->warnings().size(), 1u);
  EXPECT_NE(trailing->warnings()[0].find("1000 bytes after"), std::string::npos)
      << trailing->warnings()[0];
}

TEST(GgufLoad, QuantizationNameComesFromTheKeyOrTheTensors) {
  const auto name = [](const GgufWriter& w) {
    return quantization_name(*test::read_bytes(w.build(), "a.gguf"));
  };
  EXPECT_EQ(name(test::tiny_model().add_u32("general.file_type", 15)), "Q4_K_M");
  EXPECT_EQ(name(test::tiny_model().add_u32("general.file_type", 0)), "F32");
  EXPECT_EQ(name(test::tiny_model().add_u64("general.file_type", 1024 + 7)), "Q8_0");
  EXPECT_EQ(name(test::tiny_model().add_u32("general.file_type", 777)), "F32");
  EXPECT_EQ(name(test::tiny_model().add_string("general.file_type", "Q4_K")), "F32");
  EXPECT_EQ(name(test::tiny_model()), "F32");
  EXPECT_EQ(name(test::tiny_model().add_zeros("large", DType::q6_k, {256, 4})), "Q6_K");
  EXPECT_EQ(name(test::tiny_keys()), "unknown");
}

TEST(GgufLoad, RangedReaderFetchesTheHeaderOnly) {
  GgufWriter w = test::tiny_keys();
  w.add_strings("tokens", std::vector<std::string>(10'000, "token"));
  w.add_zeros("large", DType::f32, {1024, 2048});
  const ByteVector bytes = w.build();
  std::size_t requests = 0;
  const auto fetch = [&](std::uint64_t offset, std::uint64_t length) -> Result<ByteVector> {
    ++requests;
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    return ByteVector(begin, begin + static_cast<std::ptrdiff_t>(length));
  };
  auto source = std::make_unique<RangedSource>("remote.gguf", bytes.size(), fetch, 64 << 10);
  const RangedSource& ranged = *source;
  std::vector<std::unique_ptr<ByteSource>> parts;
  parts.push_back(std::move(source));
  const auto file = GgufFile::read(std::move(parts));
  ASSERT_TRUE(file.has_value());
  EXPECT_GT(file->header_bytes(0), 130'000u);
  EXPECT_EQ(ranged.fetched_bytes(), (file->header_bytes(0) / (64 << 10) + 1) * (64 << 10));
  EXPECT_EQ(requests, 2u);
  EXPECT_EQ((*file->metadata().try_strings("tokens"))->size(), 10'000u);
  const std::uint64_t before = ranged.fetched_bytes();
  EXPECT_TRUE(file->data(file->tensors()[0]).has_value());
  EXPECT_EQ(ranged.fetched_bytes(), bytes.size()) << "from " << before;
}

TEST(GgufLoad, ManyKeysAndTensorsAreRead) {
  GgufWriter w;
  for (std::uint32_t i = 0; i < 65'536; ++i) {
    w.add_u32("key." + std::to_string(i), i);
    w.add_zeros("tensor." + std::to_string(i), DType::f32, {8});
  }
  const auto file = test::read_bytes(w.build(), "many.gguf");
  ASSERT_TRUE(file.has_value()) << file.error().problem;
  EXPECT_EQ(file->tensors().size(), 65'536u);
  EXPECT_EQ(*file->metadata().get_int("key.65535"), 65'535);
  EXPECT_NE(file->find_tensor("tensor.65535"), nullptr);
}

}  // namespace LM_FILE
}  // namespace lm
