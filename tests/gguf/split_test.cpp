// Models in several files: any order in, one model out, and each way in which a set can be wrong.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/gguf/gguf_file.h"
#include "runtime/gguf/split_name.h"
#include "tests/gguf/reading.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/test_data.h"

namespace lm {
namespace LM_FILE {

namespace fs = std::filesystem;
using test::ByteVector;
using test::GgufWriter;

constexpr std::uint16_t kParts = 3;

/// Part `no` of three: two tensors in each.
GgufWriter part(std::uint16_t no, std::uint16_t count = kParts, std::int32_t total = 6) {
  GgufWriter w;
  if (no == 0) {
    w.add_string("general.architecture", "llama");
  }
  w.add("split.no", no).add("split.count", count).add("split.tensors.count", total);
  w.add_random(fmt::format("blk.{}.a", no), DType::f32, {32}, no)
      .add_random(fmt::format("blk.{}.b", no), DType::q8_0, {32, 2}, no + 10u);
  return w;
}

Result<GgufFile> read_parts(const std::vector<ByteVector>& files) {
  std::vector<std::unique_ptr<ByteSource>> sources;
  for (std::size_t i = 0; i < files.size(); ++i) {
    sources.push_back(memory_source(files[i], fmt::format("blob{}", i)));
  }
  return GgufFile::read(std::move(sources));
}

TEST(Split, PartsInAnyOrderGiveTheSameModel) {
  std::vector<std::uint16_t> order = {0, 1, 2};
  do {
    std::vector<ByteVector> files;
    for (const std::uint16_t no : order) {
      files.push_back(part(no).build());
    }
    const auto file = read_parts(files);
    ASSERT_TRUE(file.has_value()) << file.error().problem;
    EXPECT_EQ(file->architecture(), "llama");
    EXPECT_EQ(file->tensors().size(), 6u);
    EXPECT_EQ(file->parts().size(), 3u);
    for (std::uint32_t no = 0; no < 3; ++no) {
      const GgufTensor* tensor = file->find_tensor(fmt::format("blk.{}.b", no));
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(tensor->part, no);
      GgufWriter alone;
      alone.add_random("x", DType::q8_0, {32, 2}, no + 10u);
      const auto expected = test::read_bytes(alone.build(), "alone");
      const auto a = file->data(*tensor);
      const auto b = expected->data(expected->tensors()[0]);
      EXPECT_TRUE(std::equal(a->begin(), a->end(), b->begin(), b->end()));
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Split, FirstPartMayHaveNoTensors) {
  GgufWriter first;
  first.add_string("general.architecture", "llama").add<std::uint16_t>("split.no", 0);
  first.add<std::uint16_t>("split.count", 2).add_i32("split.tensors.count", 2);
  const auto file = read_parts({part(1, 2, 2).build(), first.build()});
  ASSERT_TRUE(file.has_value()) << file.error().problem;
  EXPECT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->tensors()[0].part, 1u);
}

TEST(Split, PartsMayHaveTheirOwnAlignment) {
  const auto file = read_parts({part(0, 2, 4).build(3, 64), part(1, 2, 4).build(3, 256)});
  ASSERT_TRUE(file.has_value()) << file.error().problem;
  test::use_everything(*file);
}

TEST(Split, OneOfOneIsAWholeModel) {
  GgufWriter w;
  w.add<std::uint16_t>("split.no", 0)
      .add<std::uint16_t>("split.count", 1)
      .add_zeros("a", DType::f32, {8});
  EXPECT_TRUE(read_parts({w.build()}).has_value());
  GgufWriter zero;
  zero.add<std::uint16_t>("split.count", 0).add_zeros("a", DType::f32, {8});
  EXPECT_TRUE(read_parts({zero.build()}).has_value());
}

struct BadSet {
  const char* name;
  std::vector<ByteVector> files;
  ErrorCode code;
  std::vector<std::string> words;
};

TEST(Split, EveryWrongSetIsRefused) {
  GgufWriter no_keys;
  no_keys.add_zeros("other", DType::f32, {8});
  GgufWriter same_tensor = part(1, 2, 3);
  GgufWriter repeat;
  repeat.add<std::uint16_t>("split.no", 0)
      .add<std::uint16_t>("split.count", 2)
      .add_zeros("blk.1.a", DType::f32, {8});
  ByteVector cut = part(2).build();
  cut.resize(cut.size() - 64);
  const std::vector<BadSet> sets = {
      {"part 2 missing",
       {part(0).build(), part(2).build()},
       ErrorCode::missing,
       {"missing: part 2"}},
      {"parts 1 and 3 missing", {part(1).build()}, ErrorCode::missing, {"parts 1, 3"}},
      {"part 1 twice",
       {part(0).build(), part(0).build(), part(2).build()},
       ErrorCode::duplicate,
       {"split.no"}},
      {"one file too many",
       {part(0).build(), part(1).build(), part(2).build(), part(2).build()},
       ErrorCode::duplicate,
       {"split.no"}},
      {"another split.count",
       {part(0).build(), part(1, 4).build(), part(2).build()},
       ErrorCode::bad_value,
       {"split.count", "4", "3"}},
      {"split.no too large",
       {part(0).build(), part(1).build(), part(3).build()},
       ErrorCode::bad_value,
       {"split.no", "3"}},
      {"too few tensors",
       {part(0, 3, 7).build(), part(1, 3, 7).build(), part(2, 3, 7).build()},
       ErrorCode::bad_value,
       {"split.tensors.count", "7", "6"}},
      {"one part counts otherwise",
       {part(0).build(), part(1).build(), part(2, 3, 5).build()},
       ErrorCode::bad_value,
       {"split.tensors.count", "5", "6"}},
      {"a tensor in two parts",
       {repeat.build(), same_tensor.build()},
       ErrorCode::duplicate,
       {"'blk.1.a'"}},
      {"a whole model among the parts",
       {part(0).build(), part(1).build(), no_keys.build()},
       ErrorCode::bad_value,
       {"split.count"}},
      {"two whole models",
       {no_keys.build(), no_keys.build()},
       ErrorCode::bad_value,
       {"whole model", "2 files"}},
      {"a part cut short",
       {part(0).build(), part(1).build(), cut},
       ErrorCode::truncated,
       {"truncated at"}},
  };
  for (const BadSet& set : sets) {
    SCOPED_TRACE(set.name);
    const auto file = read_parts(set.files);
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(code_name(file.error().code), code_name(set.code)) << file.error().problem;
    EXPECT_NE(file.error().subject.find("blob"), std::string::npos);
    EXPECT_FALSE(file.error().hint.empty());
    for (const std::string& word : set.words) {
      EXPECT_NE(file.error().problem.find(word), std::string::npos) << file.error().problem;
    }
  }
}

class SplitFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "lm-split-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path path(std::uint64_t number, std::uint64_t count = kParts) const {
    return gguf::split_path((folder_ / "model").string(), number, count);
  }

