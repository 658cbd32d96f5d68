#include "store/json_text.h"

#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "store/chunk_sums.h"

namespace lm::store {
namespace {

constexpr int kDepthLimit = 16;

Error damaged(std::string_view subject, std::string problem) {
  return {
      .code = ErrorCode::corrupt, .subject = std::string(subject), .problem = std::move(problem)};
}

// Brackets outside of strings; counted before parsing, so that no parser ever sees a deep text.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthLimit) {
        return true;
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

std::string checksum_line(std::string_view json) {
  return fmt::format("\nxxh64:{:016x}\n", chunk_hash(std::as_bytes(std::span(json))));
}

}  // namespace

Result<nlohmann::json> parse_object(std::string_view text, std::string_view subject) {
  if (too_deep(text)) {
    return std::unexpected(
        damaged(subject, fmt::format("JSON is nested deeper than {}", kDepthLimit)));
  }
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    if (!json.is_object()) {
      return std::unexpected(
          damaged(subject, fmt::format("got a JSON {}, expected an object", json.type_name())));
    }
    return json;
  } catch (const nlohmann::json::parse_error& error) {
    return std::unexpected(
        damaged(subject, fmt::format("not JSON at byte {} of {}", error.byte, text.size())));
  } catch (const nlohmann::json::exception&) {
    return std::unexpected(damaged(subject, "JSON holds a number that is out of range"));
  }
}

std::string seal(std::string json) {
  const std::string line = checksum_line(json);
  return std::move(json) + line;
}

Result<nlohmann::json> unseal(std::string_view text, std::string_view subject) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || text.substr(end) != checksum_line(text.substr(0, end))) {
    return std::unexpected(
        damaged(subject, fmt::format("checksum doesn't fit its {} bytes", text.size())));
  }
  return parse_object(text.substr(0, end), subject);
}

std::optional<std::uint64_t> parse_hex64(const nlohmann::json& value) {
  if (!value.is_string()) {
    return std::nullopt;
  }
  const auto& text = value.get_ref<const std::string&>();
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

Result<std::string> JsonReader::text(const char* field) const {
  if (!has(field)) {
    return std::unexpected(wrong(field, "missing"));
  }
  const auto& value = object_[field];
  if (!value.is_string()) {
    return std::unexpected(
        wrong(field, fmt::format("got a {}, expected a string", value.type_name())));
  }
  return value.get<std::string>();
}

Result<std::string> JsonReader::text_or_empty(const char* field) const {
  return has(field) ? text(field) : Result<std::string>(std::string());
}

Result<std::uint64_t> JsonReader::number(const char* field) const {
  if (!has(field)) {
    return std::unexpected(wrong(field, "missing"));
  }
  const auto& value = object_[field];
  if (!value.is_number_unsigned()) {
    return std::unexpected(
        wrong(field, fmt::format("got {}, expected an integer from 0",
                                 value.is_number() ? "another number" : value.type_name())));
  }
  const auto number = value.get<std::uint64_t>();
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return std::unexpected(wrong(field, fmt::format("got {}, expected at most 2^63 - 1", number)));
  }
  return number;
}

Result<std::uint64_t> JsonReader::number_or_zero(const char* field) const {
  return has(field) ? number(field) : Result<std::uint64_t>(0);
}

Result<const nlohmann::json*> JsonReader::array(const char* field, std::uint64_t limit) const {
  if (!has(field)) {
    return std::unexpected(wrong(field, "missing"));
  }
  const auto& value = object_[field];
  if (!value.is_array()) {
    return std::unexpected(
        wrong(field, fmt::format("got a {}, expected an array", value.type_name())));
  }
  if (value.size() > limit) {
    Error error = wrong(field, fmt::format("has {} elements (limit {})", value.size(), limit));
    error.code = ErrorCode::limit_exceeded;
    return std::unexpected(std::move(error));
  }
  return &value;
}

Error JsonReader::wrong(std::string_view field, std::string problem) const {
  return damaged(subject_, fmt::format("field '{}{}': {}", where_, field, problem));
}

}  // namespace lm::store
