// What stands behind a primary expression: .name, [key], (arguments), |filter, is test.
#include "runtime/chat/jinja_functions.h"
#include "runtime/chat/jinja_parser.h"

namespace lm::jinja {

namespace {

using Token = LexToken::Kind;

}  // namespace

Eval<ExprPtr> Parser::parse_postfix(ExprPtr expr) {
  while (true) {
    if (at_op(".") || at_op("[")) {
      LM_TRY(expr, parse_subscript(std::move(expr)));
    } else if (at_op("(")) {
      LM_TRY(expr, parse_call(std::move(expr)));
    } else {
      return expr;
    }
  }
}

Eval<ExprPtr> Parser::parse_subscript(ExprPtr expr) {
  std::vector<ExprPtr> items;
  items.push_back(std::move(expr));
  if (skip_op(".")) {
    if (current().kind == Token::name) {
      LM_TRY(ExprPtr attribute, make(ExprKind::attribute, std::move(items)));
      attribute->text = take().text;
      return attribute;
    }
    if (current().kind != Token::integer) {
      return fail("a name or number is expected behind '.', not " + describe(current()));
    }
    LM_TRY(ExprPtr index, make(ExprKind::integer));
    index->integer = take().integer;
    items.push_back(std::move(index));
    return make(ExprKind::subscript, std::move(items));
  }
  take();
  std::vector<ExprPtr> keys;
  while (!at_op("]")) {
    if (!keys.empty()) {
      LM_CHECK(expect_op(","));
    }
    LM_TRY(ExprPtr key, parse_subscript_item());
    if (key->kind == ExprKind::slice && (!keys.empty() || at_op(","))) {
      return fail("a slice stands alone between brackets");
    }
    keys.push_back(std::move(key));
  }
  LM_CHECK(expect_op("]"));
  if (keys.size() == 1 && keys.front()->kind == ExprKind::slice) {
    keys.front()->items.front() = std::move(items.front());
    LM_CHECK(check_depth(*keys.front()));
    return std::move(keys.front());
  }
  if (keys.size() == 1) {
    items.push_back(std::move(keys.front()));
  } else {
    LM_TRY(ExprPtr tuple, make(ExprKind::tuple, std::move(keys)));
    items.push_back(std::move(tuple));
  }
  return make(ExprKind::subscript, std::move(items));
}

/// An index, or a slice whose object is still missing.
Eval<ExprPtr> Parser::parse_subscript_item() {
  ExprPtr start;
  if (!at_op(":")) {
    LM_TRY(start, parse_expression());
    if (!at_op(":")) {
      return start;
    }
  }
  take();
  std::vector<ExprPtr> items(4);
  items[1] = std::move(start);
  for (std::size_t part = 2; part < 4; ++part) {
    if (!at_op(":") && !at_op("]") && !at_op(",")) {
      LM_TRY(items[part], parse_expression());
    }
    if (part == 2 && !skip_op(":")) {
      break;
    }
  }
  return make(ExprKind::slice, std::move(items));
}

Eval<ExprPtr> Parser::parse_filters(ExprPtr expr) {
  while (true) {
    if (at_op("|")) {
      LM_TRY(expr, parse_filter(std::move(expr)));
    } else if (at_name("is")) {
      LM_TRY(expr, parse_test(std::move(expr)));
    } else if (at_op("(")) {
      LM_TRY(expr, parse_call(std::move(expr)));
    } else {
      return expr;
    }
  }
}

Eval<std::string> Parser::parse_dotted_name() {
  LM_TRY(std::string name, take_identifier());
  while (skip_op(".")) {
    LM_TRY(const std::string part, take_identifier());
    name += "." + part;
  }
  return name;
}

Eval<ExprPtr> Parser::parse_filter(ExprPtr expr) {
  take();
  LM_TRY(const std::string name, parse_dotted_name());
  std::unique_ptr<ArgumentList> arguments;
  if (at_op("(")) {
    LM_TRY(arguments, parse_arguments());
  }
  std::vector<ExprPtr> items;
  items.push_back(std::move(expr));
  LM_TRY(ExprPtr filter, make(ExprKind::filter, std::move(items)));
  filter->text = name;
  filter->function = find_filter(name);
  filter->arguments = std::move(arguments);
  LM_CHECK(check_depth(*filter));
  return filter;
}

Eval<ExprPtr> Parser::parse_test(ExprPtr expr) {
  take();
  const bool negated = skip_name("not");
  LM_TRY(const std::string name, parse_dotted_name());
  auto arguments = std::make_unique<ArgumentList>();
  const Token next = current().kind;
  if (at_op("(")) {
    LM_TRY(arguments, parse_arguments());
  } else if ((next == Token::name || next == Token::string || next == Token::integer ||
              next == Token::real || at_op("[") || at_op("{")) &&
             !at_any_name({"else", "or", "and", "if", "recursive", "in", "not"})) {
    if (at_name("is")) {
      return fail("tests can't be chained with 'is'");
    }
    LM_TRY(ExprPtr argument, parse_primary());
    LM_TRY(argument, parse_postfix(std::move(argument)));
    arguments->positional.push_back(std::move(argument));
  }
  std::vector<ExprPtr> items;
  items.push_back(std::move(expr));
  LM_TRY(ExprPtr test, make(ExprKind::test, std::move(items)));
  test->text = name;
  test->function = find_test(name);
  test->arguments = std::move(arguments);
  LM_CHECK(check_depth(*test));
  if (!negated) {
    return test;
  }
  std::vector<ExprPtr> operand;
  operand.push_back(std::move(test));
  return make(ExprKind::logical_not, std::move(operand));
}

Eval<ExprPtr> Parser::parse_call(ExprPtr expr) {
  LM_TRY(auto arguments, parse_arguments());
  std::vector<ExprPtr> items;
  items.push_back(std::move(expr));
  LM_TRY(ExprPtr call, make(ExprKind::call, std::move(items)));
  call->arguments = std::move(arguments);
  LM_CHECK(check_depth(*call));
  return call;
}

Eval<std::unique_ptr<ArgumentList>> Parser::parse_arguments() {
  LM_CHECK(expect_op("("));
  auto arguments = std::make_unique<ArgumentList>();
  bool first = true;
  while (!at_op(")")) {
    if (!std::exchange(first, false)) {
      LM_CHECK(expect_op(","));
      if (at_op(")")) {
        break;
      }
    }
    if (skip_op("**")) {
      if (arguments->named_splat) {
        return fail("'**' may stand only once in a call");
      }
      LM_TRY(arguments->named_splat, parse_expression());
    } else if (skip_op("*")) {
      if (arguments->splat || arguments->named_splat) {
        return fail("'*' may stand only once in a call, before '**'");
      }
      LM_TRY(arguments->splat, parse_expression());
    } else if (current().kind == Token::name && peek().kind == Token::op && peek().text == "=") {
      ArgumentList::Named named;
      named.name = take().text;
      take();
      LM_TRY(named.value, parse_expression());
      arguments->named.push_back(std::move(named));
    } else {
      if (!arguments->named.empty() || arguments->named_splat) {
        return fail("an argument without a name stands behind one with a name");
      }
      LM_TRY(ExprPtr value, parse_expression());
      arguments->positional.push_back(std::move(value));
    }
  }
  LM_CHECK(expect_op(")"));
  return arguments;
}

}  // namespace lm::jinja
