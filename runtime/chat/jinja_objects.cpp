#include "runtime/chat/jinja_objects.h"

namespace lm::jinja {

namespace {

/// Memory for an object that is about to be made.
Eval<void> room_for(Budget& budget, std::uint64_t bytes) {
  LM_CHECK(budget.charge(bytes));
  budget.give_back(bytes);
  return {};
}

template <class T>
Eval<std::optional<Value>> method(Interpreter& interpreter, T* self, std::string_view name,
                                  FunctionObject::Run run) {
  LM_CHECK(room_for(interpreter.budget(), sizeof(FunctionObject)));
  const Ref<FunctionObject> bound(
      new FunctionObject(interpreter.budget(), std::string(name), run, self));
  LM_CHECK(bound->charge(sizeof(FunctionObject)));
  return std::optional(to_native(bound));
}

}  // namespace

Eval<Ref<MacroObject>> MacroObject::make(Budget& budget, const Stmt& stmt, std::string name,
                                         const Ref<Scope>& closure) {
  const std::uint64_t bytes = sizeof(MacroObject) + name.size() + 2 * sizeof(Value);
  LM_CHECK(room_for(budget, bytes));
  Ref<MacroObject> macro(new MacroObject(budget));
  LM_CHECK(macro->charge(bytes));
  macro->stmt_ = &stmt;
  macro->name_ = std::move(name);
  macro->closure_ = closure;
  return macro;
}

Eval<Value> MacroObject::call(Interpreter& interpreter, Arguments arguments) {
  const Ref<MacroObject> alive(this);
  return interpreter.run_macro(*stmt_, name_, closure_, std::move(arguments));
}

Eval<std::optional<Value>> MacroObject::attribute(Interpreter& interpreter, std::string_view name) {
  const Signature& signature = *stmt_->signature;
  if (name == "name") {
    LM_TRY(Value text, make_text(interpreter.budget(), name_));
    return std::optional(std::move(text));
  }
  if (name == "catch_varargs" || name == "catch_kwargs" || name == "caller") {
    const bool answer = name == "caller"          ? signature.takes_caller
                        : name == "catch_varargs" ? signature.takes_varargs
                                                  : signature.takes_kwargs;
    return std::optional(Value::boolean(answer));
  }
  return std::optional<Value>();
}

void MacroObject::forget() {
  const Ref<Scope> scope = std::exchange(closure_, Ref<Scope>());
  if (scope) {
    std::vector<std::pair<Symbol, Value>>().swap(scope->variables);
  }
}

Eval<Ref<LoopObject>> LoopObject::make(Budget& budget, std::vector<Value> items,
                                       std::uint32_t depth, const Stmt* recursive,
                                       const Ref<Scope>& scope) {
  const std::uint64_t bytes = sizeof(LoopObject) + items.size() * sizeof(Value);
  LM_CHECK(room_for(budget, bytes));
  Ref<LoopObject> loop(new LoopObject(budget));
  LM_CHECK(loop->charge(bytes));
  loop->items = std::move(items);
  loop->depth_ = depth;
  loop->recursive_ = recursive;
  loop->scope_ = scope;
  return loop;
}

std::string LoopObject::describe() const {
  return "<LoopContext " + std::to_string(index0 + 1) + "/" + std::to_string(items.size()) + ">";
}

Eval<Value> LoopObject::call(Interpreter& interpreter, Arguments arguments) {
  if (!recursive_ || arguments.positional.size() != 1 || !arguments.named.empty()) {
    return interpreter.budget().fail(recursive_ ? "loop() takes one list"
                                                : "loop() needs a loop that is marked 'recursive'");
  }
  const Ref<LoopObject> alive(this);
  return interpreter.run_recursive_loop(*recursive_, scope_, depth_ + 1,
                                        arguments.positional.front());
}

Eval<Value> LoopObject::cycle(Arguments arguments) {
  if (arguments.positional.empty()) {
    return budget().fail("loop.cycle() needs something to cycle through");
  }
  return arguments.positional[index0 % arguments.positional.size()];
}

Eval<Value> LoopObject::changed(Arguments arguments) {
  bool same = last_ && last_->size() == arguments.positional.size();
  for (std::size_t i = 0; same && i < last_->size(); ++i) {
    LM_TRY(same, equal(budget(), (*last_)[i], arguments.positional[i]));
  }
  LM_CHECK(charge(arguments.positional.size() * sizeof(Value)));
  last_ = std::move(arguments.positional);
  return Value::boolean(!same);
}

Eval<std::optional<Value>> LoopObject::attribute(Interpreter& interpreter, std::string_view name) {
  const auto number = [](std::size_t value) {
    return Value::integer(static_cast<std::int64_t>(value));
  };
  const auto outside = [&](const char* what) { return make_undefined(budget(), what); };
  std::optional<Value> found;
  if (name == "index") {
    found = number(index0 + 1);
  } else if (name == "index0") {
    found = number(index0);
  } else if (name == "revindex") {
    found = number(items.size() - index0);
  } else if (name == "revindex0") {
    found = number(items.size() - index0 - 1);
  } else if (name == "first") {
    found = Value::boolean(index0 == 0);
  } else if (name == "last") {
    found = Value::boolean(index0 + 1 == items.size());
  } else if (name == "length") {
    found = number(items.size());
  } else if (name == "depth") {
    found = number(depth_ + 1);
  } else if (name == "depth0") {
    found = number(depth_);
  } else if (name == "previtem") {
    found = index0 > 0 ? items[index0 - 1] : outside("there is no previous item");
  } else if (name == "nextitem") {
    found = index0 + 1 < items.size() ? items[index0 + 1] : outside("there is no next item");
  } else if (name == "cycle") {
    return method(interpreter, this, name, [](Interpreter&, Native* self, Arguments arguments) {
      return static_cast<LoopObject*>(self)->cycle(std::move(arguments));
    });
  } else if (name == "changed") {
    return method(interpreter, this, name, [](Interpreter&, Native* self, Arguments arguments) {
      return static_cast<LoopObject*>(self)->changed(std::move(arguments));
    });
  }
  return found;
}

std::string MethodObject::describe() const {
  return "<method " + std::string(function_.name) + " of " + std::string(type_name(self_)) + ">";
}

Eval<Value> MethodObject::call(Interpreter& interpreter, Arguments arguments) {
  const Ref<MethodObject> alive(this);
  return run_function(interpreter, function_, self_, std::move(arguments));
}

}  // namespace lm::jinja
