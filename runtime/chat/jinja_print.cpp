#include "runtime/chat/jinja_print.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include <fmt/core.h>

#include "runtime/chat/jinja_unicode.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

Eval<bool> holds_data(Budget& budget, const Value& value) {
  LM_CHECK(budget.step());
  switch (value.kind()) {
    case Kind::text:
      return value.text().has_data();
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return value.origin() == Origin::data;
    case Kind::list: {
      LM_NESTED(budget);
      for (const Value& item : value.list().items) {
        LM_TRY(const bool found, holds_data(budget, item));
        if (found) {
          return true;
        }
      }
      return false;
    }
    case Kind::map: {
      LM_NESTED(budget);
      for (const MapObject::Entry& entry : value.map().entries) {
        LM_TRY(const bool in_key, holds_data(budget, entry.key));
        LM_TRY(const bool in_value, holds_data(budget, entry.value));
        if (in_key || in_value) {
          return true;
        }
      }
      return false;
    }
    default:
      return false;
  }
}

/// Appends everything with one origin.
class Printer {
 public:
  Printer(Budget& budget, Origin origin) : budget_(budget), out_(budget), origin_(origin) {}

  void put(std::string_view bytes) { out_.append(bytes, origin_); }
  Budget& budget() { return budget_; }
  TextBuilder& out() { return out_; }
  Origin origin() const { return origin_; }

 private:
  Budget& budget_;
  TextBuilder out_;
  Origin origin_;
};

void put_quoted_repr(Printer& to, std::string_view text) {
  const bool double_quotes = text.contains('\'') && !text.contains('"');
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t at = 0; at < text.size();) {
    const auto [code_point, bytes] = utf8::decode(text, at);
    const std::string_view as_is = text.substr(at, bytes);
    at += bytes;
    const bool invalid = code_point == unicode::kReplacement && bytes == 1;
    if (code_point == '\\' || code_point == static_cast<unsigned char>(quote)) {
      (out += '\\') += as_is;
    } else if (code_point == '\n') {
      out += "\\n";
    } else if (code_point == '\r') {
      out += "\\r";
    } else if (code_point == '\t') {
      out += "\\t";
    } else if (invalid || is_printable(code_point)) {
      out += as_is;
    } else if (code_point < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(code_point));
    } else if (code_point < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(code_point));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<std::uint32_t>(code_point));
    }
  }
  to.put(out += quote);
}

Eval<void> put_repr(Printer& to, const Value& value);

Eval<void> put_items(Printer& to, const std::vector<Value>& items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) {
      to.put(", ");
    }
    LM_CHECK(put_repr(to, items[i]));
  }
  return {};
}

Eval<void> put_list_repr(Printer& to, const ListObject& list) {
  using Flavour = ListObject::Flavour;
  switch (list.flavour) {
    case Flavour::list:
      to.put("[");
      LM_CHECK(put_items(to, list.items));
      to.put("]");
      return {};
    case Flavour::tuple:
    case Flavour::group:
      to.put("(");
      LM_CHECK(put_items(to, list.items));
      to.put(list.items.size() == 1 ? ",)" : ")");
      return {};
    case Flavour::range:
      to.put(list.stride == 1
                 ? fmt::format("range({}, {})", list.start, list.stop)
                 : fmt::format("range({}, {}, {})", list.start, list.stop, list.stride));
      return {};
    case Flavour::lazy:
      to.put("<generator object>");
      return {};
    case Flavour::keys:
    case Flavour::values:
    case Flavour::items:
      to.put(list.flavour == Flavour::keys     ? "dict_keys(["
             : list.flavour == Flavour::values ? "dict_values(["
                                               : "dict_items([");
      LM_CHECK(put_items(to, list.items));
      to.put("])");
      return {};
  }
  return {};
}

Eval<void> put_map_repr(Printer& to, const MapObject& map) {
  to.put(map.is_namespace ? "<Namespace {" : "{");
  bool first = true;
  for (const MapObject::Entry& entry : map.entries) {
    if (!first) {
      to.put(", ");
    }
    first = false;
    LM_CHECK(put_repr(to, entry.key));
    to.put(": ");
    LM_CHECK(put_repr(to, entry.value));
  }
  to.put(map.is_namespace ? "}>" : "}");
  return {};
}

