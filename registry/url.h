/// Addresses: origin, encoding, and what a redirect may lead to.
#pragma once

#include <string>
#include <string_view>

#include "registry/error.h"

namespace lm::registry {

/// An absolute http or https address.
struct Url {
  std::string text;              ///< whole, as it is requested
  std::string scheme;            ///< "http" or "https"
  std::string host;              ///< lower case, without brackets
  int port = 0;                  ///< never 0 after parse
  std::string path;              ///< from the first '/', without query
  std::string query;             ///< without '?'
  bool has_credentials = false;  ///< user or password before '@'

  /// Errors: invalid_argument.
  static Result<Url> parse(std::string_view text);

  bool same_origin(const Url& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
  bool is_loopback() const;
  /// Without credentials and query, for messages and manifests.
  std::string for_display() const;
};

/// `location` (absolute, "//host/..", "/path" or relative) seen from `base`. Refuses (protocol)
/// other schemes than http and https, credentials, and the step from https down to http.
Result<Url> follow_location(const Url& base, std::string_view location);

/// Percent-encodes everything but letters, digits and "-._~"; '/' stays when `keep_slash`.
std::string percent_encoded(std::string_view text, bool keep_slash);

/// An address on https://huggingface.co or https://hf.co, moved to `endpoint`; any other unchanged.
/// A mirror's Link and Location headers often still name the hub itself.
std::string on_endpoint(std::string_view address, std::string_view endpoint);

/// Value of `name` in a query string, percent-decoding left out; empty when absent.
std::string query_value(std::string_view query, std::string_view name);

}  // namespace lm::registry
