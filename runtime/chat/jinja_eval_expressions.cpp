#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_objects.h"
#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

Eval<Value> Interpreter::evaluate(const Expr& expr) {
  LM_NESTED(budget_);
  budget_.line = expr.line;
  LM_CHECK(budget_.step());
  switch (expr.kind) {
    case ExprKind::none:
      return Value::none();
    case ExprKind::boolean:
      return Value::boolean(expr.integer != 0);
    case ExprKind::integer:
      return Value::integer(expr.integer);
    case ExprKind::real:
      return Value::real(expr.real);
    case ExprKind::text:
      return evaluate_text(expr);
    case ExprKind::name:
      return evaluate_name(expr);
    case ExprKind::list:
    case ExprKind::tuple:
      return evaluate_list(expr);
    case ExprKind::map:
      return evaluate_map(expr);
    case ExprKind::negate:
    case ExprKind::plus:
      return evaluate_sign(expr);
    case ExprKind::logical_not: {
      LM_TRY(const Value operand, evaluate(*expr.items.front()));
      return Value::boolean(!truth(operand));
    }
    case ExprKind::logical_and:
    case ExprKind::logical_or:
      return evaluate_logic(expr);
    case ExprKind::chain:
      return evaluate_chain(expr);
    case ExprKind::concat:
      return evaluate_concat(expr);
    case ExprKind::compare:
      return evaluate_compare(expr);
    case ExprKind::condition:
      return evaluate_condition(expr);
    case ExprKind::attribute: {
      LM_TRY(const Value object, evaluate(*expr.items.front()));
      return attribute(object, expr.text);
    }
    case ExprKind::subscript:
    case ExprKind::slice:
      return evaluate_subscript(expr);
    case ExprKind::call:
      return evaluate_call(expr);
    case ExprKind::filter:
      return evaluate_filter(expr);
    case ExprKind::test:
      return evaluate_test(expr);
  }
  return Value();
}

Eval<Value> Interpreter::evaluate_text(const Expr& expr) {
  if (const auto found = literals_.find(&expr); found != literals_.end()) {
    return found->second;
  }
  LM_TRY(Value text, make_text(budget_, expr.text));
  literals_.emplace(&expr, text);
  return text;
}

Eval<Value> Interpreter::evaluate_name(const Expr& expr) {
  for (Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    if (const Value* found = scope->find(expr.symbol)) {
      return *found;
    }
  }
  if (const auto& given = context_[expr.symbol]) {
    return *given;
  }
  return make_undefined(budget_, "'" + program_.names[expr.symbol] + "' is undefined");
}

Eval<Value> Interpreter::evaluate_list(const Expr& expr) {
  using Flavour = ListObject::Flavour;
  LM_TRY(const Ref<ListObject> list,
         make_list(budget_, expr.kind == ExprKind::tuple ? Flavour::tuple : Flavour::list));
  for (const ExprPtr& item : expr.items) {
    LM_TRY(Value value, evaluate(*item));
    LM_CHECK(list->push(std::move(value)));
  }
  return to_value(list);
}

Eval<Value> Interpreter::evaluate_map(const Expr& expr) {
  LM_TRY(const Ref<MapObject> map, make_map(budget_));
  for (std::size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    LM_TRY(const Value key, evaluate(*expr.items[i]));
    LM_TRY(Value value, evaluate(*expr.items[i + 1]));
    LM_CHECK(map->set(key, std::move(value)));
  }
  return to_value(map);
}

/// `and` and `or` give one of their operands, as in Python.
Eval<Value> Interpreter::evaluate_logic(const Expr& expr) {
  const bool stop_at = expr.kind == ExprKind::logical_or;
  Value value;
  for (const ExprPtr& item : expr.items) {
    LM_TRY(value, evaluate(*item));
    if (truth(value) == stop_at) {
      break;
    }
  }
  return value;
}

