#include "runtime/model/arch_keys.h"

#include <cmath>

#include <fmt/core.h>

namespace lm {
namespace {

Result<std::int64_t> in_range(const std::string& key, std::int64_t value, std::int64_t min,
                              std::int64_t max) {
  if (value < min || value > max) {
    return fail(ErrorCode::bad_value, key, fmt::format("is {}, must be {} to {}", value, min, max));
  }
  return value;
}

}  // namespace

Result<std::int64_t> ArchKeys::get_int(std::string_view key, std::int64_t min,
                                       std::int64_t max) const {
  LM_TRY(const auto value, metadata_.get_int(name(key)));
  return in_range(name(key), value, min, max);
}

Result<std::int64_t> ArchKeys::int_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                                      std::int64_t max) const {
  LM_TRY(const auto value, metadata_.try_int(name(key)));
  return value ? in_range(name(key), *value, min, max) : Result<std::int64_t>(fallback);
}

Result<std::uint32_t> ArchKeys::u32_or(std::string_view key, std::uint32_t fallback,
                                       std::uint32_t min, std::uint32_t max) const {
  LM_TRY(const auto value, int_or(key, fallback, min, max));
  return static_cast<std::uint32_t>(value);
}

Result<std::uint32_t> ArchKeys::get_u32(std::string_view key, std::uint32_t min,
                                        std::uint32_t max) const {
  LM_TRY(const auto value, get_int(key, min, max));
  return static_cast<std::uint32_t>(value);
}

Result<float> ArchKeys::get_positive_float(std::string_view key) const {
  LM_TRY(const auto value, metadata_.get_float(name(key)));
  if (!std::isfinite(value) || value <= 0.0) {
    return fail(ErrorCode::bad_value, name(key),
                fmt::format("is {}, must be a finite number above 0", value));
  }
  return static_cast<float>(value);
}

Result<float> ArchKeys::float_or(std::string_view key, float fallback) const {
  LM_TRY(const auto value, metadata_.try_float(name(key)));
  if (value && !std::isfinite(*value)) {
    return fail(ErrorCode::bad_value, name(key), "is not a finite number");
  }
  return value ? static_cast<float>(*value) : fallback;
}

Result<float> ArchKeys::nonzero_float_or(std::string_view key, float fallback) const {
  LM_TRY(const float value, float_or(key, fallback));
  return value == 0.0f ? fallback : value;
}

Result<bool> ArchKeys::bool_or(std::string_view key, bool fallback) const {
  LM_TRY(const auto value, metadata_.try_bool(name(key)));
  return value.value_or(fallback);
}

Result<std::vector<std::uint32_t>> ArchKeys::per_layer_or(std::string_view key,
                                                          std::uint32_t n_layer,
                                                          std::uint32_t fallback, std::uint32_t min,
                                                          std::uint32_t max) const {
  std::vector<std::uint32_t> result(n_layer, fallback);
  LM_TRY(const auto values, metadata_.try_ints(name(key)));
  if (!values) {
    return result;
  }
  if (values->size() != 1 && values->size() < n_layer) {
    return fail(ErrorCode::bad_value, name(key),
                fmt::format("has {} values, expected one or {}", values->size(), n_layer));
  }
  for (std::uint32_t i = 0; i < n_layer; ++i) {
    LM_TRY(const auto value, in_range(name(key), (*values)[values->size() == 1 ? 0 : i], min, max));
    result[i] = static_cast<std::uint32_t>(value);
  }
  return result;
}

}  // namespace lm
