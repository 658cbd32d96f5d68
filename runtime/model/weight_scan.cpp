#include "runtime/model/weight_scan.h"

#include <algorithm>
#include <cmath>

#include "backends/reference/dequant.h"
#include "runtime/gguf/guarded.h"

namespace lm {
namespace {

constexpr std::uint64_t kReportBytes = 16 << 20;

Result<WeightScan> scan(const GgufFile& file, const ScanProgress& progress) {
  WeightScan found;
  const std::uint64_t total = file.tensor_bytes();
  std::uint64_t done = 0, reported = 0;
  std::vector<float> values;
  for (const GgufTensor& tensor : file.tensors()) {
    ++found.tensors;
    if (!reference::can_dequantize(tensor.dtype)) {
      found.not_checked.emplace_back(tensor.name);
      continue;
    }
    LM_TRY(const auto bytes, file.data(tensor));
    const std::uint64_t stride = row_bytes(tensor.dtype, tensor.ne[0]);
    BadTensor bad{.name = std::string(tensor.name), .values = tensor.ne[0] * tensor.rows()};
    values.resize(tensor.ne[0]);
    for (std::uint64_t row = 0; row < tensor.rows(); ++row) {
      reference::dequantize_row(tensor.dtype, bytes.data() + row * stride, tensor.ne[0],
                                values.data());
      const auto count =
          std::ranges::count_if(values, [](float value) { return !std::isfinite(value); });
      if (count > 0 && bad.bad_values == 0) {
        bad.first_row = row;
      }
      bad.bad_values += static_cast<std::uint64_t>(count);
      done += stride;
      if (progress && done - reported >= kReportBytes) {
        reported = done;
        if (!progress(done, total)) {
          return fail(ErrorCode::cancelled, file.name(), "stopped while its weights were read");
        }
      }
    }
    if (bad.bad_values > 0) {
      found.bad.push_back(std::move(bad));
    }
  }
  if (progress && !progress(total, total)) {
    return fail(ErrorCode::cancelled, file.name(), "stopped while its weights were read");
  }
  return found;
}

}  // namespace

Result<WeightScan> scan_weights(const GgufFile& file, const ScanProgress& progress) {
  return gguf::guarded(file.name(), [&] { return scan(file, progress); });
}

}  // namespace lm
