// What may stand behind `is`.
#include <cmath>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

Eval<Value> answer(bool yes) {
  return Value::boolean(yes);
}

template <Kind kKind>
Eval<Value> is_kind(Call& call) {
  return answer(call.self.is(kKind));
}

Eval<Value> is_defined(Call& call) {
  return answer(!call.self.is(Kind::undefined));
}
Eval<Value> is_true(Call& call) {
  return answer(call.self.is(Kind::boolean) && call.self.as_bool());
}
Eval<Value> is_false(Call& call) {
  return answer(call.self.is(Kind::boolean) && !call.self.as_bool());
}
Eval<Value> is_number(Call& call) {
  return answer(call.self.is_number());
}
Eval<Value> is_callable(Call& call) {
  return answer(call.self.is(Kind::native) && call.self.native().callable());
}
Eval<Value> is_escaped(Call& call) {
  return answer(call.self.is(Kind::text) && call.self.text().markup);
}

Eval<Value> is_mapping(Call& call) {
  return answer(call.self.is(Kind::map) && !call.self.map().is_namespace);
}

Eval<Value> is_iterable(Call& call) {
  const Kind kind = call.self.kind();
  const bool map = kind == Kind::map && !call.self.map().is_namespace;
  return answer(map || kind == Kind::text || kind == Kind::list || kind == Kind::undefined);
}

Eval<Value> is_sequence(Call& call) {
  const bool list = call.self.is(Kind::list) && call.self.list().is_sequence();
  const bool map = call.self.is(Kind::map) && !call.self.map().is_namespace;
  return answer(list || map || call.self.is(Kind::text) || call.self.is(Kind::undefined));
}

template <Op kOp>
Eval<Value> compares(Call& call) {
  const Value& a = call.self;
  const Value& b = call.at(0);
  const auto equals = [&] { return equal(call.budget, a, b); };
  bool yes = false;
  if (kOp == Op::equal || kOp == Op::not_equal) {
    LM_TRY(yes, equals());
    return answer(yes == (kOp == Op::equal));
  }
  const bool swapped = kOp == Op::greater || kOp == Op::greater_equal;
  LM_TRY(yes, swapped ? less(call.budget, b, a) : less(call.budget, a, b));
  if (!yes && (kOp == Op::less_equal || kOp == Op::greater_equal)) {
    LM_TRY(yes, equals());
  }
  return answer(yes);
}

Eval<Value> is_in(Call& call) {
  LM_TRY(const bool inside, call.interpreter.contains(call.at(0), call.self));
  return answer(inside);
}

Eval<Value> is_sameas(Call& call) {
  const Value& a = call.self;
  const Value& b = call.at(0);
  if (a.kind() != b.kind()) {
    return answer(false);
  }
  if (a.heap_object() || b.heap_object()) {
    const bool texts =
        a.is(Kind::text) && a.view() == b.view();  // equal literals are one object in Python
    return answer(texts || a.heap_object() == b.heap_object());
  }
  LM_TRY(const bool same, equal(call.budget, a, b));
  return answer(same);
}

Eval<Value> modulo(Call& call, const Value& divisor) {
  return call.interpreter.binary(Op::modulo, call.self, divisor);
}

Eval<Value> is_divisibleby(Call& call) {
  LM_TRY(const Value rest, modulo(call, call.at(0)));
  return answer(!truth(rest));
}

template <int kRest>
Eval<Value> has_rest_of_two(Call& call) {
  LM_TRY(const Value rest, modulo(call, Value::integer(2)));
  return answer(rest.is_number() && rest.as_double() == kRest);
}

/// str.islower and str.isupper of the printed value.
template <bool kUpper>
Eval<Value> is_case(Call& call) {
  LM_TRY(const Value text, to_text(call.budget, call.self));
  LM_CHECK(call.budget.step_bytes(text.text().size()));
  bool cased = false;
  for (std::size_t at = 0; at < text.view().size();) {
    const auto character = utf8::decode(text.view(), at);
    if (is_title(character.code_point) ||
        (kUpper ? is_lower(character.code_point) : is_upper(character.code_point))) {
      return answer(false);
    }
    cased = cased || (kUpper ? is_upper(character.code_point) : is_lower(character.code_point));
    at += character.bytes;
  }
  return answer(cased);
}

Eval<Value> is_filter(Call& call) {
  return answer(call.self.is(Kind::text) && find_filter(call.self.view()) != nullptr);
}

Eval<Value> is_test(Call& call) {
  return answer(call.self.is(Kind::text) && find_test(call.self.view()) != nullptr);
}

constexpr Function kRows[] = {
    {"!=", "other", 1, false, compares<Op::not_equal>},
    {"<", "other", 1, false, compares<Op::less>},
    {"<=", "other", 1, false, compares<Op::less_equal>},
    {"==", "other", 1, false, compares<Op::equal>},
    {">", "other", 1, false, compares<Op::greater>},
    {">=", "other", 1, false, compares<Op::greater_equal>},
    {"boolean", "", 0, false, is_kind<Kind::boolean>},
    {"callable", "", 0, false, is_callable},
    {"defined", "", 0, false, is_defined},
    {"divisibleby", "num", 1, false, is_divisibleby},
    {"eq", "other", 1, false, compares<Op::equal>},
    {"equalto", "other", 1, false, compares<Op::equal>},
    {"escaped", "", 0, false, is_escaped},
    {"even", "", 0, false, has_rest_of_two<0>},
    {"false", "", 0, false, is_false},
    {"filter", "", 0, false, is_filter},
    {"float", "", 0, false, is_kind<Kind::real>},
    {"ge", "other", 1, false, compares<Op::greater_equal>},
    {"greaterthan", "other", 1, false, compares<Op::greater>},
    {"gt", "other", 1, false, compares<Op::greater>},
    {"in", "seq", 1, false, is_in},
    {"integer", "", 0, false, is_kind<Kind::integer>},
    {"iterable", "", 0, false, is_iterable},
    {"le", "other", 1, false, compares<Op::less_equal>},
    {"lessthan", "other", 1, false, compares<Op::less>},
    {"lower", "", 0, false, is_case<false>},
    {"lt", "other", 1, false, compares<Op::less>},
    {"mapping", "", 0, false, is_mapping},
    {"ne", "other", 1, false, compares<Op::not_equal>},
    {"none", "", 0, false, is_kind<Kind::none>},
    {"number", "", 0, false, is_number},
    {"odd", "", 0, false, has_rest_of_two<1>},
    {"sameas", "other", 1, false, is_sameas},
    {"sequence", "", 0, false, is_sequence},
    {"string", "", 0, false, is_kind<Kind::text>},
    {"test", "", 0, false, is_test},
    {"true", "", 0, false, is_true},
    {"undefined", "", 0, false, is_kind<Kind::undefined>},
    {"upper", "", 0, false, is_case<true>},
};

}  // namespace

std::span<const Function> is_tests() {
  return kRows;
}

}  // namespace lm::jinja
