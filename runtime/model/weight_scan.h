/// Looks at every weight of a file for values that are no numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/gguf/gguf_file.h"

namespace lm {

/// A tensor with NaN or infinite values.
struct BadTensor {
  std::string name;
  std::uint64_t first_row = 0;   ///< the first row that holds one
  std::uint64_t bad_values = 0;  ///< of `values`
  std::uint64_t values = 0;
};

struct WeightScan {
  std::vector<BadTensor> bad;            ///< in the file's order
  std::vector<std::string> not_checked;  ///< tensors of types that hold no weights
  std::uint64_t tensors = 0;             ///< all of them
};

/// Called with bytes done and bytes in all; returns false to stop the work.
using ScanProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

/// Dequantises every row of every tensor. Errors: truncated, io, out_of_memory; cancelled when
/// `progress` wants to stop.
Result<WeightScan> scan_weights(const GgufFile& file, const ScanProgress& progress = {});

}  // namespace lm
