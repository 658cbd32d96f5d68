#include "runtime/gguf/sibling_header.h"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/support/gguf_writer.h"

namespace lm {
namespace LM_FILE {

/// A file of one tensor of 512 values with a vocabulary, and how much of it was asked for.
struct Served {
  test::ByteVector bytes;
  std::uint64_t fetched = 0;
  bool broken_table = false;  ///< answers other than the first fail

  RangedSource::Fetch fetch() {
    return [this](std::uint64_t offset, std::uint64_t length) -> Result<std::vector<std::byte>> {
      if (broken_table && offset > 0) {
        return fail(ErrorCode::io, "the line", "is cut");
      }
      fetched += length;
      std::vector<std::byte> part(length);
      std::memcpy(part.data(), bytes.data() + offset, length);
      return part;
    };
  }
};

Served serve(DType type, std::string_view tensor = "a.weight", int more_keys = 0) {
  std::vector<std::string> words;
  for (int i = 0; i < 2000; ++i) {
    words.push_back("word" + std::to_string(i));
  }
  test::GgufWriter writer;
  writer.add_string("general.architecture", "llama")
      .add_u32("general.file_type", static_cast<std::uint32_t>(type))
      .add_strings("tokenizer.ggml.tokens", words);
  for (int i = 0; i < more_keys; ++i) {
    writer.add_u32("more." + std::to_string(i), 1);
  }
  writer.add_zeros(tensor, type, {256, 2});
  return {writer.build()};
}

Result<GgufFile> open(Served& served) {
  return read_header("first", served.bytes.size(), served.fetch());
}

TEST(SiblingHeader, OnlyCountsAndTableAreFetched) {
  Served first = serve(DType::q8_0), second = serve(DType::q4_k);
  const auto sibling = open(first);
  ASSERT_TRUE(sibling);
  const GgufFile* known[] = {&*sibling};
  const auto file = read_header_like(known, "second", second.bytes.size(), second.fetch());
  ASSERT_TRUE(file) << file.error().problem;
  EXPECT_LT(second.fetched, 200u) << "the vocabulary is the sibling's";
  ASSERT_EQ(file->tensors().size(), 1u);
  EXPECT_EQ(file->tensors()[0].dtype, DType::q4_k);
  EXPECT_EQ(file->tensors()[0].bytes, row_bytes(DType::q4_k, 512));
  EXPECT_EQ(file->metadata().find("tokenizer.ggml.tokens")->count, 2000u);
  EXPECT_EQ(file->name(), "second");
}

TEST(SiblingHeader, AnotherKindOfHeaderIsFetchedWhole) {
  Served first = serve(DType::q8_0);
  const auto sibling = open(first);
  ASSERT_TRUE(sibling);
  const GgufFile* known[] = {&*sibling};
  // More keys; a tensor of another name with as many keys.
  for (Served other : {serve(DType::q8_0, "a.weight", 1), serve(DType::q8_0, "b.weight")}) {
    const auto file = read_header_like(known, "other", other.bytes.size(), other.fetch());
    ASSERT_TRUE(file) << file.error().problem;
    const auto plain = open(other);
    EXPECT_EQ(file->tensors()[0].name, plain->tensors()[0].name);
    EXPECT_EQ(file->header_bytes(0), plain->header_bytes(0));
  }
  Served alone = serve(DType::q6_k);
  EXPECT_TRUE(read_header_like({}, "alone", alone.bytes.size(), alone.fetch()));
}

TEST(SiblingHeader, FailuresComeThrough) {
  Served first = serve(DType::q8_0), cut = serve(DType::q4_k);
  const auto sibling = open(first);
  ASSERT_TRUE(sibling);
  const GgufFile* known[] = {&*sibling};
  cut.broken_table = true;
  const auto failed = read_header_like(known, "cut", cut.bytes.size(), cut.fetch());
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().problem, "is cut");
  Served tiny{test::ByteVector(10)};
  EXPECT_FALSE(read_header_like(known, "tiny", tiny.bytes.size(), tiny.fetch()));
  // A table of noise behind the right counts.
  Served noise = serve(DType::q4_k);
  std::memset(noise.bytes.data() + sibling->keys_end(0), 0xee, 16);
  EXPECT_FALSE(read_header_like(known, "noise", noise.bytes.size(), noise.fetch()));
}

}  // namespace LM_FILE
}  // namespace lm
