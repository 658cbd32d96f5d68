// Arithmetic as Python does it, with integers of 64 bits: what would not fit is an error, never a
// wrap.
#include <cmath>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

namespace {

std::string_view symbol(Op op) {
  switch (op) {
    case Op::add:
      return "+";
    case Op::subtract:
      return "-";
    case Op::multiply:
      return "*";
    case Op::divide:
      return "/";
    case Op::floor_divide:
      return "//";
    case Op::modulo:
      return "%";
    case Op::power:
      return "**";
    default:
      return "?";
  }
}

/// Rounds towards minus infinity.
std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

/// False on overflow.
bool integer_power(std::int64_t base, std::int64_t exponent, std::int64_t& result) {
  result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) {
      return false;
    }
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return false;
    }
  }
  return true;
}

Eval<Value> integers(Budget& budget, Op op, std::int64_t a, std::int64_t b, Origin origin) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Op::add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::subtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::multiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::power:
      if (b < 0) {
        return a == 0
                   ? Eval<Value>(budget.fail("zero can't be raised to a negative power"))
                   : Value::real(std::pow(static_cast<double>(a), static_cast<double>(b)), origin);
      }
      overflow = !integer_power(a, b, result);
      break;
    default:
      if (b == 0) {
        return budget.fail("division by zero");
      }
      if (op == Op::divide) {
        return Value::real(static_cast<double>(a) / static_cast<double>(b), origin);
      }
      if (b == -1) {  // the one divisor whose quotient may not fit
        overflow = op == Op::floor_divide && __builtin_sub_overflow(std::int64_t{0}, a, &result);
      } else {
        const std::int64_t quotient = floor_divide(a, b);
        result = op == Op::floor_divide ? quotient : a - quotient * b;
      }
  }
  if (overflow) {
    return budget.fail("integer overflow in '" + std::string(symbol(op)) +
                       "': the limit is 64 bits");
  }
  return Value::integer(result, origin);
}

Eval<Value> reals(Budget& budget, Op op, double a, double b, Origin origin) {
  switch (op) {
    case Op::add:
      return Value::real(a + b, origin);
    case Op::subtract:
      return Value::real(a - b, origin);
    case Op::multiply:
      return Value::real(a * b, origin);
    case Op::power:
      if (a == 0.0 && b < 0.0) {
        return budget.fail("zero can't be raised to a negative power");
      }
      return Value::real(std::pow(a, b), origin);
    default:
      break;
  }
  if (b == 0.0) {
    return budget.fail("division by zero");
  }
  if (op == Op::divide) {
    return Value::real(a / b, origin);
  }
  double rest = std::fmod(a, b);
  if (rest != 0.0 && (rest < 0.0) != (b < 0.0)) {
    rest += b;
  }
  if (rest == 0.0) {
    rest = std::copysign(0.0, b);
  }
  if (op == Op::modulo) {
    return Value::real(rest, origin);
  }
  const double quotient = (a - rest) / b;
  return Value::real(quotient == 0.0 ? std::copysign(0.0, a / b) : std::round(quotient), origin);
}

Eval<Value> join_lists(Budget& budget, const ListObject& a, const ListObject& b) {
  LM_TRY(const Ref<ListObject> sum, make_list(budget, a.flavour));
  for (const ListObject* part : {&a, &b}) {
    for (const Value& item : part->items) {
      LM_CHECK(budget.step());
      LM_CHECK(sum->push(item));
    }
  }
  return to_value(sum);
}

/// Markup escapes what it is joined with.
Eval<Value> join_texts(Budget& budget, const Text& a, const Text& b) {
  TextBuilder out(budget);
  for (const Text* part : {&a, &b}) {
    if ((a.markup || b.markup) && !part->markup) {
      LM_TRY(const Value escaped, escape_html(budget, *part));
      out.append(escaped.text());
    } else {
      out.append(*part);
    }
  }
  out.set_markup(a.markup || b.markup);
  return out.finish();
}

Eval<Value> repeat(Budget& budget, const Value& thing, std::int64_t times) {
  const std::uint64_t n = times > 0 ? static_cast<std::uint64_t>(times) : 0;
  if (thing.is(Kind::text)) {
    TextBuilder out(budget);
    out.set_markup(thing.text().markup);
    out.repeat(thing.text(), n);
    return out.finish();
  }
  const auto& items = thing.list().items;
  std::uint64_t total = 0;
  if (__builtin_mul_overflow(n, items.size() * 2 * sizeof(Value), &total)) {
    total = ~std::uint64_t{0} / 2;
  }
  LM_CHECK(budget.charge(total));  // all of it, before any of it is made
  budget.give_back(total);
  LM_TRY(const Ref<ListObject> out, make_list(budget, thing.list().flavour));
  for (std::uint64_t i = 0; i < n && !items.empty(); ++i) {
    for (const Value& item : items) {
      LM_CHECK(budget.step());
      LM_CHECK(out->push(item));
    }
  }
  return to_value(out);
}

bool repeatable(const Value& value) {
  using Flavour = ListObject::Flavour;
  return value.is(Kind::text) || (value.is(Kind::list) && (value.list().flavour == Flavour::list ||
                                                           value.list().flavour == Flavour::tuple));
}

}  // namespace

Eval<Value> Interpreter::binary(Op op, const Value& a, const Value& b) {
  if (a.is(Kind::text) && op == Op::modulo) {
    return format_percent(*this, a.text(), b);
  }
  for (const Value* side : {&a, &b}) {
    if (side->is(Kind::undefined)) {
      return budget_.fail(side->undefined_hint());
    }
  }
  if (a.is_integral() && b.is_integral()) {
    return integers(budget_, op, a.as_integer(), b.as_integer(), mixed(a.origin(), b.origin()));
  }
  if (a.is_number() && b.is_number()) {
    return reals(budget_, op, a.as_double(), b.as_double(), mixed(a.origin(), b.origin()));
  }
  if (op == Op::add && a.is(Kind::text) && b.is(Kind::text)) {
    return join_texts(budget_, a.text(), b.text());
  }
  if (op == Op::add && a.is(Kind::list) && b.is(Kind::list) && repeatable(a) && repeatable(b) &&
      a.list().flavour == b.list().flavour) {
    return join_lists(budget_, a.list(), b.list());
  }
  if (op == Op::multiply && repeatable(a) && b.is_integral()) {
    return repeat(budget_, a, b.as_integer());
  }
  if (op == Op::multiply && repeatable(b) && a.is_integral()) {
    return repeat(budget_, b, a.as_integer());
  }
  if (op == Op::add && a.is(Kind::text)) {
    return budget_.fail("can only concatenate str (not \"" + std::string(type_name(b)) +
                        "\") to str; use ~ to join any values");
  }
  return budget_.fail("unsupported operand types for " + std::string(symbol(op)) + ": '" +
                      std::string(type_name(a)) + "' and '" + std::string(type_name(b)) + "'");
}

}  // namespace lm::jinja