Eval<Value> Interpreter::evaluate_chain(const Expr& expr) {
  LM_TRY(Value value, evaluate(*expr.items.front()));
  for (std::size_t i = 0; i < expr.ops.size(); ++i) {
    LM_TRY(const Value next, evaluate(*expr.items[i + 1]));
    budget_.line = expr.items[i + 1]->line;
    LM_TRY(value, binary(expr.ops[i], value, next));
  }
  return value;
}

Eval<Value> Interpreter::evaluate_concat(const Expr& expr) {
  TextBuilder out(budget_);
  for (const ExprPtr& item : expr.items) {
    LM_TRY(const Value value, evaluate(*item));
    append_str(out, budget_, value);
  }
  return out.finish();
}

Eval<Value> Interpreter::evaluate_compare(const Expr& expr) {
  LM_TRY(Value left, evaluate(*expr.items.front()));
  for (std::size_t i = 0; i < expr.ops.size(); ++i) {
    LM_TRY(Value right, evaluate(*expr.items[i + 1]));
    LM_TRY(const bool holds, compare(expr.ops[i], left, right));
    if (!holds) {
      return Value::boolean(false);
    }
    left = std::move(right);
  }
  return Value::boolean(true);
}

Eval<bool> Interpreter::compare(Op op, const Value& a, const Value& b) {
  switch (op) {
    case Op::equal:
      return equal(budget_, a, b);
    case Op::not_equal: {
      LM_TRY(const bool same, equal(budget_, a, b));
      return !same;
    }
    case Op::less:
      return less(budget_, a, b);
    case Op::greater:
      return less(budget_, b, a);
    case Op::less_equal:
    case Op::greater_equal: {
      const bool swapped = op == Op::greater_equal;
      LM_TRY(const bool before, less(budget_, swapped ? b : a, swapped ? a : b));
      return before ? Eval<bool>(true) : equal(budget_, a, b);
    }
    case Op::in:
      return contains(b, a);
    case Op::not_in: {
      LM_TRY(const bool inside, contains(b, a));
      return !inside;
    }
    default:
      return false;
  }
}

Eval<Value> Interpreter::evaluate_condition(const Expr& expr) {
  LM_TRY(const Value test, evaluate(*expr.items[1]));
  if (truth(test)) {
    return evaluate(*expr.items[0]);
  }
  if (expr.items.size() > 2) {
    return evaluate(*expr.items[2]);
  }
  return make_undefined(
      budget_, "the inline if on line " + std::to_string(expr.line) + " was false and has no else");
}

Eval<Value> Interpreter::evaluate_subscript(const Expr& expr) {
  LM_TRY(const Value object, evaluate(*expr.items[0]));
  if (expr.kind == ExprKind::subscript) {
    LM_TRY(const Value key, evaluate(*expr.items[1]));
    return item(object, key);
  }
  Value parts[3] = {Value::none(), Value::none(), Value::none()};
  for (std::size_t i = 0; i < 3; ++i) {
    if (expr.items[i + 1]) {
      LM_TRY(parts[i], evaluate(*expr.items[i + 1]));
    }
  }
  return slice(object, parts[0], parts[1], parts[2]);
}

Eval<Value> Interpreter::evaluate_sign(const Expr& expr) {
  LM_TRY(const Value value, evaluate(*expr.items.front()));
  const bool negative = expr.kind == ExprKind::negate;
  if (value.is(Kind::real)) {
    return negative ? Value::real(-value.as_double(), value.origin()) : value;
  }
  if (value.is_integral()) {
    std::int64_t result = value.as_integer();
    if (negative && __builtin_sub_overflow(std::int64_t{0}, value.as_integer(), &result)) {
      return budget_.fail("integer overflow: the limit is 64 bits");
    }
    return Value::integer(result, value.origin());
  }
  return budget_.fail(value.is(Kind::undefined)
                          ? value.undefined_hint()
                          : std::string("bad operand of a sign: ") + std::string(type_name(value)));
}

