/// Filters, tests and methods: rows of tables, one signature for all.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/jinja_unicode.h"
#include "runtime/chat/jinja_value.h"

namespace lm::jinja {

struct Function;

/// One call of a row. `self` is what a filter or test was applied to, or the object of a method.
struct Call {
  Interpreter& interpreter;
  Budget& budget;
  const Function& function;
  const Value& self;
  /// By parameter, in the order of the row; empty where the template gave none.
  std::vector<std::optional<Value>> arguments;
  /// What a variadic row gets beyond its parameters.
  Arguments rest;

  bool has(std::size_t i) const { return i < arguments.size() && arguments[i].has_value(); }
  /// The argument; only where `has`.
  const Value& at(std::size_t i) const { return *arguments[i]; }
  bool is_none(std::size_t i) const { return !has(i) || at(i).is(Kind::none); }
  /// The argument as an integer, bool or text, or the fallback. Errors: wrong type, naming the row
  /// and parameter.
  Eval<std::int64_t> integer(std::size_t i, std::int64_t fallback) const;
  bool flag(std::size_t i, bool fallback) const { return has(i) ? truth(at(i)) : fallback; }
  /// Null when absent or none.
  Eval<const Text*> text(std::size_t i) const;
  /// An error naming the row.
  std::unexpected<std::unique_ptr<Failure>> fail(const std::string& message) const;
};

struct Function {
  std::string_view name;
  std::string_view
      parameters;  ///< names separated by blanks; one that begins with '/' has no keyword form
  std::uint8_t required;  ///< so many of them must be given
  bool variadic;
  Eval<Value> (*run)(Call& call);
};

/// Null when there is none.
const Function* find_filter(std::string_view name);
const Function* find_test(std::string_view name);
/// The method of a text, list or map; null for all other values.
const Function* find_method(const Value& self, std::string_view name);

/// Binds arguments to the row's parameters and runs it.
Eval<Value> run_function(Interpreter& interpreter, const Function& function, const Value& self,
                         Arguments arguments);

// The tables, by file.
std::span<const Function> text_filters();
std::span<const Function> number_filters();
std::span<const Function> list_filters();
std::span<const Function> selection_filters();
std::span<const Function> is_tests();
std::span<const Function> text_methods();
std::span<const Function> text_query_methods();
std::span<const Function> list_methods();
std::span<const Function> map_methods();

// Shared by filters and methods.
enum class Strip : std::uint8_t { left, right, both };
/// Without `characters`: white space.
Eval<Value> strip(Budget& budget, const Text& text, const Text* characters, Strip side);
Eval<Value> change_case(Budget& budget, const Text& text, Case wanted);
Eval<Value> capitalize(Budget& budget, const Text& text);
Eval<Value> replace(Budget& budget, const Text& text, const Text& from, const Text& to,
                    std::int64_t count);
Eval<Value> center(Budget& budget, const Text& text, std::int64_t width, const Text& fill);
/// Lines without their ends, as str.splitlines.
std::vector<std::pair<std::size_t, std::size_t>> line_spans(std::string_view text,
                                                            bool keep_ends = false);
Eval<Value> substring(Budget& budget, const Text& text, std::size_t begin, std::size_t end);
/// & < > " ' become entities; the result is markup.
Eval<Value> escape_html(Budget& budget, const Text& text);
/// "%s and %d" % values.
Eval<Value> format_percent(Interpreter& interpreter, const Text& format, const Value& values);
/// "{} and {name:>8}".format(…).
Eval<Value> format_braces(Interpreter& interpreter, const Text& format, const Arguments& arguments);
/// Stable; keys as long as values.
Eval<void> sort_by_keys(Budget& budget, std::vector<Value>& values, std::vector<Value>& keys,
                        bool descending);

}  // namespace lm::jinja
