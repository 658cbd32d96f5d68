/// Objects that a template can call or ask for attributes.
#pragma once

#include "runtime/chat/jinja_eval.h"

namespace lm::jinja {

/// A macro, or the body of a call block.
class MacroObject : public Native {
 public:
  static Eval<Ref<MacroObject>> make(Budget& budget, const Stmt& stmt, std::string name,
                                     const Ref<Scope>& closure);
  using Native::Native;
  std::string describe() const override { return "<Macro '" + name_ + "'>"; }
  Eval<Value> call(Interpreter& interpreter, Arguments arguments) override;
  Eval<std::optional<Value>> attribute(Interpreter& interpreter, std::string_view name) override;
  void forget() override;

 private:
  const Stmt* stmt_ = nullptr;
  std::string name_;
  Ref<Scope> closure_;
};

/// The variable `loop`.
class LoopObject : public Native {
 public:
  /// `recursive` is the loop's statement when it may be called, else null.
  static Eval<Ref<LoopObject>> make(Budget& budget, std::vector<Value> items, std::uint32_t depth,
                                    const Stmt* recursive, const Ref<Scope>& scope);
  using Native::Native;
  std::string describe() const override;
  bool callable() const override { return recursive_ != nullptr; }
  Eval<Value> call(Interpreter& interpreter, Arguments arguments) override;
  Eval<std::optional<Value>> attribute(Interpreter& interpreter, std::string_view name) override;

  Eval<Value> cycle(Arguments arguments);
  Eval<Value> changed(Arguments arguments);

  std::vector<Value> items;
  std::size_t index0 = 0;

 private:
  std::uint32_t depth_ = 0;
  const Stmt* recursive_ = nullptr;
  Ref<Scope> scope_;
  std::optional<std::vector<Value>> last_;
};

/// A row of a table bound to an object: 'text'.upper.
class MethodObject : public Native {
 public:
  MethodObject(Budget& budget, const Function& function, Value self)
      : Native(budget), function_(function), self_(std::move(self)) {}
  std::string describe() const override;
  Eval<Value> call(Interpreter& interpreter, Arguments arguments) override;

 private:
  const Function& function_;
  Value self_;
};

/// A function of ours: range, namespace, raise_exception; also the methods of `loop`, `joiner` and
/// `cycler`.
class FunctionObject : public Native {
 public:
  using Run = Eval<Value> (*)(Interpreter& interpreter, Native* self, Arguments arguments);
  FunctionObject(Budget& budget, std::string name, Run run, Native* self = nullptr)
      : Native(budget), name_(std::move(name)), run_(run), self_(self) {}
  std::string describe() const override { return "<function " + name_ + ">"; }
  Eval<Value> call(Interpreter& interpreter, Arguments arguments) override {
    return run_(interpreter, self_.get(), std::move(arguments));
  }

 private:
  std::string name_;
  Run run_;
  Ref<Native> self_;
};

}  // namespace lm::jinja
