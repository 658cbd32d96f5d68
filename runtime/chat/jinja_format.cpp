#include "runtime/chat/jinja_format.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/chat/jinja_functions.h"
#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

namespace {

// More digits than a double has say nothing; the limit keeps the buffers small.
constexpr std::int64_t kMaxPrecision = 400;

std::string grouped(const std::string& digits, char group, std::size_t size) {
  const std::size_t whole =
      std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % size == 0) {
      out += group;
    }
    out += digits[i];
  }
  return out + digits.substr(whole);
}

/// Sign apart from digits.
struct Number {
  std::string sign, digits;
};

Number integer_digits(std::int64_t value, int base, const FormatSpec& spec) {
  char buffer[72];
  const auto magnitude =
      value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), magnitude, base);
  Number number{value < 0 ? "-" : "", std::string(buffer, end)};
  if (spec.type == 'X') {
    std::ranges::transform(number.digits, number.digits.begin(), [](char c) {
      return c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c;
    });
  }
  if (spec.group) {
    number.digits = grouped(number.digits, spec.group, base == 10 ? 3 : 4);
  }
  if (spec.alternate && base != 10) {
    number.sign += base == 16 ? (spec.type == 'X' ? "0X" : "0x") : (base == 8 ? "0o" : "0b");
  }
  return number;
}

void trim_zeros(std::string& digits) {
  const std::size_t e = digits.find('e');
  std::string exponent = e == std::string::npos ? "" : digits.substr(e);
  std::string mantissa = digits.substr(0, e);
  if (mantissa.contains('.')) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.ends_with('.')) {
      mantissa.pop_back();
    }
  }
  digits = mantissa + exponent;
}

/// %g: so many significant digits, an exponent below 1e-4 or from 10^precision on.
std::string general(double magnitude, int precision, bool keep_zeros) {
  char buffer[1024];
  precision = std::max(precision, 1);
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), magnitude,
                           std::chars_format::scientific, precision - 1)
                 .ptr;
  std::string text(buffer, end);
  int exponent = 0;
  const std::size_t e = text.find('e');
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), text.data() + text.size(),
                  exponent);
  if (exponent >= -4 && exponent < precision) {
    end = std::to_chars(buffer, buffer + sizeof(buffer), magnitude, std::chars_format::fixed,
                        precision - 1 - exponent)
              .ptr;
    text.assign(buffer, end);
  }
  if (!keep_zeros) {
    trim_zeros(text);
  }
  return text;
}

Number real_digits(double value, const FormatSpec& spec) {
  Number number;
  number.sign = std::signbit(value) && !std::isnan(value) ? "-" : "";
  const double magnitude = std::fabs(value);
  const char type = static_cast<char>(spec.type | 0x20);
  const int precision = static_cast<int>(spec.precision.value_or(6));
  if (!std::isfinite(value)) {
    number.digits = std::isnan(value) ? "nan" : "inf";
  } else if (type == 'f' || type == '%' || type == 'e') {
    char buffer[1024];
    const auto how = type == 'e' ? std::chars_format::scientific : std::chars_format::fixed;
    const double shown = spec.type == '%' ? magnitude * 100 : magnitude;
    number.digits.assign(buffer,
                         std::to_chars(buffer, buffer + sizeof(buffer), shown, how, precision).ptr);
  } else if (type == 'g' || spec.precision) {
    number.digits = general(magnitude, precision, spec.alternate);
    if (spec.type == '\0' && number.digits.find_first_of(".e") == std::string::npos) {
      number.digits += ".0";
    }
  } else {
    number.digits = float_repr(magnitude);
  }
  if (spec.type == 'E' || spec.type == 'F' || spec.type == 'G') {
    std::ranges::transform(number.digits, number.digits.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    });
  }
  if (spec.group && std::isfinite(value)) {
    number.digits = grouped(number.digits, spec.group, 3);
  }
  if (spec.type == '%') {
    number.digits += '%';
  }
  return number;
}

void pad(TextBuilder& out, const FormatSpec& spec, char default_align, const Text& sign,
         const Text& body) {
  const auto n = static_cast<std::int64_t>(sign.n_chars() + body.n_chars());
  const auto room = static_cast<std::uint64_t>(std::max<std::int64_t>(spec.width - n, 0));
  const char align = spec.align ? spec.align : default_align;
  const std::uint64_t left = align == '^' ? room / 2 : (align == '<' ? 0 : room);
  const Text fill(spec.fill, body.origin_at(0));
  if (align == '=') {
    out.append(sign);
    out.repeat(fill, room);
    out.append(body);
    return;
  }
  out.repeat(fill, left);
  out.append(sign);
  out.append(body);
  out.repeat(fill, room - left);
}

int base_of(char type) {
  switch (type) {
    case 'x':
    case 'X':
      return 16;
    case 'o':
      return 8;
    case 'b':
      return 2;
    default:
      return 10;
  }
}

}  // namespace

Eval<void> append_formatted(TextBuilder& out, Budget& budget, const Value& value,
                            const FormatSpec& spec) {
  if (spec.precision.value_or(0) > kMaxPrecision && !value.is(Kind::text)) {
    return budget.fail("format: a precision above " + std::to_string(kMaxPrecision));
  }
  constexpr std::string_view kIntegerTypes = "dixXobnc";
  constexpr std::string_view kRealTypes = "eEfFgG%";
  const bool wants_integer = spec.type != '\0' && kIntegerTypes.contains(spec.type);
  const bool wants_real = spec.type != '\0' && kRealTypes.contains(spec.type);
  // Python prints True and False only where nothing is asked of the format; else they are 1 and 0.
  const bool plain =
      spec.width == 0 && !spec.align && !spec.precision && !spec.group && spec.sign == '-';
  const bool plain_bool = value.is(Kind::boolean) && spec.type == '\0' && plain;
  if (value.is_number() && !plain_bool && spec.type != 's') {
    if (wants_integer && !value.is_integral()) {
      return budget.fail(std::string("format: '") + spec.type + "' wants an integer");
    }
    if (spec.type == 'c') {
      TextBuilder one(budget);
      const std::int64_t unit = value.as_integer();
      if (unit < 0 || unit > 0x10FFFF || (unit >= 0xD800 && unit < 0xE000)) {
        return budget.fail("format: no character has this number");
      }
      one.append_code_point(static_cast<char32_t>(unit), value.origin());
      LM_TRY(const Text body, one.take());
      pad(out, spec, '<', Text(), body);
      return {};
    }
    const bool integer = value.is_integral() && !wants_real;
    Number number = integer ? integer_digits(value.as_integer(), base_of(spec.type), spec)
                            : real_digits(value.as_double(), spec);
    if (!number.sign.starts_with('-') && spec.sign != '-') {
      number.sign.insert(0, 1, spec.sign);
    }
    pad(out, spec, '>', Text(number.sign, value.origin()), Text(number.digits, value.origin()));
    return {};
  }
  if (spec.type != '\0' && spec.type != 's') {
    return budget.fail(value.is(Kind::undefined)
                           ? value.undefined_hint()
                           : std::string("format: '") + spec.type + "' does not fit a " +
                                 std::string(type_name(value)));
  }
  LM_TRY(const Value printed, to_text(budget, value));
  Value body = printed;
  if (spec.precision) {
    const std::size_t end = printed.text().offset_of(
        static_cast<std::size_t>(std::max<std::int64_t>(*spec.precision, 0)));
    LM_TRY(body, substring(budget, printed.text(), 0, end));
  }
  pad(out, spec, '<', Text(), body.text());
  return {};
}

}  // namespace lm::jinja
