/// Short ways to read a GGUF that is in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/gguf/gguf_file.h"
#include "tests/support/gguf_writer.h"

namespace lm::test {

inline Result<GgufFile> read_bytes(ByteVector bytes, std::string name,
                                   const GgufLimits& limits = {}) {
  std::vector<std::unique_ptr<ByteSource>> parts;
  parts.push_back(memory_source(std::move(bytes), std::move(name)));
  return GgufFile::read(std::move(parts), limits);
}

/// The same through ranges of `step` bytes.
inline Result<GgufFile> read_ranged(const ByteVector& bytes, std::string name, std::uint64_t step) {
  const auto fetch = [&bytes](std::uint64_t offset, std::uint64_t length) -> Result<ByteVector> {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    return ByteVector(begin, begin + static_cast<std::ptrdiff_t>(length));
  };
  std::vector<std::unique_ptr<ByteSource>> parts;
  parts.push_back(std::make_unique<RangedSource>(std::move(name), bytes.size(), fetch, step));
  return GgufFile::read(std::move(parts));
}

/// Reads every value through every getter and every tensor's bytes; returns how many getters
/// succeeded.
inline std::size_t use_everything(const GgufFile& file) {
  std::size_t good = 0;
  const Metadata& m = file.metadata();
  for (const Metadata::Entry& entry : m.entries()) {
    good += m.try_int(entry.key).has_value() ? 1 : 0;
    good += m.try_float(entry.key).has_value() ? 1 : 0;
    good += m.try_bool(entry.key).has_value() ? 1 : 0;
    good += m.try_string(entry.key).has_value() ? 1 : 0;
    good += m.try_ints(entry.key).has_value() ? 1 : 0;
    good += m.try_floats(entry.key).has_value() ? 1 : 0;
    good += m.try_strings(entry.key).has_value() ? 1 : 0;
  }
  unsigned sum = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    EXPECT_EQ(file.find_tensor(tensor.name), &tensor);
    const auto data = file.data(tensor);
    EXPECT_TRUE(data.has_value());
    EXPECT_EQ(data->size(), tensor.bytes);
    for (const std::byte b : *data) {
      sum += static_cast<unsigned>(b);
    }
  }
  EXPECT_FALSE(quantization_name(file).empty());
  return good + sum % 2;
}

}  // namespace lm::test
