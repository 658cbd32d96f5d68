/// Small checked reading of JSON that was on a disk: depth, types and ranges are looked at before a
/// value is used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "store/error.h"

namespace lm::store {

/// Parses untrusted text: an object, nested at most 16 deep. Error corrupt names the byte.
Result<nlohmann::json> parse_object(std::string_view text, std::string_view subject);

/// One line of JSON and a line with its checksum ("xxh64:<16 hex>").
std::string seal(std::string json);
/// Reverse of `seal`. Errors: corrupt.
Result<nlohmann::json> unseal(std::string_view text, std::string_view subject);

/// 16 hex digits in a JSON string.
std::optional<std::uint64_t> parse_hex64(const nlohmann::json& value);

/// Typed access to the members of one object. Both arguments must outlive it.
class JsonReader {
 public:
  /// `where`: prefix of field names in messages, for example "layers[2].".
  JsonReader(const nlohmann::json& object, std::string_view subject, std::string where = {})
      : object_(object), subject_(subject), where_(std::move(where)) {}

  bool has(const char* field) const { return object_.is_object() && object_.contains(field); }
  Result<std::string> text(const char* field) const;
  Result<std::string> text_or_empty(const char* field) const;  ///< absent: ""
  /// An unsigned integer of at most 2^63 - 1.
  Result<std::uint64_t> number(const char* field) const;
  Result<std::uint64_t> number_or_zero(const char* field) const;  ///< absent: 0
  /// An array of at most `limit` elements; limit_exceeded above.
  Result<const nlohmann::json*> array(const char* field, std::uint64_t limit) const;

  /// The error of a field; code corrupt.
  Error wrong(std::string_view field, std::string problem) const;

 private:
  const nlohmann::json& object_;
  std::string_view subject_;
  std::string where_;
};

}  // namespace lm::store
