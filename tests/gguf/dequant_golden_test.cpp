// Every tensor of every golden quant file, dequantised, against the hash of the reference's values:
// bit for bit.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <openssl/sha.h>

#include "backends/reference/dequant.h"
#include "runtime/gguf/gguf_file.h"
#include "tests/support/test_data.h"

namespace lm {
namespace LM_FILE {

namespace fs = std::filesystem;

std::string sha256_hex(std::span<const float> values) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(values.data()), values.size_bytes(), digest);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += fmt::format("{:02x}", byte);
  }
  return hex;
}

std::vector<float> dequantize(const GgufFile& file, const GgufTensor& tensor) {
  const auto data = file.data(tensor);
  EXPECT_TRUE(data.has_value());
  std::vector<float> values(tensor.ne[0] * tensor.rows());
  const std::uint64_t stride = row_bytes(tensor.dtype, tensor.ne[0]);
  for (std::uint64_t row = 0; row < tensor.rows(); ++row) {
    reference::dequantize_row(tensor.dtype, data->data() + row * stride, tensor.ne[0],
                              values.data() + row * tensor.ne[0]);
  }
  return values;
}

TEST(DequantGolden, EveryTensorOfEveryTypeIsBitExact) {
  const fs::path folder = test::golden_data() / "quant";
  std::map<std::string, int> tensors_of_type;
  std::size_t rows = 0;
  std::size_t files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") {
      continue;
    }
    ++files;
    const nlohmann::json golden = nlohmann::json::parse(std::ifstream(entry.path()));
    const fs::path model = folder / golden.at("model").get<std::string>();
    const auto file = GgufFile::open(model);
    ASSERT_TRUE(file.has_value()) << file.error().subject << ": " << file.error().problem;
    for (const auto& [name, expected] : golden.at("tensors").items()) {
      const GgufTensor* tensor = file->find_tensor(name);
      ASSERT_NE(tensor, nullptr) << model << " " << name;
      ASSERT_EQ(static_cast<std::uint32_t>(tensor->dtype),
                expected.at("type_id").get<std::uint32_t>());
      ASSERT_TRUE(reference::can_dequantize(tensor->dtype)) << name;
      const std::vector<float> values = dequantize(*file, *tensor);
      if (expected.contains("rows")) {
        for (const auto& [row, numbers] : expected.at("rows").items()) {
          const float* ours = values.data() + std::stoull(row) * tensor->ne[0];
          for (std::size_t i = 0; i < numbers.size(); ++i) {
            ASSERT_EQ(ours[i], numbers[i].get<float>())
                << model << " " << name << " row " << row << " value " << i;
          }
          ++rows;
        }
      }
      ASSERT_EQ(sha256_hex(values), expected.at("sha256_f32").get<std::string>())
          << model << " " << name;
      ++tensors_of_type[expected.at("type").get<std::string>()];
    }
  }
  int tensors = 0;
  for (const auto& [type, count] : tensors_of_type) {
    tensors += count;
  }
  std::cout << fmt::format("{} files, {} types, {} tensors and {} rows bit-exact\n", files,
                           tensors_of_type.size(), tensors, rows);
  EXPECT_EQ(files, 23u);
  EXPECT_EQ(tensors_of_type.size(), 24u);
  EXPECT_GT(rows, 40u);
}

}  // namespace LM_FILE
}  // namespace lm
