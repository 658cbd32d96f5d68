// Files made by other people's tools, from the repository and from the data folder.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/gguf/gguf_file.h"
#include "tests/gguf/reading.h"
#include "tests/support/test_data.h"

namespace lm {
namespace LM_FILE {

namespace fs = std::filesystem;

std::vector<fs::path> ggufs_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

test::ByteVector slurp(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(RealFiles, GoldenModelsLoad) {
  std::size_t tensors = 0;
  std::size_t files = 0;
  for (const char* folder : {"arch", "quant"}) {
    for (const fs::path& path : ggufs_in(test::golden_data() / folder)) {
      const auto file = GgufFile::open(path);
      ASSERT_TRUE(file.has_value()) << path << ": " << file.error().problem;
      EXPECT_TRUE(file->warnings().empty()) << path << ": " << file->warnings()[0];
      EXPECT_FALSE(file->architecture().empty());
      EXPECT_GT(*file->metadata().get_int(file->architecture() + ".block_count"), 0);
      EXPECT_EQ((*file->metadata().try_strings("tokenizer.ggml.tokens"))->size(), 320u);
      EXPECT_EQ((*file->metadata().try_floats("tokenizer.ggml.scores"))->size(), 320u);
      test::use_everything(*file);
      tensors += file->tensors().size();
      ++files;
    }
  }
  std::cout << fmt::format("{} golden models, {} tensors\n", files, tensors);
  EXPECT_GE(files, 83u);
}

TEST(RealFiles, QuantFilesAreNamedAfterTheirType) {
  for (const char* name : {"Q4_0", "Q8_0", "IQ2_XXS", "TQ1_0", "Q6_K"}) {
    const auto file = GgufFile::open(test::golden_data() / "quant" / (std::string(name) + ".gguf"));
    ASSERT_TRUE(file.has_value());
    EXPECT_TRUE(quantization_name(*file).starts_with(name)) << quantization_name(*file);
  }
}

TEST(RealFiles, TrainedModelsLoad) {
  const fs::path models = test::shared_data() / "models";
  if (!fs::exists(models)) {
    GTEST_SKIP() << "no test data in " << models;
  }
  const std::vector<fs::path> paths = ggufs_in(models);
  for (const fs::path& path : paths) {
    const auto file = GgufFile::open(path);
    ASSERT_TRUE(file.has_value()) << path << ": " << file.error().problem;
    EXPECT_EQ(file->architecture(), "llama");
    EXPECT_EQ(*file->metadata().get_int("llama.block_count"), 5);
    EXPECT_EQ(file->find_tensor("output.weight"), nullptr);
    EXPECT_EQ((*file->metadata().try_strings("tokenizer.ggml.tokens"))->size(), 512u);
    test::use_everything(*file);
  }
  EXPECT_EQ(quantization_name(*GgufFile::open(models / "stories260K-q8_0.gguf")), "Q8_0");
  std::cout << paths.size() << " trained models\n";
  EXPECT_GE(paths.size(), 4u);
}

TEST(RealFiles, VocabulariesLoadMappedAndInRanges) {
  const fs::path folder = test::shared_data() / "tokenizers";
  if (!fs::exists(folder)) {
    GTEST_SKIP() << "no test data in " << folder;
  }
  const std::vector<fs::path> paths = ggufs_in(folder);
  std::size_t tokens = 0;
  for (const fs::path& path : paths) {
    const auto file = GgufFile::open(path);
    ASSERT_TRUE(file.has_value()) << path << ": " << file.error().problem;
    const auto mapped = file->metadata().try_strings("tokenizer.ggml.tokens");
    ASSERT_TRUE(mapped.has_value() && mapped->has_value());
    const test::ByteVector bytes = slurp(path);
    const auto ranged = test::read_ranged(bytes, path.string(), 256 << 10);
    ASSERT_TRUE(ranged.has_value()) << ranged.error().problem;
    EXPECT_EQ(**ranged->metadata().try_strings("tokenizer.ggml.tokens"), **mapped);
    EXPECT_EQ((*file->metadata().try_ints("tokenizer.ggml.token_type"))->size(), (*mapped)->size());
    tokens += (*mapped)->size();
  }
  std::cout << fmt::format("{} vocabularies, {} tokens\n", paths.size(), tokens);
  EXPECT_GE(paths.size(), 8u);
}

TEST(RealFiles, CutsOfARealModelNameTheMissingBytes) {
  const test::ByteVector whole = slurp(test::golden_data() / "quant/Q4_K.gguf");
  ASSERT_GT(whole.size(), 200'000u);
  for (std::size_t i = 0; i < 97; ++i) {
    const std::size_t size = whole.size() * i / 97;
    const auto file = test::read_bytes(
        {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}, "cut.gguf");
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(file.error().code, ErrorCode::truncated);
    EXPECT_NE(file.error().problem.find(fmt::format("truncated at {} of ", size)),
              std::string::npos);
  }
}

}  // namespace LM_FILE
}  // namespace lm
