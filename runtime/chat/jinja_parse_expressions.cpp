#include "runtime/chat/jinja_parser.h"

namespace lm::jinja {

namespace {

using Token = LexToken::Kind;

struct OpName {
  std::string_view text;
  Op op;
};
constexpr OpName kComparisons[] = {{"==", Op::equal},  {"!=", Op::not_equal},
                                   {"<", Op::less},    {"<=", Op::less_equal},
                                   {">", Op::greater}, {">=", Op::greater_equal}};
constexpr OpName kSums[] = {{"+", Op::add}, {"-", Op::subtract}};
constexpr OpName kProducts[] = {
    {"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}};

template <std::size_t N>
const OpName* find_op(const LexToken& token, const OpName (&table)[N]) {
  for (const OpName& row : table) {
    if (token.kind == Token::op && token.text == row.text) {
      return &row;
    }
  }
  return nullptr;
}

}  // namespace

Eval<void> Parser::check_level() const {
  if (level_ > kMaxNesting) {
    return fail("nested deeper than " + std::to_string(kMaxNesting) + " levels");
  }
  return {};
}

Eval<void> Parser::check_depth(Expr& expr) const {
  for (const ExprPtr& item : expr.items) {
    expr.depth = std::max(expr.depth, item ? item->depth + 1 : 0);
  }
  if (expr.arguments) {
    for (const ExprPtr& item : expr.arguments->positional) {
      expr.depth = std::max(expr.depth, item->depth + 1);
    }
    for (const ArgumentList::Named& named : expr.arguments->named) {
      expr.depth = std::max(expr.depth, named.value->depth + 1);
    }
  }
  if (expr.depth > kMaxNesting) {
    return fail("nested deeper than " + std::to_string(kMaxNesting) + " levels");
  }
  return {};
}

Eval<ExprPtr> Parser::make(ExprKind kind, std::vector<ExprPtr> items) {
  if (++n_nodes_ > kMaxNodes) {
    return fail("more than " + std::to_string(kMaxNodes) + " nodes");
  }
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = current().line;
  expr->items = std::move(items);
  LM_CHECK(check_depth(*expr));
  return expr;
}

Eval<ExprPtr> Parser::parse_expression(bool with_condition) {
  return with_condition ? parse_condition() : parse_or();
}

Eval<ExprPtr> Parser::parse_tuple(bool with_condition, Names ends, bool in_parentheses) {
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) {
      if (!skip_op(",")) {
        break;
      }
      is_tuple = true;
    }
    const Token kind = current().kind;
    if (kind == Token::variable_end || kind == Token::block_end || kind == Token::end ||
        at_op(")") || at_any_name(ends)) {
      break;
    }
    LM_TRY(ExprPtr item, parse_expression(with_condition));
    items.push_back(std::move(item));
  }
  if (!is_tuple && items.size() == 1) {
    return std::move(items.front());
  }
  if (items.empty() && !in_parentheses) {
    return fail("an expression is expected, not " + describe(current()));
  }
  return make(ExprKind::tuple, std::move(items));
}

Eval<ExprPtr> Parser::parse_condition() {
  const Level level(*this);
  LM_CHECK(check_level());
  LM_TRY(ExprPtr value, parse_or());
  while (skip_name("if")) {
    std::vector<ExprPtr> items;
    items.push_back(std::move(value));
    LM_TRY(ExprPtr test, parse_or());
    items.push_back(std::move(test));
    if (skip_name("else")) {
      LM_TRY(ExprPtr other, parse_condition());
      items.push_back(std::move(other));
    }
    LM_TRY(value, make(ExprKind::condition, std::move(items)));
  }
  return value;
}

/// operand (name operand)*, or with an operator instead of a name, as one node of many items.
Eval<ExprPtr> Parser::parse_flat(ExprKind kind, Eval<ExprPtr> (Parser::*operand)(),
                                 std::string_view name, std::string_view op) {
  LM_TRY(ExprPtr first, (this->*operand)());
  std::vector<ExprPtr> items;
  items.push_back(std::move(first));
  while (name.empty() ? skip_op(op) : skip_name(name)) {
    LM_TRY(ExprPtr next, (this->*operand)());
    items.push_back(std::move(next));
  }
  if (items.size() == 1) {
    return std::move(items.front());
  }
  return make(kind, std::move(items));
}

Eval<ExprPtr> Parser::parse_or() {
  return parse_flat(ExprKind::logical_or, &Parser::parse_and, "or", "");
}

Eval<ExprPtr> Parser::parse_and() {
  return parse_flat(ExprKind::logical_and, &Parser::parse_not, "and", "");
}

Eval<ExprPtr> Parser::parse_not() {
  if (!skip_name("not")) {
    return parse_compare();
  }
  const Level level(*this);
  LM_CHECK(check_level());
  LM_TRY(ExprPtr operand, parse_not());
  std::vector<ExprPtr> items;
  items.push_back(std::move(operand));
  return make(ExprKind::logical_not, std::move(items));
}

Eval<ExprPtr> Parser::parse_compare() {
  LM_TRY(ExprPtr first, parse_sum());
  std::vector<ExprPtr> items;
  std::vector<Op> ops;
  items.push_back(std::move(first));
  while (true) {
    if (const OpName* row = find_op(current(), kComparisons)) {
      take();
      ops.push_back(row->op);
    } else if (skip_name("in")) {
      ops.push_back(Op::in);
    } else if (at_name("not") && peek().kind == Token::name && peek().text == "in") {
      take();
      take();
      ops.push_back(Op::not_in);
    } else {
      break;
    }
    LM_TRY(ExprPtr next, parse_sum());
    items.push_back(std::move(next));
  }
  if (ops.empty()) {
    return std::move(items.front());
  }
  LM_TRY(ExprPtr compare, make(ExprKind::compare, std::move(items)));
  compare->ops = std::move(ops);
  return compare;
}

Eval<ExprPtr> Parser::parse_sum() {
  LM_TRY(ExprPtr first, parse_concat());
  std::vector<ExprPtr> items;
  std::vector<Op> ops;
  items.push_back(std::move(first));
  while (const OpName* row = find_op(current(), kSums)) {
    take();
    ops.push_back(row->op);
    LM_TRY(ExprPtr next, parse_concat());
    items.push_back(std::move(next));
  }
  if (ops.empty()) {
    return std::move(items.front());
  }
  LM_TRY(ExprPtr chain, make(ExprKind::chain, std::move(items)));
  chain->ops = std::move(ops);
  return chain;
}

Eval<ExprPtr> Parser::parse_concat() {
  return parse_flat(ExprKind::concat, &Parser::parse_product, "", "~");
}

Eval<ExprPtr> Parser::parse_product() {
  LM_TRY(ExprPtr first, parse_power());
  std::vector<ExprPtr> items;
  std::vector<Op> ops;
  items.push_back(std::move(first));
  while (const OpName* row = find_op(current(), kProducts)) {
    take();
    ops.push_back(row->op);
    LM_TRY(ExprPtr next, parse_power());
    items.push_back(std::move(next));
  }
  if (ops.empty()) {
    return std::move(items.front());
  }
  LM_TRY(ExprPtr chain, make(ExprKind::chain, std::move(items)));
  chain->ops = std::move(ops);
  return chain;
}

// Unlike Python's, Jinja's power groups from the left.
Eval<ExprPtr> Parser::parse_power() {
  LM_TRY(ExprPtr first, parse_unary());
  std::vector<ExprPtr> items;
  items.push_back(std::move(first));
  while (skip_op("**")) {
    LM_TRY(ExprPtr next, parse_unary());
    items.push_back(std::move(next));
  }
  if (items.size() == 1) {
    return std::move(items.front());
  }
  const std::size_t n_ops = items.size() - 1;
  LM_TRY(ExprPtr chain, make(ExprKind::chain, std::move(items)));
  chain->ops.assign(n_ops, Op::power);
  return chain;
}

Eval<ExprPtr> Parser::parse_unary(bool with_filters) {
  ExprPtr expr;
  if (at_op("-") || at_op("+")) {
    const ExprKind kind = at_op("-") ? ExprKind::negate : ExprKind::plus;
    take();
    const Level level(*this);
    LM_CHECK(check_level());
    LM_TRY(ExprPtr operand, parse_unary(false));
    std::vector<ExprPtr> items;
    items.push_back(std::move(operand));
    LM_TRY(expr, make(kind, std::move(items)));
  } else {
    LM_TRY(expr, parse_primary());
  }
  LM_TRY(expr, parse_postfix(std::move(expr)));
  if (with_filters) {
    LM_TRY(expr, parse_filters(std::move(expr)));
  }
  return expr;
}

Eval<ExprPtr> Parser::parse_primary() {
  const LexToken& token = current();
  if (token.kind == Token::name) {
    const std::string name = token.text;
    if (name == "true" || name == "True" || name == "false" || name == "False") {
      LM_TRY(ExprPtr constant, make(ExprKind::boolean));
      constant->integer = name == "true" || name == "True" ? 1 : 0;
      take();
      return constant;
    }
    if (name == "none" || name == "None") {
      LM_TRY(ExprPtr constant, make(ExprKind::none));
      take();
      return constant;
    }
    LM_TRY(ExprPtr variable, make(ExprKind::name));
    variable->symbol = symbol_of(name);
    for (Signature* function : functions_) {
      function->takes_caller = function->takes_caller || name == "caller";
      function->takes_varargs = function->takes_varargs || name == "varargs";
      function->takes_kwargs = function->takes_kwargs || name == "kwargs";
    }
    take();
    return variable;
  }
  if (token.kind == Token::string) {
    LM_TRY(ExprPtr constant, make(ExprKind::text));
    while (current().kind == Token::string) {
      constant->text += take().text;
    }
    return constant;
  }
  if (token.kind == Token::integer || token.kind == Token::real) {
    LM_TRY(ExprPtr constant,
           make(token.kind == Token::integer ? ExprKind::integer : ExprKind::real));
    constant->integer = token.integer;
    constant->real = token.real;
    take();
    return constant;
  }
  if (skip_op("(")) {
    LM_TRY(ExprPtr inner, parse_tuple(true, {}, true));
    LM_CHECK(expect_op(")"));
    return inner;
  }
  if (at_op("[")) {
    return parse_list();
  }
  if (at_op("{")) {
    return parse_map();
  }
  return fail("an expression is expected, not " + describe(token));
}

Eval<ExprPtr> Parser::parse_list() {
  take();
  std::vector<ExprPtr> items;
  while (!at_op("]")) {
    if (!items.empty()) {
      LM_CHECK(expect_op(","));
      if (at_op("]")) {
        break;
      }
    }
    LM_TRY(ExprPtr item, parse_expression());
    items.push_back(std::move(item));
  }
  LM_CHECK(expect_op("]"));
  return make(ExprKind::list, std::move(items));
}

Eval<ExprPtr> Parser::parse_map() {
  take();
  std::vector<ExprPtr> items;
  while (!at_op("}")) {
    if (!items.empty()) {
      LM_CHECK(expect_op(","));
      if (at_op("}")) {
        break;
      }
    }
    LM_TRY(ExprPtr key, parse_expression());
    LM_CHECK(expect_op(":"));
    LM_TRY(ExprPtr value, parse_expression());
    items.push_back(std::move(key));
    items.push_back(std::move(value));
  }
  LM_CHECK(expect_op("}"));
  return make(ExprKind::map, std::move(items));
}

}  // namespace lm::jinja
