/// Which Host and Origin a request may carry: what keeps web pages of strangers, and names that
/// they point at this machine, away from the API.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/request_parser.h"

namespace lm::server {

struct BrowserGuardSettings {
  /// Further names for Host: "lm.example.com", "*.example.com", "name:8443".
  std::vector<std::string> allowed_hosts = {};
  /// Further origins: "https://chat.example.com", "https://*.example.com:*", "*".
  std::vector<std::string> origins = {};
  std::string host_name = {};                ///< this machine's own; may be empty
  std::vector<std::string> interfaces = {};  ///< addresses of this machine, as text
};

/// This machine's name and addresses, with nothing else allowed.
BrowserGuardSettings guard_settings_of_this_machine();

/// What is decided about a request before it is routed.
struct Verdict {
  int status = 0;              ///< 0: go on; else 400 or 403
  std::string allowed_origin;  ///< the Origin to echo; empty: the request has none
  std::string why;             ///< for the log, when refused
};

class BrowserGuard {
 public:
  explicit BrowserGuard(BrowserGuardSettings settings) : settings_(std::move(settings)) {}
  /// `port`: that the request came in on.
  Verdict check(const RequestHead& head, std::uint16_t port) const;

 private:
  bool host_allowed(std::string_view host, std::uint16_t port) const;
  bool name_allowed(std::string_view name) const;
  bool origin_allowed(std::string_view origin, std::string_view host) const;

  BrowserGuardSettings settings_;
};

}  // namespace lm::server
