// Format texts: "%s is %d" % values, and "{} is {name:>8}".format(values).
#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_format.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

/// Walks a format text; pieces of it keep their origin.
class Cursor {
 public:
  explicit Cursor(const Text& text) : text_(text), bytes_(text.view()) {}
  bool done() const { return at_ >= bytes_.size(); }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < bytes_.size() ? bytes_[at_ + ahead] : '\0';
  }
  char take() { return done() ? '\0' : bytes_[at_++]; }
  bool skip(char c) {
    const bool there = !done() && bytes_[at_] == c;
    at_ += there ? 1 : 0;
    return there;
  }
  std::optional<std::int64_t> number() {
    std::int64_t value = 0;
    const auto [end, error] =
        std::from_chars(bytes_.data() + at_, bytes_.data() + bytes_.size(), value);
    if (end == bytes_.data() + at_ || peek() == '-') {
      return std::nullopt;
    }
    at_ = static_cast<std::size_t>(end - bytes_.data());
    // What does not fit is wider than any budget.
    return error == std::errc() ? value : std::int64_t{1} << 62;
  }
  /// Copies up to the next of `stops`.
  void copy_until(TextBuilder& out, std::string_view stops) {
    const std::size_t next = std::min(bytes_.find_first_of(stops, at_), bytes_.size());
    out.append(text_, at_, next);
    at_ = next;
  }
  std::string_view until(std::string_view stops) {
    const std::size_t next = std::min(bytes_.find_first_of(stops, at_), bytes_.size());
    const std::string_view part = bytes_.substr(at_, next - at_);
    at_ = next;
    return part;
  }
  std::string_view character() {
    const std::size_t n = utf8::decode(bytes_, at_).bytes;
    at_ += n;
    return bytes_.substr(at_ - n, n);
  }
  Origin origin() const { return text_.origin_at(at_); }
  std::size_t at() const { return at_; }
  std::string_view bytes() const { return bytes_; }

 private:
  const Text& text_;
  std::string_view bytes_;
  std::size_t at_ = 0;
};

/// The values behind "…" %.
class PercentValues {
 public:
  PercentValues(Budget& budget, const Value& values) : budget_(budget), values_(values) {
    tuple_ = values.is(Kind::list) && values.list().flavour == ListObject::Flavour::tuple;
  }
  Eval<Value> next() {
    const std::size_t n = tuple_ ? values_.list().items.size() : 1;
    if (used_ >= n) {
      return budget_.fail("not enough values for the format");
    }
    return tuple_ ? values_.list().items[used_++] : (++used_, values_);
  }
  Eval<Value> named(std::string_view key) {
    by_name_ = true;
    if (!values_.is(Kind::map)) {
      return budget_.fail("the format wants a map");
    }
    const Value* found = values_.map().find(key);
    return found ? Eval<Value>(*found)
                 : budget_.fail("the format wants key '" + std::string(key) + "'");
  }
  Eval<void> finish() const {
    const bool excused = by_name_ || values_.is(Kind::map) || values_.is(Kind::list);
    const bool left = tuple_ ? used_ < values_.list().items.size() : used_ == 0 && !excused;
    return left ? Eval<void>(budget_.fail("not all values were used by the format")) : Eval<void>();
  }

 private:
  Budget& budget_;
  const Value& values_;
  bool tuple_ = false, by_name_ = false;
  std::size_t used_ = 0;
};

