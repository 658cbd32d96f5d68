/// Keys that requests must show, compared in a time that tells nothing about them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/http/request_parser.h"

namespace lm::server {

class ApiKeys {
 public:
  ApiKeys() = default;
  explicit ApiKeys(std::vector<std::string> keys) : keys_(std::move(keys)) {}
  bool empty() const { return keys_.empty(); }
  /// Whether the request shows one of them, as "Authorization: Bearer KEY" or "x-api-key: KEY".
  /// True when none is asked for.
  bool allows(const RequestHead& head) const;

 private:
  bool knows(std::string_view shown) const;
  std::vector<std::string> keys_;
};

/// Keys of a comma- or line-separated list, blanks around them removed.
std::vector<std::string> split_keys(std::string_view text);

}  // namespace lm::server
