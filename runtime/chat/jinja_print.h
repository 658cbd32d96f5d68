/// Values as text, the way Python prints them: str, repr and json.dumps.
#pragma once

#include <string>
#include <string_view>

#include "runtime/chat/jinja_value.h"

namespace lm::jinja {

/// Shortest digits that read back as the same double: 1.0, 1e-05, 1e+16, inf, nan.
std::string float_repr(double number);

/// str(): texts as they are with their origins, undefined as nothing, the rest as repr.
void append_str(TextBuilder& out, Budget& budget, const Value& value);
/// str() as a value; a text stays the same object.
Eval<Value> to_text(Budget& budget, const Value& value);

/// repr(). Carries one origin: data as soon as anything inside is data, so that the quotes and
/// brackets around a message never take part in spelling a control token.
Eval<Value> repr(Budget& budget, const Value& value);

/// json.dumps. Data as a whole as soon as anything inside is data.
struct JsonStyle {
  bool pretty = false;  ///< line breaks and `indent`
  std::string indent;   ///< of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ensure_ascii = false;
  bool sort_keys = false;
};
Eval<Value> dump_json(Budget& budget, const Value& value, const JsonStyle& style);

/// Reads a JSON text; every value is marked with `origin`. 1 is an int, 1.0 a float; the last of
/// duplicate keys wins. Errors: malformed, deeper than 128.
Eval<Value> read_json(Budget& budget, std::string_view text, Origin origin);

}  // namespace lm::jinja
