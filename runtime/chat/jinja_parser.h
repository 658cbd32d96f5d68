/// Tokens become a program. Recursive descent after Jinja2's grammar, with limits on source, nodes
/// and nesting that hold before the recursion they bound.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/jinja_ast.h"
#include "runtime/chat/jinja_lexer.h"

namespace lm::jinja {

constexpr std::size_t kMaxSourceBytes = 1u << 20;
constexpr std::uint32_t kMaxNesting = 256;
constexpr std::uint32_t kMaxNodes = 200'000;

/// Compiles template source. Errors: bad_template with the line.
Eval<Program> compile(Budget& budget, std::string_view source, const LexOptions& options);

/// The grammar. Statements are in jinja_parse_statements.cpp, expressions in
/// jinja_parse_expressions.cpp.
class Parser {
 public:
  Parser(Budget& budget, std::vector<LexToken> tokens)
      : budget_(budget), tokens_(std::move(tokens)) {}

  Eval<Program> parse_program();

 private:
  using Names = std::initializer_list<std::string_view>;

  // Tokens.
  const LexToken& current() const { return tokens_[at_]; }
  const LexToken& peek() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool at_op(std::string_view op) const {
    return current().kind == LexToken::Kind::op && current().text == op;
  }
  bool at_name(std::string_view name) const {
    return current().kind == LexToken::Kind::name && current().text == name;
  }
  bool at_any_name(Names names) const;
  LexToken take();
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  Eval<void> expect_op(std::string_view op);
  Eval<void> expect_name(std::string_view name);
  Eval<void> expect(LexToken::Kind kind);
  Eval<std::string> take_identifier();
  std::unexpected<std::unique_ptr<Failure>> fail(std::string message) const;

  // Statements.
  Eval<Body> parse_body(Names ends, std::string_view tag);
  Eval<void> parse_statement(Body& body);
  Eval<Stmt> parse_if();
  Eval<Stmt> parse_for();
  Eval<Stmt> parse_set();
  Eval<Stmt> parse_macro();
  Eval<Stmt> parse_call_block();
  Eval<Stmt> parse_filter_block();
  Eval<Stmt> parse_with();
  Eval<Stmt> parse_scope(std::string_view tag);
  Eval<std::unique_ptr<Signature>> parse_signature();
  Eval<Body> parse_function_body(Signature& signature, Names ends, std::string_view tag);
  Eval<ExprPtr> parse_target(Names ends, bool may_be_tuple, bool may_be_attribute);
  Eval<ExprPtr> parse_target_name();

  // Expressions.
  Eval<ExprPtr> parse_expression(bool with_condition = true);
  Eval<ExprPtr> parse_tuple(bool with_condition, Names ends, bool in_parentheses = false);
  Eval<ExprPtr> parse_condition();
  Eval<ExprPtr> parse_or();
  Eval<ExprPtr> parse_and();
  Eval<ExprPtr> parse_not();
  Eval<ExprPtr> parse_compare();
  Eval<ExprPtr> parse_sum();
  Eval<ExprPtr> parse_concat();
  Eval<ExprPtr> parse_product();
  Eval<ExprPtr> parse_power();
  Eval<ExprPtr> parse_unary(bool with_filters = true);
  Eval<ExprPtr> parse_primary();
  Eval<ExprPtr> parse_list();
  Eval<ExprPtr> parse_map();
  Eval<ExprPtr> parse_postfix(ExprPtr expr);
  Eval<ExprPtr> parse_subscript(ExprPtr expr);
  Eval<ExprPtr> parse_subscript_item();
  Eval<ExprPtr> parse_filters(ExprPtr expr);
  Eval<ExprPtr> parse_filter(ExprPtr expr);
  Eval<ExprPtr> parse_test(ExprPtr expr);
  Eval<ExprPtr> parse_call(ExprPtr expr);
  Eval<std::unique_ptr<ArgumentList>> parse_arguments();
  Eval<std::string> parse_dotted_name();
  Eval<ExprPtr> parse_flat(ExprKind kind, Eval<ExprPtr> (Parser::*operand)(), std::string_view name,
                           std::string_view op);

  // Nodes. The depth of a node is checked when it is made: chains grow without recursion.
  Eval<ExprPtr> make(ExprKind kind, std::vector<ExprPtr> items = {});
  Eval<void> check_depth(Expr& expr) const;
  Symbol symbol_of(const std::string& name);

  /// One level of recursion.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) { ++parser_.level_; }
    ~Level() { --parser_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };
  Eval<void> check_level() const;

  Budget& budget_;
  std::vector<LexToken> tokens_;
  std::size_t at_ = 0;
  std::uint32_t level_ = 0, n_nodes_ = 0, loops_ = 0;
  std::vector<Signature*> functions_;  ///< macros and callers around the current place
  Program program_;
};

}  // namespace lm::jinja