  fs::path folder_;
};

TEST_F(SplitFiles, OpenFindsTheSiblingsOfAnyPart) {
  for (std::uint16_t no = 0; no < kParts; ++no) {
    ASSERT_TRUE(part(no).save(path(no + 1u)));
  }
  for (std::uint64_t number = 1; number <= kParts; ++number) {
    const auto file = GgufFile::open(path(number));
    ASSERT_TRUE(file.has_value()) << file.error().problem;
    EXPECT_EQ(file->tensors().size(), 6u);
    EXPECT_EQ(file->name(), path(1).string());
    test::use_everything(*file);
  }
}

TEST_F(SplitFiles, AMissingSiblingIsNamed) {
  ASSERT_TRUE(part(0).save(path(1)));
  ASSERT_TRUE(part(2).save(path(3)));
  const auto file = GgufFile::open(path(3));
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, ErrorCode::missing);
  EXPECT_NE(file.error().problem.find("model-00002-of-00003.gguf"), std::string::npos)
      << file.error().problem;
}

TEST_F(SplitFiles, AFileUnderAnotherPartsNameIsRefused) {
  ASSERT_TRUE(part(0).save(path(1)));
  ASSERT_TRUE(part(2).save(path(2)));
  ASSERT_TRUE(part(1).save(path(3)));
  const auto file = GgufFile::open(path(1));
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, ErrorCode::bad_value);
  EXPECT_NE(file.error().problem.find("file name says part 2"), std::string::npos)
      << file.error().problem;
}

TEST_F(SplitFiles, ASiblingThatIsNoFileIsRefused) {
  ASSERT_TRUE(part(0).save(path(1)));
  ASSERT_TRUE(part(1).save(path(2)));
  fs::create_directory(path(3));
  const auto file = GgufFile::open(path(1));
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, ErrorCode::not_a_file);
}

TEST_F(SplitFiles, AWholeModelMayBeCalledLikeAPart) {
  GgufWriter whole;
  whole.add_string("general.architecture", "llama").add_zeros("a", DType::f32, {8});
  ASSERT_TRUE(whole.save(path(2)));
  EXPECT_TRUE(GgufFile::open(path(2)).has_value());
}

TEST(SplitName, ParsesOnlyTheExactForm) {
  const auto name = gguf::parse_split_name("dir/my-model-00002-of-00003.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->prefix, "dir/my-model");
  EXPECT_EQ(name->number, 2u);
  EXPECT_EQ(name->count, 3u);
  EXPECT_EQ(gguf::split_path(name->prefix, 3, 12), "dir/my-model-00003-of-00012.gguf");
  for (const char* other :
       {"", "a.gguf", "-00001-of-00002.gguf", "a-00000-of-00002.gguf", "a-00003-of-00002.gguf",
        "a-1-of-2.gguf", "a-0000x-of-00002.gguf", "a-00001-of-00002.GGUF", "a-00001_of-00002.gguf",
        "a-00001-of-00002.gguf.part"}) {
    EXPECT_FALSE(gguf::parse_split_name(other).has_value()) << other;
  }
}

TEST(Split, RealSplitModelEqualsTheWholeOne) {
  const fs::path models = test::shared_data() / "models";
  const fs::path whole_path = models / "stories260K-q8_0.gguf";
  if (!fs::exists(whole_path)) {
    GTEST_SKIP() << "no test data in " << models;
  }
  const auto whole = GgufFile::open(whole_path);
  const auto split = GgufFile::open(models / "split/stories260K-q8_0-00002-of-00003.gguf");
  ASSERT_TRUE(whole.has_value()) << whole.error().problem;
  ASSERT_TRUE(split.has_value()) << split.error().problem;
  ASSERT_EQ(split->tensors().size(), whole->tensors().size());
  for (const GgufTensor& tensor : whole->tensors()) {
    const GgufTensor* other = split->find_tensor(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(other->ne, tensor.ne);
    EXPECT_EQ(other->dtype, tensor.dtype);
    const auto a = whole->data(tensor);
    const auto b = split->data(*other);
    EXPECT_TRUE(std::equal(a->begin(), a->end(), b->begin(), b->end())) << tensor.name;
  }
  EXPECT_EQ(split->architecture(), whole->architecture());
  std::cout << whole->tensors().size() << " tensors equal\n";
}

}  // namespace LM_FILE
}  // namespace lm
