#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_objects.h"
#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

Value* Scope::find(Symbol symbol) {
  for (auto& [name, value] : variables) {
    if (name == symbol) {
      return &value;
    }
  }
  return nullptr;
}

Eval<void> Scope::set(Symbol symbol, Value value) {
  if (Value* old = find(symbol)) {
    *old = std::move(value);
    return {};
  }
  LM_CHECK(charge(2 * sizeof(variables.front())));
  variables.emplace_back(symbol, std::move(value));
  return {};
}

Interpreter::Interpreter(Budget& budget, const Program& program, std::int64_t now_unix)
    : budget_(budget), program_(program), now_unix_(now_unix), context_(program.names.size()) {
  define_globals(*this);
}

Interpreter::~Interpreter() {
  for (const Value& container : cyclic_) {
    if (container.is(Kind::list)) {
      std::vector<Value>().swap(container.list().items);
    } else if (container.is(Kind::map)) {
      container.map().clear();
    } else if (container.is(Kind::native)) {
      container.native().forget();
    }
  }
}

void Interpreter::define(const std::string& name, Value value) {
  const auto found = program_.symbols.find(name);
  if (found != program_.symbols.end() && !name.starts_with("__")) {
    context_[found->second] = std::move(value);
  }
}

void Interpreter::note_mutation(const Value& container, const Value& inserted) {
  const bool holds_others =
      inserted.is(Kind::list) || inserted.is(Kind::map) || inserted.is(Kind::native);
  bool& known = container.is(Kind::list) ? container.list().may_cycle : container.map().may_cycle;
  if (holds_others && !known) {
    known = true;
    cyclic_.push_back(container);
  }
}

Eval<Text> Interpreter::render() {
  LM_TRY(scope_, push_scope(Ref<Scope>()));
  TextBuilder out(budget_);
  out.count_as_output();
  out_ = &out;
  LM_CHECK(run(program_.body));
  return out.take();
}

Eval<Ref<Scope>> Interpreter::push_scope(const Ref<Scope>& parent) {
  LM_CHECK(budget_.charge(sizeof(Scope)));
  budget_.give_back(sizeof(Scope));
  Ref<Scope> scope(new Scope(budget_));
  LM_CHECK(scope->charge(sizeof(Scope)));
  scope->parent = parent;
  return scope;
}

Eval<Interpreter::Flow> Interpreter::run(const Body& body) {
  LM_NESTED(budget_);
  for (const Stmt& stmt : body) {
    budget_.line = stmt.line;
    LM_CHECK(budget_.step());
    LM_TRY(const Flow flow, run(stmt));
    if (out_->failed()) {
      return std::unexpected(std::move(out_->take()).error());
    }
    if (flow != Flow::normal) {
      return flow;
    }
  }
  return Flow::normal;
}

