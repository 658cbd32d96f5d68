/// A compiled template. Immutable, shared by renders of several threads; it holds no values, only
/// plain data.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lm::jinja {

using Symbol = std::uint32_t;  ///< index into Program::names

struct Function;
struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

/// What an expression is; in brackets which fields it uses besides `line`.
enum class ExprKind : std::uint8_t {
  none,
  boolean,      ///< integer
  integer,      ///< integer
  real,         ///< real
  text,         ///< text
  name,         ///< symbol
  list,         ///< items
  tuple,        ///< items
  map,          ///< items: key, value, key, value, …
  negate,       ///< items[0]
  plus,         ///< items[0]
  logical_not,  ///< items[0]
  logical_and,  ///< items, two or more
  logical_or,   ///< items, two or more
  chain,        ///< items[0] ops[0] items[1] ops[1] …, from the left: arithmetic of one precedence
  concat,       ///< items, two or more, joined by ~
  compare,      ///< items[0] ops[0] items[1] … as Python chains them
  condition,    ///< items: value, test, other value (may be missing)
  attribute,    ///< items[0], text
  subscript,    ///< items[0], items[1]
  slice,        ///< items: object, start, stop, step (null: left out)
  call,         ///< items[0] is called with arguments
  filter,       ///< items[0] (null inside a filter block), text, function, arguments
  test,         ///< items[0], text, function, arguments
};

enum class Op : std::uint8_t {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in,
};

/// What stands between the brackets of a call.
struct ArgumentList {
  struct Named {
    std::string name;
    ExprPtr value;
  };
  std::vector<ExprPtr> positional;
  std::vector<Named> named;
  ExprPtr splat;        ///< *list
  ExprPtr named_splat;  ///< **map
};

struct Expr {
  ExprKind kind = ExprKind::none;
  std::uint32_t line = 1;
  std::uint32_t depth = 1;  ///< levels of nesting below and including this
  Symbol symbol = 0;
  std::int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<ExprPtr> items;
  std::vector<Op> ops;
  std::unique_ptr<ArgumentList> arguments;
  const Function* function =
      nullptr;  ///< of a filter or test; null when there is none of that name
};

struct Stmt;
using Body = std::vector<Stmt>;

enum class StmtKind : std::uint8_t {
  data,          ///< text
  output,        ///< value
  if_chain,      ///< branches; otherwise
  for_loop,      ///< target, value, filter (may be null), recursive, body, otherwise
  set,           ///< target, value
  set_block,     ///< target, value (the filters, may be null), body
  filter_block,  ///< value (the filters), body
  macro,         ///< symbol, signature, body
  call_block,    ///< value (the call), signature of the caller, body
  with,          ///< targets, values, body
  scope,         ///< body: generation and named blocks
  break_loop,
  continue_loop,
};

struct Signature {
  struct Parameter {
    Symbol symbol = 0;
    ExprPtr fallback;  ///< null: none
  };
  std::vector<Parameter> parameters;
  bool takes_varargs = false, takes_kwargs = false,
       takes_caller = false;  ///< the body uses these names
};

struct Branch;

struct Stmt {
  StmtKind kind = StmtKind::data;
  std::uint32_t line = 1;
  bool recursive = false;
  Symbol symbol = 0;
  std::string text;
  ExprPtr target, value, filter;
  std::vector<ExprPtr> targets, values;
  std::unique_ptr<Signature> signature;
  std::vector<Branch> branches;
  Body body, otherwise;
};

struct Branch {
  ExprPtr condition;
  Body body;
};

struct Program {
  std::string name;
  Body body;
  std::vector<std::string> names;  ///< by symbol
  std::unordered_map<std::string, Symbol> symbols;
  Symbol loop = 0, varargs = 0, kwargs = 0, caller = 0;
};

}  // namespace lm::jinja
