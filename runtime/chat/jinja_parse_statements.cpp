#include <algorithm>

#include "runtime/chat/jinja_parser.h"

namespace lm::jinja {

namespace {

using Token = LexToken::Kind;

}  // namespace

Eval<Program> compile(Budget& budget, std::string_view source, const LexOptions& options) {
  if (source.size() > kMaxSourceBytes) {
    return budget.fail("the source has " + std::to_string(source.size()) + " bytes, the limit is " +
                       std::to_string(kMaxSourceBytes));
  }
  LM_TRY(std::vector<LexToken> tokens, tokenize(budget, source, options));
  return Parser(budget, std::move(tokens)).parse_program();
}

Eval<Program> Parser::parse_program() {
  program_.loop = symbol_of("loop");
  program_.varargs = symbol_of("varargs");
  program_.kwargs = symbol_of("kwargs");
  program_.caller = symbol_of("caller");
  LM_TRY(program_.body, parse_body({}, ""));
  return std::move(program_);
}

bool Parser::at_any_name(Names names) const {
  return current().kind == Token::name && std::ranges::find(names, current().text) != names.end();
}

LexToken Parser::take() {
  LexToken token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) {
    ++at_;
  }
  return token;
}

bool Parser::skip_op(std::string_view op) {
  const bool there = at_op(op);
  if (there) {
    take();
  }
  return there;
}

bool Parser::skip_name(std::string_view name) {
  const bool there = at_name(name);
  if (there) {
    take();
  }
  return there;
}

Eval<void> Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) {
    return fail("'" + std::string(op) + "' is expected, not " + describe(current()));
  }
  return {};
}

Eval<void> Parser::expect_name(std::string_view name) {
  if (!skip_name(name)) {
    return fail("'" + std::string(name) + "' is expected, not " + describe(current()));
  }
  return {};
}

Eval<void> Parser::expect(LexToken::Kind kind) {
  if (current().kind != kind) {
    return fail(std::string(kind == Token::block_end ? "'%}'" : "'}}'") + " is expected, not " +
                describe(current()));
  }
  take();
  return {};
}

Eval<std::string> Parser::take_identifier() {
  if (current().kind != Token::name) {
    return fail("a name is expected, not " + describe(current()));
  }
  return take().text;
}

std::unexpected<std::unique_ptr<Failure>> Parser::fail(std::string message) const {
  budget_.line = current().line;
  return budget_.fail(std::move(message));
}

Symbol Parser::symbol_of(const std::string& name) {
  const auto [found, added] =
      program_.symbols.try_emplace(name, static_cast<Symbol>(program_.names.size()));
  if (added) {
    program_.names.push_back(name);
  }
  return found->second;
}

/// Statements up to a tag of `ends`, whose name is left to be read; without ends up to the end of
/// the source.
Eval<Body> Parser::parse_body(Names ends, std::string_view tag) {
  const Level level(*this);
  LM_CHECK(check_level());
  Body body;
  while (true) {
    if (++n_nodes_ > kMaxNodes) {
      return fail("more than " + std::to_string(kMaxNodes) + " nodes");
    }
    switch (current().kind) {
      case Token::data: {
        Stmt data;
        data.line = current().line;
        data.text = take().text;
        body.push_back(std::move(data));
        break;
      }
      case Token::variable_begin: {
        Stmt output;
        output.kind = StmtKind::output;
        output.line = current().line;
        take();
        LM_TRY(output.value, parse_tuple(true, {}));
        LM_CHECK(expect(Token::variable_end));
        body.push_back(std::move(output));
        break;
      }
      case Token::block_begin:
        take();
        if (at_any_name(ends)) {
          return body;
        }
        LM_CHECK(parse_statement(body));
        break;
      default:
        if (ends.size() > 0) {
          return fail("the template ends inside a '" + std::string(tag) + "' block; '" +
                      std::string(*(ends.end() - 1)) + "' is missing");
        }
        return body;
    }
  }
}

Eval<void> Parser::parse_statement(Body& body) {
  if (current().kind != Token::name) {
    return fail("the name of a tag is expected, not " + describe(current()));
  }
  const std::uint32_t line = current().line;
  const std::string tag = current().text;
  Eval<Stmt> stmt = Stmt();
  if (tag == "if") {
    stmt = parse_if();
  } else if (tag == "for") {
    stmt = parse_for();
  } else if (tag == "set") {
    stmt = parse_set();
  } else if (tag == "macro") {
    stmt = parse_macro();
  } else if (tag == "call") {
    stmt = parse_call_block();
  } else if (tag == "filter") {
    stmt = parse_filter_block();
  } else if (tag == "with") {
    stmt = parse_with();
  } else if (tag == "generation" || tag == "block") {
    stmt = parse_scope(tag);
  } else if (tag == "break" || tag == "continue") {
    if (loops_ == 0) {
      return fail("'" + tag + "' outside of a loop");
    }
    take();
    stmt->kind = tag == "break" ? StmtKind::break_loop : StmtKind::continue_loop;
  } else if (tag == "include" || tag == "import" || tag == "from" || tag == "extends") {
    return fail("'" + tag + "' is refused: a chat template is one file");
  } else {
    return fail("unknown tag '" + tag + "'");
  }
  if (!stmt) {
    return std::unexpected(std::move(stmt).error());
  }
  stmt->line = line;
  LM_CHECK(expect(Token::block_end));
  body.push_back(std::move(*stmt));
  return {};
}

