// Filters that make or change numbers.
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/core.h>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

/// Text without white space around and single underscores between digits; nothing when an
/// underscore stands elsewhere.
std::optional<std::string> bare_number(std::string_view text) {
  while (!text.empty() && is_space(utf8::decode(text, 0).code_point)) {
    text.remove_prefix(utf8::decode(text, 0).bytes);
  }
  while (!text.empty() && is_space(utf8::decode_before(text, text.size()).code_point)) {
    text.remove_suffix(utf8::decode_before(text, text.size()).bytes);
  }
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() ||
               !std::isxdigit(static_cast<unsigned char>(text[i - 1])) ||
               !std::isxdigit(static_cast<unsigned char>(text[i + 1]))) {
      return std::nullopt;
    }
  }
  return out;
}

struct ParsedInteger {
  std::optional<std::int64_t> value;
  bool too_big = false;
};

ParsedInteger parse_integer(std::string_view text, int base) {
  auto bare = bare_number(text);
  if (!bare || bare->empty()) {
    return {};
  }
  std::string_view digits = *bare;
  const bool negative = digits.front() == '-';
  if (negative || digits.front() == '+') {
    digits.remove_prefix(1);
  }
  const auto prefixed = [&](char low, char high) {
    return digits.size() > 2 && digits[0] == '0' && (digits[1] == low || digits[1] == high);
  };
  if ((base == 16 && prefixed('x', 'X')) || (base == 8 && prefixed('o', 'O')) ||
      (base == 2 && prefixed('b', 'B'))) {
    digits.remove_prefix(2);
  }
  if (digits.empty() || digits.front() == '-') {
    return {};
  }
  const std::string signed_digits = (negative ? "-" : "") + std::string(digits);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(
      signed_digits.data(), signed_digits.data() + signed_digits.size(), value, base);
  if (end != signed_digits.data() + signed_digits.size()) {
    return {};
  }
  return error == std::errc() ? ParsedInteger{value, false} : ParsedInteger{std::nullopt, true};
}

std::optional<double> parse_real(std::string_view text) {
  const auto bare = bare_number(text);
  if (!bare || bare->empty()) {
    return std::nullopt;
  }
  std::string_view digits = *bare;
  const bool negative = digits.front() == '-';
  if (negative || digits.front() == '+') {
    digits.remove_prefix(1);
  }
  if (digits.empty() || digits.front() == '-' || digits.contains('x') || digits.contains('(')) {
    return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range) {
    // Too small or too big for a double; the exponent's sign says which.
    value = digits.contains("e-") || digits.contains("E-")
                ? 0.0
                : std::numeric_limits<double>::infinity();
  }
  return negative ? -value : value;
}

Eval<Value> integer_of(Call& call, double number, Origin origin, const Value& fallback) {
  if (!std::isfinite(number)) {
    return fallback;
  }
  constexpr double kLimit = 9223372036854775808.0;
  if (number >= kLimit || number < -kLimit) {
    return call.fail("integer overflow: the limit is 64 bits");
  }
  return Value::integer(static_cast<std::int64_t>(number), origin);
}

Eval<Value> int_filter(Call& call) {
  const Value fallback = call.has(0) ? call.at(0) : Value::integer(0);
  LM_TRY(const std::int64_t base, call.integer(1, 10));
  if (base < 2 || base > 36) {
    return fallback;
  }
  const Value& value = call.self;
  switch (value.kind()) {
    case Kind::undefined:
      return call.fail(value.undefined_hint());
    case Kind::boolean:
    case Kind::integer:
      return Value::integer(value.as_integer(), value.origin());
    case Kind::real:
      return integer_of(call, value.as_double(), value.origin(), fallback);
    case Kind::text: {
      const Origin origin = value.text().has_data() ? Origin::data : Origin::literal;
      const ParsedInteger parsed = parse_integer(value.view(), static_cast<int>(base));
      if (parsed.value) {
        return Value::integer(*parsed.value, origin);
      }
      if (parsed.too_big) {
        return call.fail("integer overflow: the limit is 64 bits");
      }
      const auto real = parse_real(value.view());
      return real ? integer_of(call, *real, origin, fallback) : Eval<Value>(fallback);
    }
    default:
      return fallback;
  }
}

