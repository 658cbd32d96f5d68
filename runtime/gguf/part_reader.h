/// Reads one GGUF file: header, metadata, tensor table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backends/error.h"
#include "runtime/gguf/byte_source.h"
#include "runtime/gguf/gguf_file.h"
#include "runtime/gguf/metadata.h"

namespace lm::gguf {

/// What stands before the tensor data of one file. Every tensor lies inside the file and overlaps
/// no other.
struct Part {
  std::uint32_t version = 0;
  Metadata metadata;
  std::vector<GgufTensor> tensors;  ///< in file order; `part` is left 0
  std::uint64_t keys_end = 0;       ///< end of the metadata, where the tensor table begins
  std::uint64_t header_bytes = 0;   ///< end of the tensor table
  std::vector<std::string> warnings;
};

/// Errors: as `GgufFile::read`. May throw std::bad_alloc, which the callers in this folder turn
/// into an error.
Result<Part> read_part(ByteSource& source, const GgufLimits& limits);

}  // namespace lm::gguf
