/// Small text files named on the command line.
#pragma once

#include <cstddef>
#include <string>

#include "cmd/report.h"

namespace lm::cmd {

/// Contents of a regular file, or of stdin for "-". Never blocks on devices and FIFOs: they are
/// refused (not_a_file). Errors: io, limit_exceeded, naming the file.
Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes);

}  // namespace lm::cmd