Eval<Value> float_filter(Call& call) {
  const Value fallback = call.has(0) ? call.at(0) : Value::real(0.0);
  const Value& value = call.self;
  if (value.is(Kind::undefined)) {
    return call.fail(value.undefined_hint());
  }
  if (value.is_number()) {
    return Value::real(value.as_double(), value.origin());
  }
  if (value.is(Kind::text)) {
    const auto real = parse_real(value.view());
    return real ? Value::real(*real, value.text().has_data() ? Origin::data : Origin::literal)
                : fallback;
  }
  return fallback;
}

Eval<Value> abs_filter(Call& call) {
  const Value& value = call.self;
  if (value.is(Kind::real)) {
    return Value::real(std::fabs(value.as_double()), value.origin());
  }
  if (value.is_integral() && value.as_integer() != std::numeric_limits<std::int64_t>::min()) {
    return Value::integer(std::abs(value.as_integer()), value.origin());
  }
  return call.fail(value.is(Kind::undefined)
                       ? value.undefined_hint()
                       : "a number is expected, not " + std::string(type_name(value)));
}

/// To `digits` behind the point, halves to even on the exact binary value, as Python's round.
double round_common(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 300) {
    return value;
  }
  if (digits < -308) {
    return std::copysign(0.0, value);
  }
  if (digits >= 0) {
    char buffer[700];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                            std::chars_format::fixed, static_cast<int>(digits));
    double rounded = value;
    if (error == std::errc()) {
      std::from_chars(buffer, end, rounded);
    }
    return rounded;
  }
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / unit) * unit;
}

/// To tens, hundreds, …; halves to even.
Eval<Value> round_integer(Call& call, const Value& value, std::int64_t digits) {
  std::int64_t unit = 1;
  for (std::int64_t i = digits; i < 0; ++i) {
    if (__builtin_mul_overflow(unit, std::int64_t{10}, &unit)) {
      return Value::integer(0, value.origin());
    }
  }
  const std::int64_t number = value.as_integer();
  std::int64_t rounded = number - number % unit;
  const std::int64_t rest = std::abs(number % unit);
  const bool away =
      rest > unit - rest || (rest == unit - rest && unit > 1 && (number / unit) % 2 != 0);
  if (away && __builtin_add_overflow(rounded, number < 0 ? -unit : unit, &rounded)) {
    return call.fail("integer overflow: the limit is 64 bits");
  }
  return Value::integer(rounded, value.origin());
}

Eval<Value> round_filter(Call& call) {
  const Value& value = call.self;
  if (!value.is_number()) {
    return call.fail(value.is(Kind::undefined)
                         ? value.undefined_hint()
                         : "a number is expected, not " + std::string(type_name(value)));
  }
  LM_TRY(const std::int64_t precision, call.integer(0, 0));
  LM_TRY(const Text* method, call.text(1));
  const std::string_view how = method ? method->view() : "common";
  if (how == "common") {
    if (value.is_integral()) {
      return round_integer(call, value, precision);
    }
    return Value::real(round_common(value.as_double(), precision), value.origin());
  }
  if (how != "ceil" && how != "floor") {
    return call.fail("the method must be common, ceil or floor");
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_double() * unit;
  return Value::real((how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit,
                     value.origin());
}

Eval<Value> filesizeformat_filter(Call& call) {
  LM_TRY(const Value printed, to_text(call.budget, call.self));
  const auto bytes =
      call.self.is_number() ? std::optional(call.self.as_double()) : parse_real(printed.view());
  if (!bytes) {
    return call.fail("a number is expected, not " + std::string(type_name(call.self)));
  }
  const bool binary = call.flag(0, false);
  const double base = binary ? 1024 : 1000;
  if (*bytes == 1) {
    return make_text(call.budget, "1 Byte");
  }
  if (*bytes < base) {
    return make_text(call.budget, fmt::format("{} Bytes", static_cast<std::int64_t>(*bytes)));
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  std::size_t i = 0;
  while (i + 1 < kPrefixes.size() && *bytes >= unit * base) {
    unit *= base;
    ++i;
  }
  const char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
  return make_text(call.budget,
                   fmt::format("{:.1f} {}{}", *bytes / unit, prefix, binary ? "iB" : "B"));
}

constexpr Function kRows[] = {
    {"abs", "", 0, false, abs_filter},
    {"filesizeformat", "binary", 0, false, filesizeformat_filter},
    {"float", "default", 0, false, float_filter},
    {"int", "default base", 0, false, int_filter},
    {"round", "precision method", 0, false, round_filter},
};

}  // namespace

std::span<const Function> number_filters() {
  return kRows;
}

}  // namespace lm::jinja