Eval<Stmt> Parser::parse_if() {
  Stmt stmt;
  stmt.kind = StmtKind::if_chain;
  while (true) {
    take();
    Branch branch;
    LM_TRY(branch.condition, parse_tuple(false, {}));
    LM_CHECK(expect(Token::block_end));
    LM_TRY(branch.body, parse_body({"elif", "else", "endif"}, "if"));
    stmt.branches.push_back(std::move(branch));
    if (!at_name("elif")) {
      break;
    }
  }
  if (skip_name("else")) {
    LM_CHECK(expect(Token::block_end));
    LM_TRY(stmt.otherwise, parse_body({"endif"}, "if"));
  }
  LM_CHECK(expect_name("endif"));
  return stmt;
}

Eval<Stmt> Parser::parse_for() {
  take();
  Stmt stmt;
  stmt.kind = StmtKind::for_loop;
  LM_TRY(stmt.target, parse_target({"in"}, true, false));
  LM_CHECK(expect_name("in"));
  LM_TRY(stmt.value, parse_tuple(false, {"recursive", "if"}));
  if (skip_name("if")) {
    LM_TRY(stmt.filter, parse_expression());
  }
  stmt.recursive = skip_name("recursive");
  LM_CHECK(expect(Token::block_end));
  ++loops_;
  auto body = parse_body({"else", "endfor"}, "for");
  --loops_;
  LM_TRY(stmt.body, std::move(body));
  if (skip_name("else")) {
    LM_CHECK(expect(Token::block_end));
    LM_TRY(stmt.otherwise, parse_body({"endfor"}, "for"));
  }
  LM_CHECK(expect_name("endfor"));
  return stmt;
}

Eval<Stmt> Parser::parse_set() {
  take();
  Stmt stmt;
  LM_TRY(stmt.target, parse_target({}, true, true));
  if (skip_op("=")) {
    stmt.kind = StmtKind::set;
    LM_TRY(stmt.value, parse_tuple(true, {}));
    return stmt;
  }
  stmt.kind = StmtKind::set_block;
  while (at_op("|")) {
    LM_TRY(stmt.value, parse_filter(std::move(stmt.value)));
  }
  LM_CHECK(expect(Token::block_end));
  LM_TRY(stmt.body, parse_body({"endset"}, "set"));
  LM_CHECK(expect_name("endset"));
  return stmt;
}

Eval<std::unique_ptr<Signature>> Parser::parse_signature() {
  auto signature = std::make_unique<Signature>();
  LM_CHECK(expect_op("("));
  while (!at_op(")")) {
    if (!signature->parameters.empty()) {
      LM_CHECK(expect_op(","));
    }
    LM_TRY(ExprPtr name, parse_target_name());
    Signature::Parameter parameter;
    parameter.symbol = name->symbol;
    if (skip_op("=")) {
      LM_TRY(parameter.fallback, parse_expression());
    } else if (!signature->parameters.empty() && signature->parameters.back().fallback) {
      return fail("a parameter without a default stands behind one with a default");
    }
    signature->parameters.push_back(std::move(parameter));
  }
  LM_CHECK(expect_op(")"));
  return signature;
}

/// Macros and callers are functions of their own: a loop around them is not theirs to break.
Eval<Body> Parser::parse_function_body(Signature& signature, Names ends, std::string_view tag) {
  const std::uint32_t loops = std::exchange(loops_, 0);
  functions_.push_back(&signature);
  auto body = parse_body(ends, tag);
  functions_.pop_back();
  loops_ = loops;
  return body;
}

Eval<Stmt> Parser::parse_macro() {
  take();
  Stmt stmt;
  stmt.kind = StmtKind::macro;
  LM_TRY(ExprPtr name, parse_target_name());
  stmt.symbol = name->symbol;
  LM_TRY(stmt.signature, parse_signature());
  LM_CHECK(expect(Token::block_end));
  LM_TRY(stmt.body, parse_function_body(*stmt.signature, {"endmacro"}, "macro"));
  LM_CHECK(expect_name("endmacro"));
  return stmt;
}

