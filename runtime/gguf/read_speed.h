/// How fast a file comes from its disk.
#pragma once

#include <cstdint>

#include "backends/error.h"

namespace lm {

/// Bytes a second of large reads, spread over the file's first `size` bytes, past the page cache
/// where the file system allows it (else after asking it to drop those pages). Takes half a second
/// at most, or one read. Errors: io.
Result<double> read_speed(int fd, std::uint64_t size);

}  // namespace lm
