#include "server/api/generation_options.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/kv/sequence.h"
#include "server/api/number_text.h"

namespace lm::api {
namespace {

/// Options beside the sampler's: whole numbers with their ranges.
struct IntegerOption {
  std::string_view name;
  std::int64_t min, max;
  void (*set)(GenerationOptions& options, std::int64_t value);
};

constexpr std::int64_t kMaxTokens = std::numeric_limits<std::int32_t>::max();

constexpr std::array kIntegers{
    IntegerOption{
        "num_ctx", 1, 1LL << 27,
        [](GenerationOptions& o, std::int64_t v) { o.n_ctx = static_cast<std::uint32_t>(v); }},
    // -2, an older value, fills the context: generation then ends with the context, as it does for
    // -1.
    IntegerOption{"num_predict", -2, kMaxTokens,
                  [](GenerationOptions& o, std::int64_t v) {
                    o.max_tokens = static_cast<std::int32_t>(std::max<std::int64_t>(v, -1));
                  }},
    IntegerOption{
        "num_keep", -1, kMaxTokens,
        [](GenerationOptions& o, std::int64_t v) { o.n_keep = static_cast<std::int32_t>(v); }},
    IntegerOption{
        "num_batch", 1, 1 << 20,
        [](GenerationOptions& o, std::int64_t v) { o.n_batch = static_cast<std::uint32_t>(v); }},
    IntegerOption{"draft_num_predict", 0, kMaxRollBack - 1,
                  [](GenerationOptions& o, std::int64_t v) {
                    o.draft_tokens = static_cast<std::uint32_t>(v);
                  }},
    IntegerOption{
        "num_thread", 0, 1024,
        [](GenerationOptions& o, std::int64_t v) { o.n_threads = static_cast<std::uint32_t>(v); }},
};

constexpr std::array<std::string_view, 8> kRetired{"penalize_newline", "low_vram",    "f16_kv",
                                                   "logits_all",       "vocab_only",  "use_mlock",
                                                   "mirostat",         "mirostat_tau"};
constexpr std::string_view kRetiredLast = "mirostat_eta";

bool is_sampler_name(std::string_view name) {
  const auto names = sampler_param_names();
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

Result<void> GenerationOptions::set(std::string_view name, std::string_view value) {
  if (name == "stop") {
    if (value.empty()) {
      return fail(ErrorCode::invalid_argument, "stop",
                  "an empty stop string would end every answer at once");
    }
    stop.emplace_back(value);
    return {};
  }
  const auto integer = std::ranges::find(kIntegers, name, &IntegerOption::name);
  if (integer != kIntegers.end()) {
    const auto number = parse_number(value);
    if (!number || *number != static_cast<double>(static_cast<std::int64_t>(*number)) ||
        *number < static_cast<double>(integer->min) ||
        *number > static_cast<double>(integer->max)) {
      return fail(ErrorCode::invalid_argument, std::string(name),
                  fmt::format("'{}' is not a whole number from {} to {}", value, integer->min,
                              integer->max));
    }
    integer->set(*this, static_cast<std::int64_t>(*number));
    return {};
  }
  if (is_sampler_name(name)) {
    LM_CHECK(set_sampler_param(sampler, name, value));
    return {};
  }
  return fail(ErrorCode::invalid_argument, std::string(name), "is no parameter",
              fmt::format("known are: {}", fmt::join(parameter_names(), ", ")));
}

Result<void> GenerationOptions::set_all(const ParameterTexts& texts) {
  for (const auto& [name, values] : texts) {
    if (is_retired_parameter(name) && !is_parameter(name)) {
      continue;
    }
    if (name == "stop") {
      stop.clear();
    }
    for (const std::string& value : values) {
      LM_CHECK(set(name, value));
    }
  }
  return {};
}

bool is_parameter(std::string_view name) {
  return name == "stop" || is_sampler_name(name) ||
         std::ranges::find(kIntegers, name, &IntegerOption::name) != kIntegers.end();
}

bool is_retired_parameter(std::string_view name) {
  return name == kRetiredLast || std::ranges::find(kRetired, name) != kRetired.end();
}

std::vector<std::string_view> parameter_names() {
  std::vector<std::string_view> names;
  for (const IntegerOption& option : kIntegers) {
    names.push_back(option.name);
  }
  const auto sampler_names = sampler_param_names();
  names.insert(names.end(), sampler_names.begin(), sampler_names.end());
  names.emplace_back("stop");
  std::ranges::sort(names);
  return names;
}

std::string parameters_text(const ParameterTexts& texts) {
  std::string text;
  for (const auto& [name, values] : texts) {
    for (const std::string& value : values) {
      const std::string shown =
          name == "stop"
              ? nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
              : value;
      text += fmt::format("{:<30} {}\n", name, shown);
    }
  }
  return text;
}

Result<void> add_parameter(ParameterTexts& texts, std::string_view name, std::string_view value) {
  GenerationOptions checked;
  LM_CHECK(checked.set(name, value));
  std::vector<std::string>& values = texts[std::string(name)];
  if (name != "stop") {
    values.clear();
  }
  values.emplace_back(value);
  return {};
}

}  // namespace lm::api
