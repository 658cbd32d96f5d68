#include "runtime/gguf/metadata.h"

#include <cstring>
#include <limits>

#include <fmt/core.h>

#include "runtime/gguf/guarded.h"
#include "runtime/gguf/quoted.h"

namespace lm {
namespace {

using gguf::guarded;

/// The element at `index` of packed little-endian values. The reader has checked the length.
template <class T>
T load(std::span<const std::byte> bytes, std::uint64_t index = 0) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

bool is_integer(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::u16:
    case GgufType::i16:
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::u64:
    case GgufType::i64:
      return true;
    default:
      return false;
  }
}

bool is_float(GgufType type) {
  return type == GgufType::f32 || type == GgufType::f64;
}

/// An integer or bool element, or nothing when an unsigned one is above int64.
std::optional<std::int64_t> load_integer(GgufType type, std::span<const std::byte> bytes,
                                         std::uint64_t index = 0) {
  switch (type) {
    case GgufType::u8:
    case GgufType::boolean:
      return load<std::uint8_t>(bytes, index);
    case GgufType::i8:
      return load<std::int8_t>(bytes, index);
    case GgufType::u16:
      return load<std::uint16_t>(bytes, index);
    case GgufType::i16:
      return load<std::int16_t>(bytes, index);
    case GgufType::u32:
      return load<std::uint32_t>(bytes, index);
    case GgufType::i32:
      return load<std::int32_t>(bytes, index);
    case GgufType::i64:
      return load<std::int64_t>(bytes, index);
    case GgufType::u64: {
      const auto value = load<std::uint64_t>(bytes, index);
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return std::nullopt;
      }
      return static_cast<std::int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

double load_float(GgufType type, std::span<const std::byte> bytes, std::uint64_t index = 0) {
  return type == GgufType::f32 ? static_cast<double>(load<float>(bytes, index))
                               : load<double>(bytes, index);
}

std::string describe(const MetadataValue& value) {
  if (value.type != GgufType::array) {
    return std::string(type_name(value.type));
  }
  return fmt::format("an array of {} {}", value.count, type_name(value.element));
}

std::unexpected<Error> wrong_type(const std::string& subject, std::string_view key,
                                  const MetadataValue& value, std::string_view expected) {
  return fail(
      ErrorCode::bad_value, subject,
      fmt::format("key {} is {}, expected {}", gguf::quoted(key), describe(value), expected),
      "the file is malformed, get it again or convert it again");
}

std::unexpected<Error> too_large(const std::string& subject, std::string_view key) {
  return fail(ErrorCode::bad_value, subject,
              fmt::format("key {} holds an integer above 2^63 - 1", gguf::quoted(key)),
              "the file is malformed, get it again or convert it again");
}

std::unexpected<Error> absent(const std::string& subject, std::string_view key) {
  return fail(ErrorCode::missing, subject, fmt::format("key {} is missing", gguf::quoted(key)),
              "the file is incomplete, get it again or convert it again");
}

}  // namespace

std::string_view type_name(GgufType type) {
  switch (type) {
    case GgufType::u8:
      return "u8";
    case GgufType::i8:
      return "i8";
    case GgufType::u16:
      return "u16";
    case GgufType::i16:
      return "i16";
    case GgufType::u32:
      return "u32";
    case GgufType::i32:
      return "i32";
    case GgufType::f32:
      return "f32";
    case GgufType::boolean:
      return "bool";
    case GgufType::string:
      return "string";
    case GgufType::array:
      return "array";
    case GgufType::u64:
      return "u64";
    case GgufType::i64:
      return "i64";
    case GgufType::f64:
      return "f64";
  }
  return "unknown";
}

const MetadataValue* Metadata::find(std::string_view key) const {
  const auto it = index_.find(key);
  return it == index_.end() ? nullptr : &entries_[it->second].value;
}

void Metadata::add(std::string_view key, MetadataValue value) {
  entries_.push_back({key, value});
  index_.emplace(key, entries_.size() - 1);
}

Result<std::optional<std::int64_t>> Metadata::try_int(std::string_view key) const {
  return guarded(subject_, [&]() -> Result<std::optional<std::int64_t>> {
    const MetadataValue* value = find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (!is_integer(value->type)) {
      return wrong_type(subject_, key, *value, "an integer");
    }
    const std::optional<std::int64_t> integer = load_integer(value->type, value->bytes);
    if (!integer) {
      return too_large(subject_, key);
    }
    return integer;
  });
}

Result<std::optional<double>> Metadata::try_float(std::string_view key) const {
  return guarded(subject_, [&]() -> Result<std::optional<double>> {
    const MetadataValue* value = find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (is_float(value->type)) {
      return load_float(value->type, value->bytes);
    }
    if (!is_integer(value->type)) {
      return wrong_type(subject_, key, *value, "a float");
    }
    const std::optional<std::int64_t> integer = load_integer(value->type, value->bytes);
    if (!integer) {
      return too_large(subject_, key);
    }
    return static_cast<double>(*integer);
  });
}

Result<std::optional<bool>> Metadata::try_bool(std::string_view key) const {
  return guarded(subject_, [&]() -> Result<std::optional<bool>> {
    const MetadataValue* value = find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (value->type != GgufType::boolean) {
      return wrong_type(subject_, key, *value, "bool");
    }
    return load<std::uint8_t>(value->bytes) != 0;
  });
}

Result<std::optional<std::string_view>> Metadata::try_string(std::string_view key) const {
  return guarded(subject_, [&]() -> Result<std::optional<std::string_view>> {
    const MetadataValue* value = find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (value->type != GgufType::string) {
      return wrong_type(subject_, key, *value, "string");
    }
    return std::string_view(reinterpret_cast<const char*>(value->bytes.data()),
                            value->bytes.size());
  });
}

Result<std::optional<std::vector<std::int64_t>>> Metadata::try_ints(std::string_view key) const {
  return guarded(subject_, [&]() -> Result<std::optional<std::vector<std::int64_t>>> {
    const MetadataValue* value = find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    const bool is_array = value->type == GgufType::array;
    const GgufType type = is_array ? value->element : value->type;
    const std::uint64_t count = is_array ? value->count : 1;
    if (count > 0 && !is_integer(type) && type != GgufType::boolean) {
      return wrong_type(subject_, key, *value, "integers");
    }
    std::vector<std::int64_t> integers;
    integers.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::optional<std::int64_t> integer = load_integer(type, value->bytes, i);
      if (!integer) {
        return too_large(subject_, key);
      }
      integers.push_back(*integer);
    }
    return integers;
  });
}

Result<std::optional<std::vector<float>>> Metadata::try_floats(std::string_view key) const {
  return guarded(subject_, [&]() -> Result<std::optional<std::vector<float>>> {
    const MetadataValue* value = find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (value->type != GgufType::array || (value->count > 0 && !is_float(value->element))) {
      return wrong_type(subject_, key, *value, "an array of f32");
    }
    std::vector<float> floats(value->count);
    if (value->element == GgufType::f32 && value->count > 0) {
      std::memcpy(floats.data(), value->bytes.data(), value->bytes.size());
      return floats;
    }
    for (std::uint64_t i = 0; i < value->count; ++i) {
      floats[i] = static_cast<float>(load<double>(value->bytes, i));
    }
    return floats;
  });
}

Result<std::optional<std::vector<std::string_view>>> Metadata::try_strings(
    std::string_view key) const {
  return guarded(subject_, [&]() -> Result<std::optional<std::vector<std::string_view>>> {
    const MetadataValue* value = find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (value->type != GgufType::array ||
        (value->count > 0 && value->element != GgufType::string)) {
      return wrong_type(subject_, key, *value, "an array of strings");
    }
    std::vector<std::string_view> strings;
    strings.reserve(value->count);
    const std::byte* at = value->bytes.data();
    for (std::uint64_t i = 0; i < value->count; ++i) {
      std::uint64_t length = 0;
      std::memcpy(&length, at, sizeof(length));
      strings.emplace_back(reinterpret_cast<const char*>(at + sizeof(length)), length);
      at += sizeof(length) + length;
    }
    return strings;
  });
}

Result<std::int64_t> Metadata::get_int(std::string_view key) const {
  LM_TRY(const std::optional<std::int64_t> value, try_int(key));
  if (!value) {
    return guarded(subject_, [&]() -> Result<std::int64_t> { return absent(subject_, key); });
  }
  return *value;
}

Result<double> Metadata::get_float(std::string_view key) const {
  LM_TRY(const std::optional<double> value, try_float(key));
  if (!value) {
    return guarded(subject_, [&]() -> Result<double> { return absent(subject_, key); });
  }
  return *value;
}

Result<std::string_view> Metadata::get_string(std::string_view key) const {
  LM_TRY(const std::optional<std::string_view> value, try_string(key));
  if (!value) {
    return guarded(subject_, [&]() -> Result<std::string_view> { return absent(subject_, key); });
  }
  return *value;
}

Result<std::int64_t> Metadata::int_or(std::string_view key, std::int64_t fallback) const {
  LM_TRY(const std::optional<std::int64_t> value, try_int(key));
  return value.value_or(fallback);
}

Result<double> Metadata::float_or(std::string_view key, double fallback) const {
  LM_TRY(const std::optional<double> value, try_float(key));
  return value.value_or(fallback);
}

Result<bool> Metadata::bool_or(std::string_view key, bool fallback) const {
  LM_TRY(const std::optional<bool> value, try_bool(key));
  return value.value_or(fallback);
}

}  // namespace lm
