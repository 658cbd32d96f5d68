/// How a call is written in the words of a model's family: the way back from `tool_call_reader`.
#pragma once

#include <string>
#include <vector>

#include "runtime/chat/dialect.h"

namespace lm {

/// Arguments written one by one instead of as a JSON object.
struct ArgumentPairs {
  std::string key_open;      ///< before a name
  std::string string_open;   ///< between name and a string, which is written as it is
  std::string string_close;  ///< behind such a string
  std::string value_open;    ///< between name and any other value, which is written as JSON
  std::string value_close;
  std::string between;          ///< between two pairs
  std::string until;            ///< what a string written as it is can't hold
  bool raw_strings = true;      ///< false: strings are written as JSON too
  bool closes_by_name = false;  ///< `string_close` and `value_close` end with the name and ">"
};

/// One call: `open` name `middle` arguments `close`. Marks are spelt.
struct CallForm {
  std::string open;
  std::string middle;
  std::string close;
  bool is_json = true;     ///< the name stands in a JSON string, the arguments are a JSON object
  bool has_pairs = false;  ///< the arguments are written as `pairs` say
  ArgumentPairs pairs = {};
  bool plain_escapes = false;            ///< strings of JSON without \/, \b, \f, \u
  std::vector<CallForm> otherwise = {};  ///< one, for arguments that can't be written as pairs
};

CallForm call_form(const Dialect& dialect);

}  // namespace lm
