/// Named string formats of JSON schema as languages.
#pragma once

#include <optional>
#include <string_view>

#include "runtime/grammar/regex.h"

namespace lm::grammar {

struct StringFormat {
  std::optional<NodeId> language;  ///< nothing: not enforced
  std::string_view note;           ///< what is not enforced, a predicate; empty: all is
  /// The standard's own tests take texts for valid that are none of the format where they read
  /// `format` as an annotation (2020-12), and for invalid where they read it as an assertion.
  bool two_readings = false;
};

/// date, time, date-time (RFC 3339, leap years and leap seconds too), duration, uuid, email, ipv4,
/// ipv6, hostname (without internationalised labels), uri, uri-reference, json-pointer.
StringFormat string_format(RegexPool& pool, std::string_view name);

}  // namespace lm::grammar