Eval<void> put_repr(Printer& to, const Value& value) {
  LM_CHECK(to.budget().step());
  switch (value.kind()) {
    case Kind::undefined:
      to.put("Undefined");
      return {};
    case Kind::none:
      to.put("None");
      return {};
    case Kind::boolean:
      to.put(value.as_bool() ? "True" : "False");
      return {};
    case Kind::integer:
      to.put(std::to_string(value.as_integer()));
      return {};
    case Kind::real:
      to.put(float_repr(value.as_double()));
      return {};
    case Kind::text:
      LM_CHECK(to.budget().charge(value.text().size()));  // for the copy inside
      to.budget().give_back(value.text().size());
      if (value.text().markup) {
        to.put("Markup(");
      }
      put_quoted_repr(to, value.view());
      if (value.text().markup) {
        to.put(")");
      }
      return {};
    case Kind::list: {
      LM_NESTED(to.budget());
      return put_list_repr(to, value.list());
    }
    case Kind::map: {
      LM_NESTED(to.budget());
      return put_map_repr(to, value.map());
    }
    case Kind::native:
      to.put(value.native().describe());
      return {};
  }
  return {};
}

void put_quoted_json(Printer& to, std::string_view text, bool ensure_ascii) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const auto [code_point, bytes] = utf8::decode(text, at);
    const std::string_view as_is = text.substr(at, bytes);
    at += bytes;
    switch (code_point) {
      case '"':
      case '\\':
        (out += '\\') += as_is;
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\b':
        out += "\\b";
        continue;
      case '\f':
        out += "\\f";
        continue;
      default:
        break;
    }
    const auto unit = static_cast<std::uint32_t>(code_point);
    if (unit < 0x20 || (ensure_ascii && unit >= 0x7F && unit < 0x10000)) {
      out += fmt::format("\\u{:04x}", unit);
    } else if (ensure_ascii && unit >= 0x10000) {
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((unit - 0x10000) >> 10),
                         0xDC00 + ((unit - 0x10000) & 0x3FF));
    } else {
      out += as_is;
    }
  }
  to.put(out += '"');
}

class JsonWriter {
 public:
  JsonWriter(Printer& to, const JsonStyle& style)
      : to_(to), style_(style), unit_(style.indent, to.origin()) {}

  Eval<void> write(const Value& value, std::uint64_t level) {
    LM_CHECK(to_.budget().step());
    switch (value.kind()) {
      case Kind::none:
        to_.put("null");
        return {};
      case Kind::boolean:
        to_.put(value.as_bool() ? "true" : "false");
        return {};
      case Kind::integer:
        to_.put(std::to_string(value.as_integer()));
        return {};
      case Kind::real:
        to_.put(number(value.as_double()));
        return {};
      case Kind::text:
        LM_CHECK(to_.budget().charge(value.text().size()));  // for the copy inside
        to_.budget().give_back(value.text().size());
        put_quoted_json(to_, value.view(), style_.ensure_ascii);
        return {};
      case Kind::list:
        return write_list(value.list(), level);
      case Kind::map:
        if (!value.map().is_namespace) {
          return write_map(value.map(), level);
        }
        break;
      default:
        break;
    }
    return to_.budget().fail("tojson: a value of type " + std::string(type_name(value)) +
                             " has no JSON form" +
                             (value.is(Kind::undefined) ? ": " + value.undefined_hint() : ""));
  }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) {
      return "NaN";
    }
    return std::isinf(value) ? (value > 0 ? "Infinity" : "-Infinity") : float_repr(value);
  }

  void separate(bool first, std::uint64_t level) {
    if (!first) {
      to_.put(style_.item_separator);
    }
    if (style_.pretty) {
      to_.put("\n");
      to_.out().repeat(unit_, level);
    }
  }

  Eval<void> write_list(const ListObject& list, std::uint64_t level) {
    LM_NESTED(to_.budget());
    to_.put("[");
    bool first = true;
    for (const Value& item : list.items) {
      separate(std::exchange(first, false), level + 1);
      LM_CHECK(write(item, level + 1));
    }
    close(first, "]", level);
    return {};
  }

  Eval<void> write_map(const MapObject& map, std::uint64_t level) {
    LM_NESTED(to_.budget());
    std::vector<std::size_t> order(map.entries.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (style_.sort_keys) {
      for (const MapObject::Entry& entry : map.entries) {
        if (!entry.key.is(Kind::text)) {
          return to_.budget().fail("tojson: sort_keys wants keys that are strings");
        }
      }
      std::ranges::stable_sort(order, {}, [&](std::size_t i) { return map.entries[i].key.view(); });
    }
    to_.put("{");
    bool first = true;
    for (const std::size_t i : order) {
      const MapObject::Entry& entry = map.entries[i];
      separate(std::exchange(first, false), level + 1);
      LM_CHECK(write_key(entry.key));
      to_.put(style_.key_separator);
      LM_CHECK(write(entry.value, level + 1));
    }
    close(first, "}", level);
    return {};
  }

  Eval<void> write_key(const Value& key) {
    if (key.is(Kind::text)) {
      put_quoted_json(to_, key.view(), style_.ensure_ascii);
      return {};
    }
    if (key.is_number() || key.is(Kind::none)) {
      to_.put("\"");
      LM_CHECK(write(key, 0));
      to_.put("\"");
      return {};
    }
    return to_.budget().fail("tojson: keys must be str, int, float, bool or None, not " +
                             std::string(type_name(key)));
  }

  void close(bool empty, std::string_view bracket, std::uint64_t level) {
    if (!empty && style_.pretty) {
      to_.put("\n");
      to_.out().repeat(unit_, level);
    }
    to_.put(bracket);
  }

  Printer& to_;
  const JsonStyle& style_;
  const Text unit_;
};

}  // namespace

