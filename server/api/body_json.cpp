#include "server/api/body_json.h"

#include <cmath>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace lm::api {
namespace {

constexpr std::size_t kMaxDepth = 128;
// Each costs some 32 bytes beside its text.
constexpr std::size_t kMaxValues = 2u << 20;
constexpr std::size_t kSmallObject = 32;

/// Builds a document from the parser's events. Ordered objects are lists of members, in which a
/// plain insert looks through all of them: large ones get an index here.
class Builder {
 public:
  explicit Builder(Json& root) : root_(root) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(std::int64_t value) { return add(value); }
  bool number_unsigned(std::uint64_t value) { return add(value); }
  bool number_float(double value, const std::string& /*text*/) {
    if (!std::isfinite(value)) {
      problem = "holds a number that is out of range";
      return false;
    }
    return add(value);
  }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t& /*value*/) { return false; }
  bool start_object(std::size_t /*size*/) { return open(Json::object()); }
  bool start_array(std::size_t /*size*/) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    Level& level = levels_.back();
    auto& members = level.container->get_ref<Json::object_t&>();
    std::vector<std::pair<const std::string, Json>>& list = members;
    if (list.size() >= kSmallObject && level.index.empty()) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        level.index.emplace(list[i].first, i);
      }
    }
    if (level.index.empty()) {
      level.slot = &members[name];
      return true;
    }
    const auto [known, is_new] = level.index.try_emplace(name, list.size());
    if (is_new) {
      list.emplace_back(std::move(name), nullptr);
    }
    level.slot = &list[known->second].second;
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) {
    // 406: a number that no double can hold.
    problem = error.id == 406
                  ? fmt::format("holds a number that is out of range at byte {}", position)
                  : fmt::format("is no JSON: error at byte {}", position);
    return false;
  }

  std::string problem;

 private:
  struct Level {
    Json* container;
    Json* slot = nullptr;  ///< of an object: where the next value goes
    std::unordered_map<std::string, std::size_t> index = {};
  };

  Json* place(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = levels_.back();
    if (level.container->is_array()) {
      level.container->push_back(std::move(value));
      return &level.container->back();
    }
    *level.slot = std::move(value);
    return level.slot;
  }
  bool add(Json value) {
    if (++values_ > kMaxValues) {
      problem = fmt::format("holds more than {} values", kMaxValues);
      return false;
    }
    place(std::move(value));
    return true;
  }
  bool open(Json container) {
    if (levels_.size() >= kMaxDepth) {
      problem = fmt::format("is nested more than {} levels deep", kMaxDepth);
      return false;
    }
    if (++values_ > kMaxValues) {
      problem = fmt::format("holds more than {} values", kMaxValues);
      return false;
    }
    // Pointers stay right: a container grows only while it is the innermost one.
    levels_.push_back({place(std::move(container))});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  Json& root_;
  std::vector<Level> levels_;
  std::size_t values_ = 0;
};

}  // namespace

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ApiResult<Json> parse_body(std::string_view body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return refuse("", "missing request body", "missing_body");
  }
  Json root;
  Builder builder(root);
  if (!Json::sax_parse(body, &builder)) {
    return refuse("", "the body " + builder.problem, "bad_json");
  }
  if (!root.is_object()) {
    return refuse("", "the body is no JSON object", "bad_json");
  }
  return root;
}

std::optional<std::int64_t> integer_of(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    return number <= static_cast<std::uint64_t>(INT64_MAX)
               ? std::optional(static_cast<std::int64_t>(number))
               : std::nullopt;
  }
  if (value.is_number_integer()) {
    return value.get<std::int64_t>();
  }
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number == std::floor(number) && std::fabs(number) <= 9007199254740992.0) {
      return static_cast<std::int64_t>(number);
    }
  }
  return std::nullopt;
}

FieldReader::FieldReader(const Json& object, std::string path, std::optional<ApiError>& error)
    : object_(object), path_(std::move(path)), error_(error) {
  if (!object_.is_object() && !error_) {
    error_ = ApiError{400, "invalid_argument",
                      (path_.empty() ? "the body" : path_) + " is no object", path_};
  }
}

const Json* FieldReader::find(const char* key) const {
  if (error_) {
    return nullptr;
  }
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

std::string FieldReader::name(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void FieldReader::fail(std::string_view key, const std::string& problem) {
  fail_as(key, name(key) + " " + problem);
}

void FieldReader::fail_as(std::string_view key, std::string message) {
  if (!error_) {
    error_ = ApiError{400, "invalid_argument", std::move(message), name(key)};
  }
}

std::optional<std::string> FieldReader::text(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    fail(key, "is no string");
    return std::nullopt;
  }
  return value->get<std::string>();
}

std::optional<bool> FieldReader::flag(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_boolean()) {
    fail(key, "is neither true nor false");
    return std::nullopt;
  }
  return value->get<bool>();
}

std::optional<double> FieldReader::number(const char* key, double min, double max) {
  const Json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
    fail(key, fmt::format("is {}, must be a number from {} to {}", dump(*value).substr(0, 40), min,
                          max));
    return std::nullopt;
  }
  return value->get<double>();
}

std::optional<std::int64_t> FieldReader::integer(const char* key, std::int64_t min,
                                                 std::int64_t max) {
  const Json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  const auto number = integer_of(*value);
  if (!number || *number < min || *number > max) {
    fail(key, fmt::format("is {}, must be an integer from {} to {}", dump(*value).substr(0, 40),
                          min, max));
    return std::nullopt;
  }
  return number;
}

const Json* FieldReader::object(const char* key) {
  const Json* value = find(key);
  if (value != nullptr && !value->is_object()) {
    fail(key, "is no object");
    return nullptr;
  }
  return value;
}

const Json* FieldReader::array(const char* key) {
  const Json* value = find(key);
  if (value != nullptr && !value->is_array()) {
    fail(key, "is no array");
    return nullptr;
  }
  return value;
}

std::optional<std::vector<std::string>> FieldReader::texts(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->is_string()) {
    return std::vector{value->get<std::string>()};
  }
  std::vector<std::string> out;
  bool all = value->is_array();
  if (all) {
    for (const Json& item : *value) {
      all = all && item.is_string();
      if (all) {
        out.push_back(item.get<std::string>());
      }
    }
  }
  if (!all) {
    fail(key, "is neither a string nor an array of strings");
    return std::nullopt;
  }
  return out;
}

}  // namespace lm::api
