/// Puts the parts of a split model in order and checks that they belong together.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/error.h"
#include "runtime/gguf/byte_source.h"
#include "runtime/gguf/part_reader.h"

namespace lm::gguf {

/// One file of a set, read.
struct OpenPart {
  std::unique_ptr<ByteSource> source;
  Part part;
};

/// `split.count` of a file that says it is one of several, else 1. Error: bad_value.
Result<std::uint64_t> split_count(const ByteSource& source, const Part& part);

/// Sorts `parts` by `split.no`. One file without split keys passes as it is. Errors: missing (names
/// the parts that are not there), duplicate, bad_value (a wrong split.no, different split.count,
/// wrong number of tensors).
Result<void> order_parts(std::vector<OpenPart>& parts);

}  // namespace lm::gguf