Eval<Stmt> Parser::parse_call_block() {
  take();
  Stmt stmt;
  stmt.kind = StmtKind::call_block;
  stmt.signature = std::make_unique<Signature>();
  if (at_op("(")) {
    LM_TRY(stmt.signature, parse_signature());
  }
  LM_TRY(stmt.value, parse_expression());
  if (stmt.value->kind != ExprKind::call) {
    return fail("a call is expected behind 'call'");
  }
  LM_CHECK(expect(Token::block_end));
  LM_TRY(stmt.body, parse_function_body(*stmt.signature, {"endcall"}, "call"));
  LM_CHECK(expect_name("endcall"));
  return stmt;
}

Eval<Stmt> Parser::parse_filter_block() {
  Stmt stmt;
  stmt.kind = StmtKind::filter_block;
  // The first filter has no '|' in front: parse_filter skips the tag's name in its place.
  LM_TRY(stmt.value, parse_filter(nullptr));
  while (at_op("|")) {
    LM_TRY(stmt.value, parse_filter(std::move(stmt.value)));
  }
  LM_CHECK(expect(Token::block_end));
  LM_TRY(stmt.body, parse_body({"endfilter"}, "filter"));
  LM_CHECK(expect_name("endfilter"));
  return stmt;
}

Eval<Stmt> Parser::parse_with() {
  take();
  Stmt stmt;
  stmt.kind = StmtKind::with;
  while (current().kind != Token::block_end) {
    if (!stmt.targets.empty()) {
      LM_CHECK(expect_op(","));
    }
    LM_TRY(ExprPtr target, parse_target({}, false, false));
    LM_CHECK(expect_op("="));
    LM_TRY(ExprPtr value, parse_expression());
    stmt.targets.push_back(std::move(target));
    stmt.values.push_back(std::move(value));
  }
  LM_CHECK(expect(Token::block_end));
  LM_TRY(stmt.body, parse_body({"endwith"}, "with"));
  LM_CHECK(expect_name("endwith"));
  return stmt;
}

/// `generation` marks what the model wrote (for training); `block` names a part that nothing here
/// replaces.
Eval<Stmt> Parser::parse_scope(std::string_view tag) {
  take();
  Stmt stmt;
  stmt.kind = StmtKind::scope;
  const bool named = tag == "block";
  if (named) {
    LM_CHECK(take_identifier());
    skip_name("scoped");
    skip_name("required");
  }
  LM_CHECK(expect(Token::block_end));
  if (named) {
    LM_TRY(stmt.body, parse_body({"endblock"}, tag));
    LM_CHECK(expect_name("endblock"));
    if (current().kind == Token::name) {
      take();
    }
    return stmt;
  }
  Signature own;
  LM_TRY(stmt.body, parse_function_body(own, {"endgeneration"}, tag));
  LM_CHECK(expect_name("endgeneration"));
  return stmt;
}

Eval<ExprPtr> Parser::parse_target_name() {
  if (current().kind != Token::name) {
    return fail("a name is expected, not " + describe(current()));
  }
  constexpr std::string_view kReserved[] = {"true", "false", "none", "True", "False", "None"};
  if (std::ranges::find(kReserved, current().text) != std::end(kReserved)) {
    return fail("can't assign to '" + current().text + "'");
  }
  LM_TRY(ExprPtr name, make(ExprKind::name));
  name->symbol = symbol_of(take().text);
  return name;
}

/// A name, `namespace.name`, or names separated by commas, with or without brackets.
Eval<ExprPtr> Parser::parse_target(Names ends, bool may_be_tuple, bool may_be_attribute) {
  const Level level(*this);
  LM_CHECK(check_level());
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) {
      if (!may_be_tuple || !skip_op(",")) {
        break;
      }
      is_tuple = true;
      if (at_any_name(ends) || at_op("=") || at_op(")")) {
        break;
      }
    }
    if (skip_op("(")) {
      LM_TRY(ExprPtr inner, parse_target({}, true, false));
      LM_CHECK(expect_op(")"));
      items.push_back(std::move(inner));
      continue;
    }
    LM_TRY(ExprPtr name, parse_target_name());
    if (may_be_attribute && skip_op(".")) {
      std::vector<ExprPtr> object;
      object.push_back(std::move(name));
      LM_TRY(name, make(ExprKind::attribute, std::move(object)));
      LM_TRY(name->text, take_identifier());
    }
    items.push_back(std::move(name));
  }
  if (!is_tuple) {
    return std::move(items.front());
  }
  return make(ExprKind::tuple, std::move(items));
}

}  // namespace lm::jinja
