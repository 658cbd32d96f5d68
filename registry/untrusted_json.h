/// JSON from servers and foreign files: bounded before it is parsed, read without surprises.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace lm::registry {

/// The value of `text`, or nothing: broken, nested deeper than 128, or of more than 400,000 values
/// (each costs memory far beyond its bytes).
std::optional<nlohmann::json> parse_untrusted(std::string_view text);

/// The string member `key` of an object; empty when it is missing or no string.
std::string string_at(const nlohmann::json& object, const char* key);

}  // namespace lm::registry
