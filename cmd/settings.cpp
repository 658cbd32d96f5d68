#include "cmd/settings.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "cmd/format.h"
#include "cmd/server_address.h"
#include "server/api/duration.h"

namespace lm::cmd {
namespace {

using Problem = std::optional<std::string>;

Problem any_text(std::string_view) {
  return std::nullopt;
}

Problem is_flag(std::string_view value) {
  constexpr std::array<std::string_view, 8> kWords{"0",   "1",  "false", "true",
                                                   "off", "on", "no",    "yes"};
  std::string lower(value);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return std::ranges::find(kWords, lower) != kWords.end() ? std::nullopt
                                                          : Problem("is neither 1 nor 0");
}

Problem is_debug_level(std::string_view value) {
  return value == "2" || !is_flag(value) ? std::nullopt : Problem("is none of 0, 1, 2");
}

Problem is_context(std::string_view value) {
  const auto n = parse_integer(value);
  return n && *n >= 0 && *n <= (1LL << 27) ? std::nullopt
                                           : Problem("is not a whole number from 0 to 134217728");
}

Problem is_kv_type(std::string_view value) {
  return parse_kv_type(value) ? std::nullopt : Problem("is none of f32, f16, bf16, q8_0, q4_0");
}

Problem is_backend(std::string_view value) {
  return is_backend_spec(value)
             ? std::nullopt
             : Problem("is none of auto, cpu, cuda[:i], vulkan[:i] or a list of them");
}

Problem is_isa(std::string_view value) {
  return parse_isa(value) ? std::nullopt
                          : Problem(
                                "is none of baseline, avx2, avxvnni, avx512, avx512vnni, amx, "
                                "neon, dotprod, i8mm");
}

Problem is_size(std::string_view value) {
  return parse_bytes(value) ? std::nullopt : Problem("is no size (8G, 512Mi, a number of bytes)");
}

Problem is_absolute_path(std::string_view value) {
  return value.starts_with('/') ? std::nullopt : Problem("is not an absolute path");
}

Problem is_address(std::string_view value) {
  return parse_server_address(value) ? std::nullopt
                                     : Problem("is no address (127.0.0.1:11434, :8080)");
}

Problem is_duration(std::string_view value) {
  return api::parse_duration(value) ? std::nullopt : Problem("is no duration (5m, 300, -1)");
}

Problem is_count(std::string_view value) {
  const auto n = parse_integer(value);
  return n && *n >= 0 && *n <= 1'000'000 ? std::nullopt
                                         : Problem("is not a whole number from 0 to 1000000");
}

constexpr std::array kRows{
    SettingRow{"LM_HOME", "", "$XDG_DATA_HOME/lm, else ~/.local/share/lm",
               "where models are stored", is_absolute_path},
    SettingRow{"LM_CONTEXT_LENGTH", "OLLAMA_CONTEXT_LENGTH", "0",
               "context in tokens; 0: the largest that fits", is_context},
    SettingRow{"LM_KV_CACHE_TYPE", "OLLAMA_KV_CACHE_TYPE", "f16", "type of the KV cache",
               is_kv_type},
    SettingRow{"LM_BACKEND", "OLLAMA_LLM_LIBRARY", "auto", "devices, as --backend", is_backend},
    SettingRow{"LM_GPU_OVERHEAD", "OLLAMA_GPU_OVERHEAD", "0",
               "memory to leave free on each GPU, such as 512M", is_size},
    SettingRow{"LM_CPU_ISA", "", "best", "upper limit for CPU kernels", is_isa},
    SettingRow{"LM_CPU_MEMORY", "", "what is free", "main memory to plan with, such as 8G",
               is_size},
    SettingRow{"LM_HOST", "OLLAMA_HOST", "127.0.0.1:11434", "address to serve and to call",
               is_address},
    SettingRow{"LM_KEEP_ALIVE", "OLLAMA_KEEP_ALIVE", "5m",
               "how long a model stays after its last request", is_duration},
    SettingRow{"LM_NUM_PARALLEL", "OLLAMA_NUM_PARALLEL", "0",
               "requests a model serves at once; 0: as many as fit", is_count},
    SettingRow{"LM_MAX_LOADED_MODELS", "OLLAMA_MAX_LOADED_MODELS", "0",
               "models in memory at once; 0: three", is_count},
    SettingRow{"LM_MAX_QUEUE", "OLLAMA_MAX_QUEUE", "512", "requests that may wait", is_count},
    SettingRow{"LM_LOAD_TIMEOUT", "OLLAMA_LOAD_TIMEOUT", "5m",
               "a load without progress is given up after this", is_duration},
    SettingRow{"LM_ORIGINS", "OLLAMA_ORIGINS", "", "web pages that may use the server", any_text},
    SettingRow{"LM_ALLOWED_HOSTS", "", "", "further names under which the server is called",
               any_text},
    SettingRow{"LM_API_KEY", "", "", "keys that requests to the server must show", any_text, true},
    SettingRow{"LM_OFFLINE", "HF_HUB_OFFLINE,TRANSFORMERS_OFFLINE", "0",
               "never open an outside connection", is_flag},
    SettingRow{"LM_NOPRUNE", "OLLAMA_NOPRUNE", "0", "keep files of the store that no model needs",
               is_flag},
    SettingRow{"LM_NOHISTORY", "OLLAMA_NOHISTORY", "0", "no prompt history file", is_flag},
    SettingRow{"LM_DEBUG", "OLLAMA_DEBUG", "0", "1: say on stderr what was placed where",
               is_debug_level},
    SettingRow{"LM_EDITOR", "OLLAMA_EDITOR,VISUAL,EDITOR", "vi", "editor for Ctrl+G", any_text},
    SettingRow{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "", "access token for the hub", any_text,
               true},
    SettingRow{"HF_TOKEN_PATH", "", "", "file that holds the token", any_text},
    SettingRow{"HF_HUB_DISABLE_IMPLICIT_TOKEN", "", "0", "do not send a token unasked", is_flag},
    SettingRow{"HF_ENDPOINT", "", "https://huggingface.co", "address of the hub", any_text},
    SettingRow{"LM_OLLAMA_ENDPOINT", "", "https://registry.ollama.ai",
               "address of the registry behind ollama.com/...", any_text},
    SettingRow{"HF_HOME", "", "", "the hub's own cache and token", any_text},
    SettingRow{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "$HF_HOME/hub",
               "the hub's own cache: files there are not fetched", any_text},
    SettingRow{"HTTPS_PROXY", "https_proxy", "", "proxy for https", any_text, true},
    SettingRow{"HTTP_PROXY", "http_proxy", "", "proxy for http", any_text, true},
    SettingRow{"ALL_PROXY", "all_proxy", "", "proxy for everything", any_text, true},
    SettingRow{"NO_PROXY", "no_proxy", "", "hosts without a proxy", any_text},
    SettingRow{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "", "certificates to trust", any_text},
    SettingRow{"SSL_CERT_DIR", "", "", "folder of certificates to trust", any_text},
    SettingRow{"NO_COLOR", "", "", "no colour, no animation", any_text},
    SettingRow{"TERM", "", "", "kind of terminal; dumb: plain output", any_text},
    SettingRow{"COLUMNS", "", "", "width where the terminal does not say", any_text},
};

std::string variable(std::string_view name) {
  const char* raw = std::getenv(std::string(name).c_str());
  std::string_view value = raw == nullptr ? "" : raw;
  const auto trim = [&value] {
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) {
      value.remove_prefix(1);
    }
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) {
      value.remove_suffix(1);
    }
  };
  trim();
  if (value.size() >= 2 && value.front() == value.back() && (value[0] == '"' || value[0] == '\'')) {
    value = value.substr(1, value.size() - 2);
    trim();
  }
  return std::string(value);
}

}  // namespace

