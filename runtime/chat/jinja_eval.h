/// Runs a program. One interpreter per render; not shared between threads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/chat/jinja_ast.h"
#include "runtime/chat/jinja_functions.h"

namespace lm::jinja {

/// Names that a loop body, macro or block sets for itself. Looked up outwards.
struct Scope : Object {
  using Object::Object;
  Value* find(Symbol symbol);
  Eval<void> set(Symbol symbol, Value value);
  std::vector<std::pair<Symbol, Value>> variables;
  Ref<Scope> parent;
};

class Interpreter {
 public:
  /// `now_unix` 0: the clock.
  Interpreter(Budget& budget, const Program& program, std::int64_t now_unix);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  /// Makes a variable of the context. Names that begin with two underscores are ignored.
  void define(const std::string& name, Value value);

  /// Renders into text with origins.
  Eval<Text> render();

  Budget& budget() { return budget_; }
  std::int64_t now_unix() const { return now_unix_; }

  // What filters, methods and objects need.

  /// Python's x.name as Jinja sees it: methods first, then keys; undefined when there is neither.
  Eval<Value> attribute(const Value& object, std::string_view name);
  /// x[key]: items and keys first, then methods.
  Eval<Value> item(const Value& object, const Value& key);
  Eval<Value> slice(const Value& object, const Value& start, const Value& stop, const Value& step);
  Eval<Value> call(const Value& callee, Arguments arguments);
  /// Elements of a list, characters of a text, keys of a map. A lazy list is used up.
  Eval<std::vector<Value>> elements(const Value& iterable);
  Eval<std::int64_t> length(const Value& value);
  Eval<bool> contains(const Value& container, const Value& item);
  Eval<Value> binary(Op op, const Value& a, const Value& b);
  Eval<Value> apply_filter(std::string_view name, const Value& value, Arguments arguments);
  Eval<bool> apply_test(std::string_view name, const Value& value, Arguments arguments);
  /// A container that was changed may now contain itself; such are taken apart when the render
  /// ends.
  void note_mutation(const Value& container, const Value& inserted);

  // What macros and loops need.
  Eval<Value> run_macro(const Stmt& macro, const std::string& name, const Ref<Scope>& closure,
                        Arguments arguments);
  Eval<Value> run_recursive_loop(const Stmt& loop, const Ref<Scope>& scope, std::uint32_t depth,
                                 const Value& iterable);

 private:
  enum class Flow : std::uint8_t { normal, break_loop, continue_loop };

  // Statements.
  Eval<Flow> run(const Body& body);
  Eval<Flow> run(const Stmt& stmt);
  Eval<Flow> run_scoped(const Body& body);
  Eval<Flow> run_if(const Stmt& stmt);
  Eval<Flow> run_for(const Stmt& stmt);
  Eval<Flow> run_loop(const Stmt& stmt, const Value& iterable, std::uint32_t depth);
  Eval<Flow> run_set_block(const Stmt& stmt);
  Eval<Flow> run_filter_block(const Stmt& stmt);
  Eval<Flow> run_call_block(const Stmt& stmt);
  Eval<Flow> run_with(const Stmt& stmt);
  Eval<void> run_macro_definition(const Stmt& stmt);
  /// Runs `body` in a scope of its own and gives what it wrote.
  Eval<Flow> capture(const Body& body, Value& written);
  Eval<void> bind_macro_arguments(const Stmt& macro, const std::string& name, Arguments arguments);
  Eval<void> assign(const Expr& target, const Value& value);
  Eval<void> assign_attribute(const Expr& target, const Value& value);
  Eval<Ref<Scope>> push_scope(const Ref<Scope>& parent);

  // Expressions.
  Eval<Value> evaluate(const Expr& expr);
  Eval<Value> evaluate_name(const Expr& expr);
  Eval<Value> evaluate_text(const Expr& expr);
  Eval<Value> evaluate_list(const Expr& expr);
  Eval<Value> evaluate_map(const Expr& expr);
  Eval<Value> evaluate_logic(const Expr& expr);
  Eval<Value> evaluate_chain(const Expr& expr);
  Eval<Value> evaluate_concat(const Expr& expr);
  Eval<Value> evaluate_compare(const Expr& expr);
  Eval<Value> evaluate_condition(const Expr& expr);
  Eval<Value> evaluate_subscript(const Expr& expr);
  Eval<Value> evaluate_call(const Expr& expr, const Value* caller = nullptr);
  Eval<Value> evaluate_filter(const Expr& expr, const Value* piped = nullptr);
  Eval<Value> evaluate_test(const Expr& expr);
  Eval<Value> evaluate_sign(const Expr& expr);
  Eval<Arguments> evaluate_arguments(const ArgumentList* list);
  Eval<bool> compare(Op op, const Value& a, const Value& b);
  /// Runs a chain of filters of a block on `value`.
  Eval<Value> filter_through(const Expr* filters, Value value);

  Budget& budget_;
  const Program& program_;
  const std::int64_t now_unix_;
  std::vector<std::optional<Value>>
      context_;  ///< by symbol: variables given from outside, then functions of ours
  std::unordered_map<const Expr*, Value> literals_;  ///< texts of the template, made once
  Ref<Scope> scope_;
  TextBuilder* out_ = nullptr;
  std::vector<Value> cyclic_;  ///< may contain themselves
};

/// `range`, `namespace`, `raise_exception` and the others, as variables below those of the context.
void define_globals(Interpreter& interpreter);

}  // namespace lm::jinja
