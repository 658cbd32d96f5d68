// One table of option names, ranges and where they go: nothing from outside reaches the sampler
// unchecked.
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <string>

#include <fmt/core.h>

#include "runtime/sample/sampler.h"

namespace lm {
namespace {

struct Option {
  std::string_view name;
  bool integer;
  double min, max;
  void (*set)(SamplerParams&, double);
};

constexpr double kMaxInt = 2147483647.0;
constexpr double kMaxExactInt =
    9007199254740992.0;  // 2^53: the largest that a double carries exactly

constexpr std::array kOptions = {
    Option{"temperature", false, 0.0, 100.0, [](SamplerParams& p, double v) { p.temperature = v; }},
    Option{"top_k", true, -1.0, kMaxInt,
           [](SamplerParams& p, double v) { p.top_k = static_cast<std::int32_t>(v); }},
    Option{"top_p", false, 0.0, 1.0, [](SamplerParams& p, double v) { p.top_p = v; }},
    Option{"min_p", false, 0.0, 1.0, [](SamplerParams& p, double v) { p.min_p = v; }},
    Option{"typical_p", false, 0.0, 1.0, [](SamplerParams& p, double v) { p.typical_p = v; }},
    Option{"repeat_last_n", true, -1.0, kMaxInt,
           [](SamplerParams& p, double v) { p.repeat_last_n = static_cast<std::int32_t>(v); }},
    Option{"repeat_penalty", false, 0.01, 100.0,
           [](SamplerParams& p, double v) { p.repeat_penalty = v; }},
    Option{"presence_penalty", false, -100.0, 100.0,
           [](SamplerParams& p, double v) { p.presence_penalty = v; }},
    Option{"frequency_penalty", false, -100.0, 100.0,
           [](SamplerParams& p, double v) { p.frequency_penalty = v; }},
    Option{"seed", true, -1.0, kMaxExactInt,
           [](SamplerParams& p, double v) { p.seed = static_cast<std::int64_t>(v); }},
};

constexpr auto kNames = [] {
  std::array<std::string_view, kOptions.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    names[i] = kOptions[i].name;
  }
  return names;
}();

}  // namespace

std::span<const std::string_view> sampler_param_names() {
  return kNames;
}

Result<void> set_sampler_param(SamplerParams& params, std::string_view name,
                               std::string_view value) {
  for (const Option& option : kOptions) {
    if (option.name != name) {
      continue;
    }
    const std::string text(value);
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    const bool whole = text.empty() || end != text.c_str() + text.size();
    if (whole || !std::isfinite(number) || (option.integer && number != std::floor(number)) ||
        number < option.min || number > option.max) {
      return fail(ErrorCode::invalid_argument, std::string(name),
                  fmt::format("'{}' is not {} from {} to {}", text,
                              option.integer ? "an integer" : "a number", option.min, option.max));
    }
    option.set(params, number);
    return {};
  }
  return fail(ErrorCode::invalid_argument, std::string(name), "is no sampling option");
}

}  // namespace lm
