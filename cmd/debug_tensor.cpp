// lm debug tensor: values of a tensor, dequantised by the formulas of the format.
#include <fmt/format.h>

#include "backends/reference/dequant.h"
#include "cmd/arguments.h"
#include "cmd/debug.h"
#include "cmd/format.h"
#include "cmd/output.h"
#include "cmd/resolve.h"

namespace lm::cmd {
namespace {

struct RowRange {
  std::uint64_t first = 0, end = 0;
};

/// "A:B": rows A up to but not including B; either may be left out.
Result<RowRange> parse_rows(const std::string& text, std::uint64_t n_rows) {
  const std::size_t colon = text.find(':');
  const std::string first = text.substr(0, colon);
  const std::string end = colon == std::string::npos ? "" : text.substr(colon + 1);
  const auto a = first.empty() ? std::optional<std::int64_t>(0) : parse_integer(first);
  const auto b =
      end.empty() ? std::optional(static_cast<std::int64_t>(n_rows)) : parse_integer(end);
  if (colon == std::string::npos || !a || !b || *a < 0 || *b < *a) {
    return usage_error("--rows", fmt::format("takes A:B with A <= B, got '{}'", text));
  }
  if (static_cast<std::uint64_t>(*b) > n_rows) {
    return failure("invalid_argument", "--rows",
                   fmt::format("ends at {}, the tensor has {} rows", *b, n_rows));
  }
  return RowRange{static_cast<std::uint64_t>(*a), static_cast<std::uint64_t>(*b)};
}

}  // namespace

Result<ExitCode> debug_tensor(CommandLine& line) {
  std::string name, tensor_name;
  std::optional<std::string> rows;
  Arguments arguments(line);
  arguments.text("--rows", rows, "A:B", "rows A up to but not including B (default: all)");
  arguments.positional("MODEL", name);
  arguments.positional("NAME", tensor_name);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const ResolvedModel model, resolve_model(name));
  const GgufTensor* tensor = model.file.find_tensor(tensor_name);
  if (tensor == nullptr) {
    return failure("missing", fmt::format("{}: tensor '{}'", model.name, tensor_name),
                   "is not in the file", fmt::format("list them with: lm show -v {}", model.name));
  }
  if (!reference::can_dequantize(tensor->dtype)) {
    return failure("unsupported_type", fmt::format("{}: tensor '{}'", model.name, tensor_name),
                   fmt::format("type {} can't be dequantised", layout(tensor->dtype).name));
  }
  LM_TRY(const RowRange range, parse_rows(rows.value_or(":"), tensor->rows()));
  LM_TRY(const auto bytes, model.file.data(*tensor));
  std::string shape;
  for (std::uint32_t d = 0; d < tensor->n_dims; ++d) {
    shape += fmt::format("{}{}", d == 0 ? "" : ",", tensor->ne[d]);
  }
  print(fmt::format("{{\"type\":\"{}\",\"shape\":[{}],\"rows\":[", layout(tensor->dtype).name,
                    shape));
  const std::uint64_t stride = row_bytes(tensor->dtype, tensor->ne[0]);
  std::vector<float> values(tensor->ne[0]);
  for (std::uint64_t r = range.first; r < range.end; ++r) {
    reference::dequantize_row(tensor->dtype, bytes.data() + r * stride, tensor->ne[0],
                              values.data());
    std::string text = r == range.first ? "[" : ",[";
    for (std::size_t i = 0; i < values.size(); ++i) {
      text += (i == 0 ? "" : ",") + json_float(values[i]);
    }
    print(text + "]");
  }
  print("]}\n");
  return ExitCode::ok;
}

}  // namespace lm::cmd
