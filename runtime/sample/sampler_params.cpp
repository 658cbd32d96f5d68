// One table of option names, ranges and where they go: nothing from outside reaches the sampler
// unchecked.
#include "runtime/sample/sampler_params.h"

#include <array>
#include <cmath>
#include <cstdlib>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace lm {
namespace {

struct NumberOption {
  std::string_view name;
  bool integer;
  double min, max;
  void (*set)(SamplerParams&, double);
};

constexpr double kMaxInt = 2147483647.0;
constexpr double kMaxExactInt =
    9007199254740992.0;  // 2^53: the largest that a double carries exactly
constexpr std::size_t kMaxBiases = 65'536;
constexpr std::size_t kMaxBreakers = 64;
constexpr std::size_t kMaxBreakerBytes = 256;

template <auto member>
void assign(SamplerParams& p, double value) {
  using Field = std::remove_reference_t<decltype(p.*member)>;
  p.*member = static_cast<Field>(value);
}

using P = SamplerParams;
constexpr std::array kNumbers = {
    NumberOption{"temperature", false, 0.0, 100.0, assign<&P::temperature>},
    NumberOption{"top_k", true, -1.0, kMaxInt, assign<&P::top_k>},
    NumberOption{"top_p", false, 0.0, 1.0, assign<&P::top_p>},
    NumberOption{"min_p", false, 0.0, 1.0, assign<&P::min_p>},
    NumberOption{"typical_p", false, 0.0, 1.0, assign<&P::typical_p>},
    NumberOption{"repeat_last_n", true, -1.0, kMaxInt, assign<&P::repeat_last_n>},
    NumberOption{"repeat_penalty", false, 0.01, 100.0, assign<&P::repeat_penalty>},
    NumberOption{"presence_penalty", false, -100.0, 100.0, assign<&P::presence_penalty>},
    NumberOption{"frequency_penalty", false, -100.0, 100.0, assign<&P::frequency_penalty>},
    NumberOption{"seed", true, -1.0, kMaxExactInt, assign<&P::seed>},
    NumberOption{"xtc_probability", false, 0.0, 1.0, assign<&P::xtc_probability>},
    NumberOption{"xtc_threshold", false, 0.0, 1.0, assign<&P::xtc_threshold>},
    NumberOption{"dry_multiplier", false, 0.0, 100.0, assign<&P::dry_multiplier>},
    NumberOption{"dry_base", false, 1.0, 100.0, assign<&P::dry_base>},
    NumberOption{"dry_allowed_length", true, 1.0, kMaxInt, assign<&P::dry_allowed_length>},
    NumberOption{"dry_penalty_last_n", true, -1.0, kMaxInt, assign<&P::dry_penalty_last_n>},
    NumberOption{"mirostat", true, 0.0, 2.0, assign<&P::mirostat>},
    NumberOption{"mirostat_tau", false, 0.01, 100.0, assign<&P::mirostat_tau>},
    NumberOption{"mirostat_eta", false, 0.0, 1.0, assign<&P::mirostat_eta>},
};
constexpr std::string_view kBias = "logit_bias";
constexpr std::string_view kBreakers = "dry_sequence_breakers";

constexpr auto kNames = [] {
  std::array<std::string_view, kNumbers.size() + 2> names;
  for (std::size_t i = 0; i < kNumbers.size(); ++i) {
    names[i] = kNumbers[i].name;
  }
  names[kNumbers.size()] = kBias;
  names[kNumbers.size() + 1] = kBreakers;
  return names;
}();

std::unexpected<Error> wrong(std::string_view name, std::string_view value, std::string wanted) {
  return fail(ErrorCode::invalid_argument, std::string(name),
              fmt::format("'{}' is not {}", value.substr(0, 80), wanted));
}

Result<void> set_number(const NumberOption& option, SamplerParams& params, std::string_view value) {
  const std::string text(value);
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const bool whole = !text.empty() && end == text.c_str() + text.size();
  if (!whole || !std::isfinite(number) || (option.integer && number != std::floor(number)) ||
      number < option.min || number > option.max) {
    return wrong(option.name, value,
                 fmt::format("{} from {} to {}", option.integer ? "an integer" : "a number",
                             option.min, option.max));
  }
  option.set(params, number);
  return {};
}

Result<void> set_bias(SamplerParams& params, std::string_view value) {
  const std::string wanted = "an object of token ids and numbers from -100 to 100";
  const auto json = nlohmann::json::parse(value, nullptr, false);
  if (!json.is_object() || json.size() > kMaxBiases) {
    return wrong(kBias, value, wanted);
  }
  std::vector<LogitBias> biases;
  for (const auto& [key, bias] : json.items()) {
    const bool digits =
        !key.empty() && key.size() <= 9 && key.find_first_not_of("0123456789") == std::string::npos;
    const double number = bias.is_number() ? bias.get<double>() : HUGE_VAL;
    if (!digits || !(number >= -100.0 && number <= 100.0)) {
      return wrong(kBias, value, wanted);
    }
    biases.push_back({static_cast<Token>(std::atoi(key.c_str())), static_cast<float>(number)});
  }
  params.logit_bias = std::move(biases);
  return {};
}

Result<void> set_breakers(SamplerParams& params, std::string_view value) {
  const std::string wanted = fmt::format("an array of at most {} strings of 1 to {} bytes",
                                         kMaxBreakers, kMaxBreakerBytes);
  const auto json = nlohmann::json::parse(value, nullptr, false);
  if (!json.is_array() || json.size() > kMaxBreakers) {
    return wrong(kBreakers, value, wanted);
  }
  std::vector<std::string> breakers;
  for (const auto& item : json) {
    const std::string text = item.is_string() ? item.get<std::string>() : std::string();
    if (text.empty() || text.size() > kMaxBreakerBytes) {
      return wrong(kBreakers, value, wanted);
    }
    breakers.push_back(text);
  }
  params.dry_sequence_breakers = std::move(breakers);
  return {};
}

}  // namespace

std::span<const std::string_view> sampler_param_names() {
  return kNames;
}

Result<void> set_sampler_param(SamplerParams& params, std::string_view name,
                               std::string_view value) {
  if (name == "mirostat" && (value == "1" || value == "1.0")) {
    return fail(ErrorCode::invalid_argument, "mirostat", "version 1 is not supported",
                "use 2, or 0 for off");
  }
  if (name == kBias) {
    return set_bias(params, value);
  }
  if (name == kBreakers) {
    return set_breakers(params, value);
  }
  for (const NumberOption& option : kNumbers) {
    if (option.name == name) {
      return set_number(option, params, value);
    }
  }
  return fail(ErrorCode::invalid_argument, std::string(name), "is no sampling option");
}

}  // namespace lm
