/// JSON bodies of clients: bounded while they are parsed, read without surprises.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "server/api/api_error.h"

namespace lm::api {

using Json = nlohmann::ordered_json;

/// One line of JSON text; bytes that are no UTF-8 become U+FFFD.
std::string dump(const Json& json);

/// A body, which must be one object: at most 128 levels, 2 Mi values, strict JSON and UTF-8. Of
/// members of the same name the last one counts. Linear in its size. Errors: 400.
ApiResult<Json> parse_body(std::string_view body);

/// Reads members of an object with their types. The first thing that is wrong is remembered and
/// ends the reading: later calls return nothing. A member that is null is absent.
class FieldReader {
 public:
  /// `path` stands before the names in messages ("messages[2]"); empty for the body itself.
  FieldReader(const Json& object, std::string path, std::optional<ApiError>& error);

  bool has(const char* key) const { return find(key) != nullptr; }
  /// Any value but null; nullptr when absent.
  const Json* find(const char* key) const;
  std::optional<std::string> text(const char* key);
  std::optional<bool> flag(const char* key);
  std::optional<double> number(const char* key, double min, double max);
  /// 5.0 is an integer; what does not fit is an error.
  std::optional<std::int64_t> integer(const char* key, std::int64_t min, std::int64_t max);
  const Json* object(const char* key);
  const Json* array(const char* key);
  /// A string, or an array of strings.
  std::optional<std::vector<std::string>> texts(const char* key);

  /// The full name of a member.
  std::string name(std::string_view key) const;
  /// Remembers "NAME PROBLEM", unless something was wrong before.
  void fail(std::string_view key, const std::string& problem);
  /// The same with a message that names the member itself.
  void fail_as(std::string_view key, std::string message);
  bool ok() const { return !error_; }
  std::optional<ApiError>& error() { return error_; }

 private:
  const Json& object_;
  std::string path_;
  std::optional<ApiError>& error_;
};

/// An integer, also one written as 5.0; none for anything else.
std::optional<std::int64_t> integer_of(const Json& value);

}  // namespace lm::api