std::span<const SettingRow> setting_rows() {
  return kRows;
}

SettingValue look_up(const SettingRow& row) {
  if (std::string value = variable(row.name); !value.empty()) {
    return {.text = std::move(value), .source = std::string(row.name)};
  }
  std::string_view names = row.fallbacks;
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    const std::string_view name = names.substr(0, comma);
    if (std::string value = variable(name); !value.empty()) {
      return {.text = std::move(value), .source = std::string(name)};
    }
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  return {.text = std::string(row.fallback_value), .source = "default"};
}

Result<SettingValue> setting(std::string_view name) {
  const auto row = std::ranges::find(kRows, name, &SettingRow::name);
  if (row == kRows.end()) {
    return failure("invalid_argument", std::string(name), "is no setting");
  }
  SettingValue value = look_up(*row);
  if (value.source != "default") {
    if (const Problem problem = row->check(value.text)) {
      return failure("invalid_argument", value.source,
                     fmt::format("'{}' {}", row->secret ? "***" : value.text, *problem),
                     "correct or unset it");
    }
  }
  return value;
}

Result<bool> setting_flag(std::string_view name) {
  LM_TRY(const SettingValue value, setting(name));
  return value.text == "1" || value.text == "2" || value.text.starts_with('t') ||
         value.text.starts_with('T') || value.text.starts_with('y') ||
         value.text.starts_with('Y') || value.text == "on" || value.text == "ON" ||
         value.text == "On";
}

Result<std::uint32_t> context_length_setting() {
  LM_TRY(const SettingValue value, setting("LM_CONTEXT_LENGTH"));
  return static_cast<std::uint32_t>(parse_integer(value.text).value_or(0));
}

Result<DType> kv_type_setting() {
  LM_TRY(const SettingValue value, setting("LM_KV_CACHE_TYPE"));
  return parse_kv_type(value.text).value_or(DType::f16);
}

Result<std::string> backend_setting() {
  LM_TRY(SettingValue value, setting("LM_BACKEND"));
  return std::move(value.text);
}

Result<std::optional<Isa>> isa_setting() {
  LM_TRY(const SettingValue value, setting("LM_CPU_ISA"));
  return parse_isa(value.text);
}

Result<std::uint64_t> gpu_overhead_setting() {
  LM_TRY(const SettingValue value, setting("LM_GPU_OVERHEAD"));
  return parse_bytes(value.text).value_or(0);
}

Result<std::optional<std::uint64_t>> cpu_memory_setting() {
  LM_TRY(const SettingValue value, setting("LM_CPU_MEMORY"));
  return parse_bytes(value.text);
}

std::optional<DType> parse_kv_type(std::string_view name) {
  constexpr std::array kTypes{DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};
  const BlockLayout* found = find_layout_by_name(name.data(), name.size());
  if (found == nullptr || std::ranges::find(kTypes, found->dtype) == kTypes.end()) {
    return std::nullopt;
  }
  return found->dtype;
}

bool is_backend_spec(std::string_view text) {
  while (true) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view one = text.substr(0, comma);
    const std::string_view kind = one.substr(0, one.find(':'));
    const bool indexed = kind.size() < one.size();
    const bool is_gpu = kind == "cuda" || kind == "vulkan";
    const auto index =
        indexed ? parse_integer(one.substr(kind.size() + 1)) : std::optional<std::int64_t>(0);
    if (!(is_gpu || (!indexed && (kind == "auto" || kind == "cpu" || kind == "reference"))) ||
        !index || *index < 0 || *index > 255) {
      return false;
    }
    if (comma == text.size()) {
      return true;
    }
    text.remove_prefix(comma + 1);
  }
}

}  // namespace lm::cmd