Eval<Interpreter::Flow> Interpreter::run(const Stmt& stmt) {
  switch (stmt.kind) {
    case StmtKind::data:
      out_->append(stmt.text, Origin::literal);
      return Flow::normal;
    case StmtKind::output: {
      LM_TRY(const Value value, evaluate(*stmt.value));
      append_str(*out_, budget_, value);
      return Flow::normal;
    }
    case StmtKind::if_chain:
      return run_if(stmt);
    case StmtKind::for_loop:
      return run_for(stmt);
    case StmtKind::set: {
      LM_TRY(const Value value, evaluate(*stmt.value));
      LM_CHECK(assign(*stmt.target, value));
      return Flow::normal;
    }
    case StmtKind::set_block:
      return run_set_block(stmt);
    case StmtKind::filter_block:
      return run_filter_block(stmt);
    case StmtKind::macro:
      LM_CHECK(run_macro_definition(stmt));
      return Flow::normal;
    case StmtKind::call_block:
      return run_call_block(stmt);
    case StmtKind::with:
      return run_with(stmt);
    case StmtKind::scope:
      return run_scoped(stmt.body);
    case StmtKind::break_loop:
      return Flow::break_loop;
    case StmtKind::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::normal;
}

Eval<Interpreter::Flow> Interpreter::run_scoped(const Body& body) {
  const Ref<Scope> outer = scope_;
  LM_TRY(scope_, push_scope(outer));
  auto flow = run(body);
  scope_ = outer;
  return flow;
}

Eval<Interpreter::Flow> Interpreter::run_if(const Stmt& stmt) {
  for (const Branch& branch : stmt.branches) {
    budget_.line = branch.condition->line;
    LM_TRY(const Value condition, evaluate(*branch.condition));
    if (truth(condition)) {
      return run(branch.body);
    }
  }
  return run(stmt.otherwise);
}

Eval<Interpreter::Flow> Interpreter::run_for(const Stmt& stmt) {
  LM_TRY(const Value iterable, evaluate(*stmt.value));
  const Ref<Scope> outer = scope_;
  auto flow = run_loop(stmt, iterable, 0);
  scope_ = outer;
  return flow;
}

/// The caller puts `scope_` back. Every round has a scope of its own: what it sets is gone in the
/// next one.
Eval<Interpreter::Flow> Interpreter::run_loop(const Stmt& stmt, const Value& iterable,
                                              std::uint32_t depth) {
  const Ref<Scope> outer = scope_;
  LM_TRY(std::vector<Value> items, elements(iterable));
  if (stmt.filter) {
    std::vector<Value> kept;
    for (Value& element : items) {
      LM_TRY(scope_, push_scope(outer));
      LM_CHECK(assign(*stmt.target, element));
      LM_TRY(const Value keep, evaluate(*stmt.filter));
      if (truth(keep)) {
        kept.push_back(std::move(element));
      }
    }
    scope_ = outer;
    items = std::move(kept);
  }
  if (items.empty()) {
    return run_scoped(stmt.otherwise);
  }
  LM_TRY(const Ref<LoopObject> loop, LoopObject::make(budget_, std::move(items), depth,
                                                      stmt.recursive ? &stmt : nullptr, outer));
  for (; loop->index0 < loop->items.size(); ++loop->index0) {
    budget_.line = stmt.line;
    LM_TRY(scope_, push_scope(outer));
    LM_CHECK(scope_->set(program_.loop, to_native(loop)));
    LM_CHECK(assign(*stmt.target, loop->items[loop->index0]));
    LM_TRY(const Flow flow, run(stmt.body));
    if (flow == Flow::break_loop) {
      break;
    }
  }
  return Flow::normal;
}

Eval<Value> Interpreter::run_recursive_loop(const Stmt& loop, const Ref<Scope>& scope,
                                            std::uint32_t depth, const Value& iterable) {
  LM_CHECK(budget_.enter_macro());
  TextBuilder written(budget_);
  TextBuilder* const outer_out = std::exchange(out_, &written);
  const Ref<Scope> outer = std::exchange(scope_, scope);
  const auto flow = run_loop(loop, iterable, depth);
  scope_ = outer;
  out_ = outer_out;
  budget_.leave_macro();
  if (!flow) {
    return std::unexpected(std::make_unique<Failure>(*flow.error()));
  }
  return written.finish();
}

Eval<Interpreter::Flow> Interpreter::capture(const Body& body, Value& text) {
  TextBuilder written(budget_);
  TextBuilder* const outer_out = std::exchange(out_, &written);
  auto flow = run_scoped(body);
  out_ = outer_out;
  if (flow) {
    LM_TRY(text, written.finish());
  }
  return flow;
}

Eval<Value> Interpreter::filter_through(const Expr* filters, Value value) {
  return filters ? evaluate_filter(*filters, &value) : Eval<Value>(std::move(value));
}

Eval<Interpreter::Flow> Interpreter::run_set_block(const Stmt& stmt) {
  Value text;
  LM_TRY(const Flow flow, capture(stmt.body, text));
  if (flow == Flow::normal) {
    LM_TRY(const Value value, filter_through(stmt.value.get(), std::move(text)));
    LM_CHECK(assign(*stmt.target, value));
  }
  return flow;
}

Eval<Interpreter::Flow> Interpreter::run_filter_block(const Stmt& stmt) {
  Value text;
  LM_TRY(const Flow flow, capture(stmt.body, text));
  if (flow == Flow::normal) {
    LM_TRY(const Value value, filter_through(stmt.value.get(), std::move(text)));
    append_str(*out_, budget_, value);
  }
  return flow;
}

Eval<Interpreter::Flow> Interpreter::run_call_block(const Stmt& stmt) {
  LM_TRY(const Ref<MacroObject> caller, MacroObject::make(budget_, stmt, "caller", scope_));
  const Value body = to_native(caller);
  cyclic_.push_back(body);
  LM_TRY(const Value value, evaluate_call(*stmt.value, &body));
  append_str(*out_, budget_, value);
  return Flow::normal;
}

Eval<Interpreter::Flow> Interpreter::run_with(const Stmt& stmt) {
  const Ref<Scope> outer = scope_;
  LM_TRY(const Ref<Scope> inner, push_scope(outer));
  for (std::size_t i = 0; i < stmt.targets.size(); ++i) {
    // Values see what stands outside, not each other.
    LM_TRY(const Value value, evaluate(*stmt.values[i]));
    LM_CHECK(inner->set(stmt.targets[i]->symbol, value));
  }
  scope_ = inner;
  auto flow = run(stmt.body);
  scope_ = outer;
  return flow;
}

Eval<void> Interpreter::run_macro_definition(const Stmt& stmt) {
  LM_TRY(const Ref<MacroObject> macro,
         MacroObject::make(budget_, stmt, program_.names[stmt.symbol], scope_));
  const Value value = to_native(macro);
  cyclic_.push_back(value);  // the scope that names it is the scope it sees
  return scope_->set(stmt.symbol, value);
}

Eval<Value> Interpreter::run_macro(const Stmt& macro, const std::string& name,
                                   const Ref<Scope>& closure, Arguments arguments) {
  LM_CHECK(budget_.enter_macro());
  const Ref<Scope> outer = scope_;
  const std::uint32_t line = budget_.line;
  TextBuilder written(budget_);
  TextBuilder* const outer_out = std::exchange(out_, &written);
  Eval<Flow> flow = Flow::normal;
  if (auto scope = push_scope(closure); !scope) {
    flow = std::unexpected(std::move(scope).error());
  } else {
    scope_ = *scope;
    auto bound = bind_macro_arguments(macro, name, std::move(arguments));
    flow = bound ? run(macro.body) : std::unexpected(std::move(bound).error());
  }
  out_ = outer_out;
  scope_ = outer;
  budget_.leave_macro();
  if (!flow) {
    return std::unexpected(std::move(flow).error());
  }
  budget_.line = line;
  return written.finish();
}

Eval<void> Interpreter::bind_macro_arguments(const Stmt& macro, const std::string& name,
                                             Arguments arguments) {
  const Signature& signature = *macro.signature;
  const auto& parameters = signature.parameters;
  std::vector<std::optional<Value>> given(parameters.size());
  LM_TRY(const Ref<ListObject> extra, make_list(budget_, ListObject::Flavour::tuple));
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < parameters.size()) {
      given[i] = std::move(arguments.positional[i]);
    } else {
      LM_CHECK(extra->push(std::move(arguments.positional[i])));
    }
  }
  if (!extra->items.empty() && !signature.takes_varargs) {
    return budget_.fail("macro '" + name + "' takes not more than " +
                        std::to_string(parameters.size()) + " arguments");
  }
  LM_TRY(const Ref<MapObject> named, make_map(budget_));
  std::optional<Value> caller;
  for (auto& [key, value] : arguments.named) {
    std::size_t at = 0;
    while (at < parameters.size() && program_.names[parameters[at].symbol] != key) {
      ++at;
    }
    if (at < parameters.size()) {
      if (given[at]) {
        return budget_.fail("macro '" + name + "' got two values for '" + key + "'");
      }
      given[at] = std::move(value);
    } else if (key == "caller" && signature.takes_caller) {
      caller = std::move(value);
    } else if (signature.takes_kwargs) {
      LM_TRY(const Value spelt, make_text(budget_, key));
      LM_CHECK(named->set(spelt, std::move(value)));
    } else {
      return budget_.fail("macro '" + name + "' takes no argument '" + key + "'");
    }
  }
  if (signature.takes_caller) {
    LM_CHECK(scope_->set(program_.caller,
                         caller ? *caller : make_undefined(budget_, "no caller defined")));
  }
  if (signature.takes_varargs) {
    LM_CHECK(scope_->set(program_.varargs, to_value(extra)));
  }
  if (signature.takes_kwargs) {
    LM_CHECK(scope_->set(program_.kwargs, to_value(named)));
  }
  // In this order: a default may use the parameters before it.
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!given[i] && parameters[i].fallback) {
      LM_TRY(given[i], evaluate(*parameters[i].fallback));
    } else if (!given[i]) {
      given[i] = make_undefined(
          budget_, "parameter '" + program_.names[parameters[i].symbol] + "' was not provided");
    }
    LM_CHECK(scope_->set(parameters[i].symbol, *given[i]));
  }
  return {};
}

Eval<void> Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::name) {
    return scope_->set(target.symbol, value);
  }
  if (target.kind == ExprKind::attribute) {
    return assign_attribute(target, value);
  }
  LM_TRY(std::vector<Value> parts, elements(value));
  if (parts.size() != target.items.size()) {
    return budget_.fail("can't unpack " + std::to_string(parts.size()) + " values into " +
                        std::to_string(target.items.size()) + " names");
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    LM_CHECK(assign(*target.items[i], parts[i]));
  }
  return {};
}

Eval<void> Interpreter::assign_attribute(const Expr& target, const Value& value) {
  LM_TRY(const Value object, evaluate(*target.items.front()));
  if (!object.is(Kind::map) || !object.map().is_namespace) {
    return budget_.fail("can't set attribute '" + target.text + "' of a " +
                        std::string(type_name(object)) +
                        "; only a namespace has attributes that can be set");
  }
  LM_TRY(const Value key, make_text(budget_, target.text));
  note_mutation(object, value);
  return object.map().set(key, value);
}

}  // namespace lm::jinja