Eval<void> percent_field(Cursor& cursor, TextBuilder& out, Budget& budget, PercentValues& values) {
  FormatSpec spec;
  std::optional<Value> value;
  if (cursor.skip('(')) {
    LM_TRY(value, values.named(cursor.until(")")));
    cursor.skip(')');
  }
  bool zero = false;
  for (bool more = true; more;) {
    switch (cursor.peek()) {
      case '-':
        spec.align = '<';
        break;
      case '+':
        spec.sign = '+';
        break;
      case ' ':
        spec.sign = spec.sign == '+' ? '+' : ' ';
        break;
      case '#':
        spec.alternate = true;
        break;
      case '0':
        zero = true;
        break;
      default:
        more = false;
    }
    if (more) {
      cursor.take();
    }
  }
  spec.width = cursor.number().value_or(0);
  if (cursor.skip('.')) {
    spec.precision = cursor.number().value_or(0);
  }
  while (cursor.peek() == 'l' || cursor.peek() == 'h' || cursor.peek() == 'L') {
    cursor.take();
  }
  const char type = cursor.take();
  if (type == '%') {
    out.append("%", cursor.origin());
    return {};
  }
  constexpr std::string_view kTypes = "diusraxXoeEfFgGc";
  if (type == '\0' || !kTypes.contains(type)) {
    return budget.fail("format: unsupported conversion '%" + (type ? std::string(1, type) : "") +
                       "'");
  }
  if (!value) {
    LM_TRY(value, values.next());
  }
  if (zero && spec.align != '<' && type != 's' && type != 'r' && type != 'c') {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.align = spec.align ? spec.align : '>';
  if (type == 's' || type == 'r' || type == 'a' || (type == 'c' && value->is(Kind::text))) {
    spec.type = 's';
    if (type == 'r' || type == 'a') {
      LM_TRY(value, repr(budget, *value));
    }
  } else {
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    constexpr std::string_view kWhole = "d";
    if (kWhole.contains(spec.type) && value->is(Kind::real) &&
        std::fabs(value->as_double()) < 9e18) {
      value = Value::integer(static_cast<std::int64_t>(value->as_double()), value->origin());
    }
  }
  return append_formatted(out, budget, *value, spec);
}

/// Parses what stands behind ':' in a field.
Eval<FormatSpec> brace_spec(Budget& budget, const Text& text) {
  FormatSpec spec;
  Cursor cursor(text);
  constexpr std::string_view kAligns = "<>^=";
  if (!cursor.done()) {
    const std::size_t n = utf8::decode(text.view(), 0).bytes;
    if (cursor.peek(n) && kAligns.contains(cursor.peek(n))) {
      spec.fill = cursor.character();
      spec.align = cursor.take();
    } else if (kAligns.contains(cursor.peek())) {
      spec.align = cursor.take();
    }
  }
  if (cursor.peek() == '+' || cursor.peek() == '-' || cursor.peek() == ' ') {
    spec.sign = cursor.take();
  }
  spec.alternate = cursor.skip('#');
  if (cursor.skip('0') && !spec.align) {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = cursor.number().value_or(0);
  if (cursor.peek() == ',' || cursor.peek() == '_') {
    spec.group = cursor.take();
  }
  if (cursor.skip('.')) {
    spec.precision = cursor.number();
    if (!spec.precision) {
      return budget.fail("format: the precision is missing");
    }
  }
  spec.type = cursor.take();
  constexpr std::string_view kTypes = "sdxXobnceEfFgG%";
  if (!cursor.done() || (spec.type && !kTypes.contains(spec.type))) {
    return budget.fail("format: invalid specification '" + std::string(text.view().substr(0, 64)) +
                       "'");
  }
  return spec;
}

/// One "{…}" of str.format.
class BraceFields {
 public:
  BraceFields(Interpreter& interpreter, const Arguments& arguments)
      : interpreter_(interpreter), budget_(interpreter.budget()), arguments_(arguments) {}

  Eval<void> field(Cursor& cursor, TextBuilder& out, int level) {
    LM_CHECK(budget_.step());
    LM_TRY(Value value, find(cursor));
    char conversion = '\0';
    if (cursor.skip('!')) {
      conversion = cursor.take();
      if (conversion != 's' && conversion != 'r' && conversion != 'a') {
        return budget_.fail("format: unknown conversion behind '!'");
      }
    }
    FormatSpec spec;
    if (cursor.skip(':')) {
      LM_TRY(const Text text, spec_text(cursor, level));
      LM_TRY(spec, brace_spec(budget_, text));
    }
    if (!cursor.skip('}')) {
      return budget_.fail("format: '}' is missing");
    }
    if (conversion == 's') {
      LM_TRY(value, to_text(budget_, value));
    } else if (conversion) {
      LM_TRY(value, repr(budget_, value));
    }
    return append_formatted(out, budget_, value, spec);
  }

 private:
  /// The text of a specification; fields inside it are replaced.
  Eval<Text> spec_text(Cursor& cursor, int level) {
    TextBuilder text(budget_);
    while (!cursor.done() && cursor.peek() != '}') {
      cursor.copy_until(text, "{}");
      if (cursor.skip('{')) {
        if (level > 0) {
          return budget_.fail("format: fields are nested too deep");
        }
        LM_CHECK(field(cursor, text, level + 1));
      }
    }
    return text.take();
  }

  Eval<Value> find(Cursor& cursor) {
    LM_TRY(Value value, root(cursor));
    while (cursor.peek() == '.' || cursor.peek() == '[') {
      if (cursor.take() == '.') {
        LM_TRY(value, interpreter_.attribute(value, cursor.until(".[!:}")));
        continue;
      }
      const std::string_view key = cursor.until("]");
      cursor.skip(']');
      std::int64_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      const bool number = !key.empty() && error == std::errc() && end == key.data() + key.size();
      LM_TRY(const Value spelt,
             number ? Eval<Value>(Value::integer(index)) : make_text(budget_, key));
      LM_TRY(value, interpreter_.item(value, spelt));
    }
    return value;
  }

  Eval<Value> root(Cursor& cursor) {
    const std::string_view name = cursor.until(".[!:}");
    std::size_t index = next_;
    if (!name.empty()) {
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
      if (error != std::errc() || end != name.data() + name.size()) {
        for (const auto& [key, value] : arguments_.named) {
          if (key == name) {
            return value;
          }
        }
        return budget_.fail("format: there is no argument '" + std::string(name) + "'");
      }
      manual_ = true;
    } else {
      ++next_;
    }
    if (manual_ && next_ > 0) {
      return budget_.fail("format: numbered and unnumbered fields can't be mixed");
    }
    if (index >= arguments_.positional.size()) {
      return budget_.fail("format: there is no argument number " + std::to_string(index));
    }
    return arguments_.positional[index];
  }

  Interpreter& interpreter_;
  Budget& budget_;
  const Arguments& arguments_;
  std::size_t next_ = 0;
  bool manual_ = false;
};

}  // namespace

Eval<Value> format_percent(Interpreter& interpreter, const Text& format, const Value& values) {
  Budget& budget = interpreter.budget();
  LM_CHECK(budget.step_bytes(format.size()));
  TextBuilder out(budget);
  PercentValues source(budget, values);
  Cursor cursor(format);
  while (!cursor.done()) {
    cursor.copy_until(out, "%");
    if (cursor.skip('%')) {
      LM_CHECK(percent_field(cursor, out, budget, source));
    }
  }
  LM_CHECK(source.finish());
  return out.finish();
}

Eval<Value> format_braces(Interpreter& interpreter, const Text& format,
                          const Arguments& arguments) {
  Budget& budget = interpreter.budget();
  LM_CHECK(budget.step_bytes(format.size()));
  TextBuilder out(budget);
  BraceFields fields(interpreter, arguments);
  Cursor cursor(format);
  while (!cursor.done()) {
    cursor.copy_until(out, "{}");
    if (cursor.done()) {
      break;
    }
    const Origin origin = cursor.origin();
    const char brace = cursor.take();
    if (cursor.skip(brace)) {
      out.append(std::string_view(&brace, 1), origin);
    } else if (brace == '}') {
      return budget.fail("format: a single '}'");
    } else {
      LM_CHECK(fields.field(cursor, out, 0));
    }
  }
  return out.finish();
}

}  // namespace lm::jinja
