/// A checked view of a GGUF v2/v3 file or split set. Everything is validated before anything is
/// trusted.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dtype.h"
#include "backends/error.h"
#include "runtime/gguf/byte_source.h"
#include "runtime/gguf/metadata.h"

namespace lm {

/// A row of the tensor table. Shape in GGUF order: ne[0] is the row length.
struct GgufTensor {
  std::string_view name;
  DType dtype = DType::f32;
  std::uint32_t n_dims = 0;
  std::array<std::uint64_t, 4> ne{1, 1, 1, 1};
  std::uint32_t part = 0;         ///< index of the file in a split set
  std::uint64_t file_offset = 0;  ///< bytes from the start of that file
  std::uint64_t bytes = 0;

  std::uint64_t rows() const { return ne[1] * ne[2] * ne[3]; }
};

/// What a reader of arbitrary files must not exceed.
struct GgufLimits {
  std::uint64_t max_keys = 65'536;
  std::uint64_t max_tensors = 65'536;
  std::uint64_t max_string_bytes = 64ull << 20;
  std::uint64_t max_array_elements = 16ull << 20;
  std::uint32_t max_array_depth = 4;
};

class GgufFile {
 public:
  /// Reads header, metadata and tensor table; tensor data is not touched. `parts` is one file, or
  /// all parts of a split set in any order. Every length is checked against the bytes left before
  /// anything is allocated. Errors name file and key, tensor or offset: bad_magic (says what the
  /// file looks like), unsupported_version, truncated ("truncated at N of M bytes"),
  /// limit_exceeded, duplicate, overlap, bad_value, unsupported_type, missing (parts of a split
  /// set).
  static Result<GgufFile> read(std::vector<std::unique_ptr<ByteSource>> parts,
                               const GgufLimits& limits = {});
  /// Maps a file; when it is one part of a split set (`-00001-of-00003.gguf`), its siblings in the
  /// same folder too.
  static Result<GgufFile> open(const std::filesystem::path& path);

  const Metadata& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  const std::string& name() const { return name_; }  ///< first part's name, for messages
  const std::string& architecture() const {
    return architecture_;
  }  ///< general.architecture, or empty
  std::uint32_t version() const { return version_; }
  std::uint64_t file_bytes() const;  ///< sum over parts
  std::uint64_t tensor_bytes() const;
  std::uint64_t parameter_count() const;
  const std::vector<std::unique_ptr<ByteSource>>& parts() const { return parts_; }
  /// The tensor's bytes in its part. Errors: truncated, io.
  Result<std::span<const std::byte>> data(const GgufTensor& tensor) const;
  /// How far into each part the reader had to look: end of the header and tensor table.
  std::uint64_t header_bytes(std::size_t part) const { return header_bytes_[part]; }
  /// Where the tensor table begins in each part.
  std::uint64_t keys_end(std::size_t part) const { return keys_end_[part]; }
  /// Things that are odd and harmless: trailing bytes, missing final padding.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::vector<std::unique_ptr<ByteSource>> parts_;
  std::vector<std::uint64_t> header_bytes_;
  std::vector<std::uint64_t> keys_end_;
  Metadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, std::size_t>
      tensor_index_;  ///< ordered: colliding hashes can't slow it down
  std::string name_;
  std::string architecture_;
  std::uint32_t version_ = 0;
  std::vector<std::string> warnings_;
};

/// The majority type of a file as users name it ("Q4_K_M", "F16"), from general.file_type, else
/// from the tensor table.
std::string quantization_name(const GgufFile& file);

}  // namespace lm
