/// One formatted field, shared by "%8.3f" % x and "{:>8.3f}".format(x).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/chat/jinja_value.h"

namespace lm::jinja {

struct FormatSpec {
  std::string fill = " ";  ///< one character
  char align = '\0';       ///< '<' '>' '^' '=', or the default of the type
  char sign = '-';         ///< '-' '+' ' '
  bool alternate = false;  ///< 0x in front
  char group = '\0';       ///< ',' or '_' between thousands
  std::int64_t width = 0;
  std::optional<std::int64_t> precision;
  char type = '\0';  ///< '\0': by the value
};

/// Appends `value` as the spec says. Errors: a type that does not fit the value, a precision above
/// 400.
Eval<void> append_formatted(TextBuilder& out, Budget& budget, const Value& value,
                            const FormatSpec& spec);

}  // namespace lm::jinja
