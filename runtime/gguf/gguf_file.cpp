#include "runtime/gguf/gguf_file.h"

#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "runtime/gguf/guarded.h"
#include "runtime/gguf/part_reader.h"
#include "runtime/gguf/quoted.h"
#include "runtime/gguf/split_name.h"
#include "runtime/gguf/split_set.h"

namespace lm {
namespace {

/// The other files of the set that `first` belongs to, as far as they exist; missing ones are
/// `read`'s to report.
Result<void> open_siblings(const gguf::SplitName& name,
                           std::vector<std::unique_ptr<ByteSource>>& sources) {
  for (std::uint64_t number = 1; number <= name.count; ++number) {
    if (number == name.number) {
      continue;
    }
    auto sibling = open_mapped(gguf::split_path(name.prefix, number, name.count));
    if (sibling) {
      sources.push_back(std::move(*sibling));
    } else if (sibling.error().os_error != ENOENT) {
      return std::unexpected(std::move(sibling).error());
    }
  }
  return {};
}

}  // namespace

Result<GgufFile> GgufFile::read(std::vector<std::unique_ptr<ByteSource>> sources,
                                const GgufLimits& limits) {
  return gguf::guarded("GGUF", [&]() -> Result<GgufFile> {
    if (sources.empty()) {
      return fail(ErrorCode::invalid_argument, "GGUF", "no file was given");
    }
    std::vector<gguf::OpenPart> parts;
    std::uint64_t n_tensors = 0;
    for (std::unique_ptr<ByteSource>& source : sources) {
      LM_TRY(gguf::Part part, gguf::read_part(*source, limits));
      n_tensors += part.tensors.size();
      parts.push_back({std::move(source), std::move(part)});
    }
    LM_CHECK(gguf::order_parts(parts));
    if (n_tensors > limits.max_tensors) {
      return fail(
          ErrorCode::limit_exceeded, parts.front().source->name(),
          fmt::format("the parts hold {} tensors, the limit is {}", n_tensors, limits.max_tensors));
    }

    GgufFile file;
    file.name_ = parts.front().source->name();
    file.version_ = parts.front().part.version;
    file.metadata_ = std::move(parts.front().part.metadata);
    LM_TRY(const std::optional<std::string_view> architecture,
           file.metadata_.try_string("general.architecture"));
    file.architecture_ = std::string(architecture.value_or(""));
    file.tensors_.reserve(n_tensors);
    for (gguf::OpenPart& open : parts) {
      for (GgufTensor& tensor : open.part.tensors) {
        tensor.part = static_cast<std::uint32_t>(file.parts_.size());
        if (!file.tensor_index_.emplace(tensor.name, file.tensors_.size()).second) {
          return fail(ErrorCode::duplicate, open.source->name(),
                      fmt::format("tensor {} stands twice in the model", gguf::quoted(tensor.name)),
                      "the file is malformed, get it again or convert it again");
        }
        file.tensors_.push_back(tensor);
      }
      file.header_bytes_.push_back(open.part.header_bytes);
      file.keys_end_.push_back(open.part.keys_end);
      for (std::string& warning : open.part.warnings) {
        file.warnings_.push_back(std::move(warning));
      }
      file.parts_.push_back(std::move(open.source));
    }
    return file;
  });
}

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
  return gguf::guarded(path.native(), [&]() -> Result<GgufFile> {
    std::vector<std::unique_ptr<ByteSource>> sources;
    LM_TRY(std::unique_ptr<ByteSource> source, open_mapped(path));
    const std::optional<gguf::SplitName> name = gguf::parse_split_name(path.native());
    if (name && name->count > 1) {
      // Only a file that also says inside that it is a part has siblings; the name alone may be an
      // accident.
      LM_TRY(const gguf::Part part, gguf::read_part(*source, {}));
      LM_TRY(const std::uint64_t count, gguf::split_count(*source, part));
      sources.push_back(std::move(source));
      if (count > 1 && count == name->count) {
        LM_CHECK(open_siblings(*name, sources));
      }
    } else {
      sources.push_back(std::move(source));
    }
    return read(std::move(sources));
  });
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

std::uint64_t GgufFile::file_bytes() const {
  std::uint64_t sum = 0;
  for (const std::unique_ptr<ByteSource>& part : parts_) {
    sum += part->size();
  }
  return sum;
}

std::uint64_t GgufFile::tensor_bytes() const {
  std::uint64_t sum = 0;
  for (const GgufTensor& tensor : tensors_) {
    sum += tensor.bytes;
  }
  return sum;
}

std::uint64_t GgufFile::parameter_count() const {
  std::uint64_t sum = 0;
  for (const GgufTensor& tensor : tensors_) {
    sum += tensor.ne[0] * tensor.rows();
  }
  return sum;
}

Result<std::span<const std::byte>> GgufFile::data(const GgufTensor& tensor) const {
  return parts_[tensor.part]->view(tensor.file_offset, tensor.bytes);
}

}  // namespace lm
