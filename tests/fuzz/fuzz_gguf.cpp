// The GGUF reader on any bytes. An input that begins with 'S' and a u32 n is a split set of two
// files, of n bytes and of the rest; anything else is one file, which is also read in small ranges
// and must then give the same result.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/gguf/gguf_file.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;
using Bytes = std::vector<std::byte>;

Bytes copy(std::span<const std::uint8_t> data) {
  const auto bytes = std::as_bytes(data);
  return {bytes.begin(), bytes.end()};
}

void use_metadata(const lm::Metadata& m) {
  for (const lm::Metadata::Entry& entry : m.entries()) {
    require(m.find(entry.key) != nullptr, "a key of the list is found");
    const int scalars = m.try_int(entry.key).has_value() + m.try_bool(entry.key).has_value() +
                        m.try_string(entry.key).has_value();
    require(scalars <= 1, "a value is an integer, a bool or a string, not two of these");
    static_cast<void>(m.try_float(entry.key));
    static_cast<void>(m.try_floats(entry.key));
    const auto ints = m.try_ints(entry.key);
    if (ints && entry.value.type == lm::GgufType::array) {
      require((*ints)->size() == entry.value.count, "as many integers as counted");
    }
    const auto strings = m.try_strings(entry.key);
    if (strings && entry.value.element == lm::GgufType::string) {
      std::size_t bytes = 0;
      for (const std::string_view text : **strings) {
        bytes += 8 + text.size();
      }
      require(bytes == entry.value.bytes.size(), "the strings of an array fill it");
    }
  }
}

void use_tensors(const lm::GgufFile& file) {
  unsigned sum = 0;
  for (const lm::GgufTensor& tensor : file.tensors()) {
    require(file.find_tensor(tensor.name) == &tensor, "a tensor of the table is found");
    require(tensor.bytes > 0 &&
                tensor.bytes == lm::row_bytes(tensor.dtype, tensor.ne[0]) * tensor.rows(),
            "a tensor's bytes follow from its shape");
    const auto data = file.data(tensor);
    require(data.has_value() && data->size() == tensor.bytes, "a tensor lies inside its file");
    for (const std::byte b : *data) {
      sum += static_cast<unsigned>(b);
    }
  }
  require(file.tensor_bytes() <= file.file_bytes(), "tensors do not overlap");
  require(sum < 0xFFFFFFFFu && !lm::quantization_name(file).empty(), "there is a name");
}

lm::Result<lm::GgufFile> read(std::vector<std::unique_ptr<lm::ByteSource>> parts) {
  auto file = lm::GgufFile::read(std::move(parts));
  if (!file) {
    require(!file.error().subject.empty() && !file.error().problem.empty(),
            "an error says what and where");
    require(file.error().problem.size() < 4096, "a message has a bearable length");
  }
  return file;
}

std::unique_ptr<lm::ByteSource> ranged(const Bytes& bytes) {
  const auto fetch = [&bytes](std::uint64_t offset, std::uint64_t length) -> lm::Result<Bytes> {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    return Bytes(begin, begin + static_cast<std::ptrdiff_t>(length));
  };
  return std::make_unique<lm::RangedSource>("input", bytes.size(), fetch, 64);
}

std::vector<std::unique_ptr<lm::ByteSource>> one(std::unique_ptr<lm::ByteSource> source) {
  std::vector<std::unique_ptr<lm::ByteSource>> sources;
  sources.push_back(std::move(source));
  return sources;
}

void read_whole(std::span<const std::uint8_t> data) {
  const Bytes bytes = copy(data);
  const auto mapped = read(one(lm::memory_source(bytes, "input")));
  const auto in_ranges = read(one(ranged(bytes)));
  require(mapped.has_value() == in_ranges.has_value(), "ranges give the same verdict");
  if (!mapped) {
    require(mapped.error().problem == in_ranges.error().problem, "ranges give the same error");
    return;
  }
  require(mapped->tensors().size() == in_ranges->tensors().size() &&
              mapped->warnings() == in_ranges->warnings(),
          "ranges give the same file");
  use_metadata(mapped->metadata());
  use_metadata(in_ranges->metadata());
  use_tensors(*mapped);
  use_tensors(*in_ranges);
}

void read_set(std::span<const std::uint8_t> data) {
  std::uint32_t length = 0;
  std::memcpy(&length, data.data() + 1, sizeof(length));
  const auto rest = data.subspan(1 + sizeof(length));
  const std::size_t first = std::min<std::size_t>(length, rest.size());
  std::vector<std::unique_ptr<lm::ByteSource>> parts;
  parts.push_back(lm::memory_source(copy(rest.first(first)), "m-00001-of-00002.gguf"));
  parts.push_back(lm::memory_source(copy(rest.subspan(first)), "m-00002-of-00002.gguf"));
  const auto file = read(std::move(parts));
  if (file) {
    require(file->parts().size() == 2, "a set of two files");
    use_metadata(file->metadata());
    use_tensors(*file);
  }
}

}  // namespace

int lm_fuzz_gguf(const std::uint8_t* data, std::size_t size) {
  if (size > 5 && data[0] == 'S') {
    read_set({data, size});
  } else {
    read_whole({data, size});
  }
  return 0;
}
