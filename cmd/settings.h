/// Settings from the environment: flag > LM_* > honoured OLLAMA_* fall-back > default. Values are
/// trimmed of blanks and surrounding quotes; a malformed one is an error that names its variable,
/// never a silent default.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backends/cpu/isa.h"
#include "backends/dtype.h"
#include "cmd/report.h"

namespace lm::cmd {

/// One setting as `lm env` shows it.
struct SettingRow {
  std::string_view name;            ///< LM_*, or the variable itself for foreign ones
  std::string_view fallbacks;       ///< further variables, comma-separated, first that is set wins
  std::string_view fallback_value;  ///< default, as text
  std::string_view help;
  /// Checks the text; a problem ("is no number"), or nothing.
  std::optional<std::string> (*check)(std::string_view value);
  bool secret = false;  ///< shown as ***
};
std::span<const SettingRow> setting_rows();

/// A setting's text and where it came from.
struct SettingValue {
  std::string text;
  std::string source;  ///< name of the variable, or "default"
};
/// Looks a row of the table up in the environment; the text is not checked.
SettingValue look_up(const SettingRow& row);
/// The checked text of a setting. Errors: invalid_argument naming the variable and its value.
Result<SettingValue> setting(std::string_view name);

/// Typed settings.
Result<bool> setting_flag(std::string_view name);
Result<std::uint32_t> context_length_setting();  ///< LM_CONTEXT_LENGTH; 0: automatic
Result<DType> kv_type_setting();                 ///< LM_KV_CACHE_TYPE
Result<std::string> backend_setting();           ///< LM_BACKEND
Result<std::optional<Isa>> isa_setting();        ///< LM_CPU_ISA; none: the best found
Result<std::uint64_t> gpu_overhead_setting();    ///< LM_GPU_OVERHEAD in bytes
/// LM_CPU_MEMORY in bytes; none: what is free.
Result<std::optional<std::uint64_t>> cpu_memory_setting();

/// A KV cache type by its name ("q8_0").
std::optional<DType> parse_kv_type(std::string_view name);
/// True for a well-formed --backend value: "auto", "cpu", "reference", "cuda[:i]", "vulkan[:i]", or
/// a comma list.
bool is_backend_spec(std::string_view text);

}  // namespace lm::cmd