std::string float_repr(double number) {
  if (std::isnan(number)) {
    return "nan";
  }
  if (std::isinf(number)) {
    return number > 0 ? "inf" : "-inf";
  }
  char buffer[32];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), number, std::chars_format::scientific);
  const std::string_view text(buffer, end.ptr);
  const bool negative = text.front() == '-';
  const std::size_t e = text.find('e');
  std::string digits(text.substr(negative ? 1 : 0, e - (negative ? 1 : 0)));
  std::erase(digits, '.');
  int exponent = 0;
  const bool plus = text[e + 1] == '+';
  std::from_chars(text.data() + e + (plus ? 2 : 1), text.data() + text.size(), exponent);
  std::string out = negative ? "-" : "";
  const auto n = static_cast<int>(digits.size());
  // Python switches to an exponent below 1e-4 and from 1e16 on.
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (n > 1) {
      out += "." + digits.substr(1);
    }
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) {
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  if (n <= exponent + 1) {
    return out + digits + std::string(static_cast<std::size_t>(exponent + 1 - n), '0') + ".0";
  }
  const auto point = static_cast<std::size_t>(exponent + 1);
  return out + digits.substr(0, point) + "." + digits.substr(point);
}

void append_str(TextBuilder& out, Budget& budget, const Value& value) {
  if (value.is(Kind::text)) {
    out.append(value.text());
    return;
  }
  if (value.is(Kind::undefined)) {
    return;
  }
  if (value.is(Kind::integer)) {
    out.append(std::to_string(value.as_integer()), value.origin());
    return;
  }
  const auto printed = repr(budget, value);
  if (!printed) {
    out.set_failure(std::move(*printed.error()));
    return;
  }
  out.append(printed->text());
}

Eval<Value> to_text(Budget& budget, const Value& value) {
  if (value.is(Kind::text)) {
    return value;
  }
  TextBuilder out(budget);
  append_str(out, budget, value);
  return out.finish();
}

Eval<Value> repr(Budget& budget, const Value& value) {
  LM_TRY(const bool data, holds_data(budget, value));
  Printer to(budget, data ? Origin::data : Origin::literal);
  LM_CHECK(put_repr(to, value));
  return to.out().finish();
}

Eval<Value> dump_json(Budget& budget, const Value& value, const JsonStyle& style) {
  LM_TRY(const bool data, holds_data(budget, value));
  Printer to(budget, data ? Origin::data : Origin::literal);
  LM_CHECK(JsonWriter(to, style).write(value, 0));
  return to.out().finish();
}

}  // namespace lm::jinja