Eval<Arguments> Interpreter::evaluate_arguments(const ArgumentList* list) {
  Arguments arguments;
  if (!list) {
    return arguments;
  }
  for (const ExprPtr& item : list->positional) {
    LM_TRY(Value value, evaluate(*item));
    arguments.positional.push_back(std::move(value));
  }
  if (list->splat) {
    LM_TRY(const Value values, evaluate(*list->splat));
    LM_TRY(std::vector<Value> more, elements(values));
    std::ranges::move(more, std::back_inserter(arguments.positional));
  }
  for (const ArgumentList::Named& named : list->named) {
    LM_TRY(Value value, evaluate(*named.value));
    arguments.named.emplace_back(named.name, std::move(value));
  }
  if (list->named_splat) {
    LM_TRY(const Value map, evaluate(*list->named_splat));
    if (!map.is(Kind::map)) {
      return budget_.fail("a map is expected behind '**', not a " + std::string(type_name(map)));
    }
    for (const MapObject::Entry& entry : map.map().entries) {
      if (!entry.key.is(Kind::text)) {
        return budget_.fail("keywords must be strings");
      }
      arguments.named.emplace_back(entry.key.view(), entry.value);
    }
  }
  return arguments;
}

Eval<Value> Interpreter::evaluate_call(const Expr& expr, const Value* caller) {
  LM_TRY(const Value callee, evaluate(*expr.items.front()));
  LM_TRY(Arguments arguments, evaluate_arguments(expr.arguments.get()));
  if (caller) {
    arguments.named.emplace_back("caller", *caller);
  }
  budget_.line = expr.line;
  return call(callee, std::move(arguments));
}

Eval<Value> Interpreter::evaluate_filter(const Expr& expr, const Value* piped) {
  LM_NESTED(budget_);
  Value value;
  if (!expr.items.front()) {
    value = *piped;
  } else if (piped && expr.items.front()->kind == ExprKind::filter) {
    LM_TRY(value, evaluate_filter(*expr.items.front(), piped));
  } else {
    LM_TRY(value, evaluate(*expr.items.front()));
  }
  LM_TRY(Arguments arguments, evaluate_arguments(expr.arguments.get()));
  budget_.line = expr.line;
  if (!expr.function) {
    return budget_.fail("there is no filter named '" + expr.text + "'");
  }
  return run_function(*this, *expr.function, value, std::move(arguments));
}

Eval<Value> Interpreter::evaluate_test(const Expr& expr) {
  LM_TRY(const Value value, evaluate(*expr.items.front()));
  LM_TRY(Arguments arguments, evaluate_arguments(expr.arguments.get()));
  budget_.line = expr.line;
  if (!expr.function) {
    return budget_.fail("there is no test named '" + expr.text + "'");
  }
  return run_function(*this, *expr.function, value, std::move(arguments));
}

Eval<Value> Interpreter::apply_filter(std::string_view name, const Value& value,
                                      Arguments arguments) {
  const Function* function = find_filter(name);
  if (!function) {
    return budget_.fail("there is no filter named '" + std::string(name) + "'");
  }
  LM_NESTED(budget_);
  return run_function(*this, *function, value, std::move(arguments));
}

Eval<bool> Interpreter::apply_test(std::string_view name, const Value& value, Arguments arguments) {
  const Function* function = find_test(name);
  if (!function) {
    return budget_.fail("there is no test named '" + std::string(name) + "'");
  }
  LM_TRY(const Value answer, run_function(*this, *function, value, std::move(arguments)));
  return truth(answer);
}

Eval<Value> Interpreter::call(const Value& callee, Arguments arguments) {
  LM_NESTED(budget_);
  if (callee.is(Kind::undefined)) {
    return budget_.fail(callee.undefined_hint());
  }
  if (!callee.is(Kind::native) || !callee.native().callable()) {
    return budget_.fail("a " + std::string(type_name(callee)) + " can't be called");
  }
  return callee.native().call(*this, std::move(arguments));
}

}  // namespace lm::jinja
