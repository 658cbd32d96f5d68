#include "runtime/chat/go_template.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/chat/go_template_words.h"

namespace lm {

namespace {

using go_template::cut_into_pieces;
using go_template::Piece;
using go_template::refuse;
using go_template::Word;
using go_template::Words;

constexpr std::size_t kMaxSourceBytes = 1u << 20;
constexpr int kMaxNesting = 64;
// `eq` repeats its first operand: nested, that would double at every level.
constexpr std::size_t kMaxOperandBytes = 4096;

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos
             ? std::string_view()
             : text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\\' || c == '\'') {
      (out += '\\') += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  return out + "'";
}

/// A translated expression.
struct Expression {
  std::string jinja;
  bool is_text = false;  ///< may be printed: Go and Jinja write it alike
  bool is_response = false;
};

class Translator {
 public:
  /// `per_turn`: the template describes one turn. `cut`: everything behind the first printed
  /// .Response is left out.
  Translator(const std::vector<Piece>& pieces, bool per_turn, bool cut)
      : pieces_(pieces), per_turn_(per_turn), cut_(cut) {}

  Result<std::string> run() {
    for (const Piece& piece : pieces_) {
      if (!piece.action) {
        print(in_quotes(piece.text));
        continue;
      }
      LM_TRY(Words words, Words::split(piece));
      LM_CHECK(action(words));
      if (!words.at_end()) {
        return refuse(ErrorCode::unsupported, words.line(),
                      "'" + words.current().text + "' is not understood here");
      }
    }
    if (!blocks_.empty()) {
      return refuse(ErrorCode::bad_template, pieces_.back().line,
                    "a block is not closed; '{{ end }}' is missing");
    }
    return out_;
  }

  bool printed_response() const { return printed_response_; }

 private:
  struct Block {
    bool is_range = false;
    bool has_else = false;
    std::string dot;  ///< of the block outside
    std::size_t n_variables = 0;
  };
  struct Variable {
    std::string go, jinja;
    bool is_message = false;
  };

  void print(const std::string& jinja) {
    if (!(cut_ && printed_response_)) {
      out_ += "{{ " + jinja + " }}";
    }
  }

  Result<void> action(Words& words) {
    if (words.skip_name("if")) {
      LM_TRY(const Expression condition, pipeline(words));
      out_ += "{% if " + condition.jinja + " %}";
      blocks_.push_back({false, false, dot_, variables_.size()});
      return {};
    }
    if (words.skip_name("range")) {
      return range(words);
    }
    if (words.skip_name("else")) {
      return otherwise(words);
    }
    if (words.skip_name("end")) {
      if (blocks_.empty()) {
        return refuse(ErrorCode::bad_template, words.line(), "'end' without a block");
      }
      out_ += blocks_.back().is_range ? "{% endfor %}" : "{% endif %}";
      dot_ = blocks_.back().dot;
      variables_.resize(blocks_.back().n_variables);
      blocks_.pop_back();
      return {};
    }
    for (const std::string_view word : {"break", "continue"}) {
      if (words.skip_name(word)) {
        out_ += "{% " + std::string(word) + " %}";
        return {};
      }
    }
    if (words.current().kind == Word::Kind::variable && words.current().fields.empty()) {
      Words ahead = words;
      const std::string name = ahead.take().text;
      if (ahead.skip_symbol(":=")) {
        words = ahead;
        LM_TRY(const Expression value, pipeline(words));
        const std::string variable = declare(name, false);
        out_ += "{% set " + variable + " = " + value.jinja + " %}";
        return {};
      }
    }
    LM_TRY(const Expression value, pipeline(words));
    if (!value.is_text) {
      return refuse(ErrorCode::unsupported, words.line(),
                    "printing what is no text is not supported");
    }
    print(value.jinja);
    printed_response_ = printed_response_ || value.is_response;
    return {};
  }

  Result<void> otherwise(Words& words) {
    if (blocks_.empty() || blocks_.back().has_else) {
      return refuse(ErrorCode::bad_template, words.line(), "'else' without a block");
    }
    variables_.resize(blocks_.back().n_variables);
    if (words.skip_name("if")) {
      if (blocks_.back().is_range) {
        return refuse(ErrorCode::unsupported, words.line(),
                      "'else if' in a range is not supported");
      }
      LM_TRY(const Expression condition, pipeline(words));
      out_ += "{% elif " + condition.jinja + " %}";
      return {};
    }
    blocks_.back().has_else = true;
    dot_ = blocks_.back().dot;
    out_ += "{% else %}";
    return {};
  }

  Result<void> range(Words& words) {
    std::vector<std::string> names;
    Words ahead = words;
    while (ahead.current().kind == Word::Kind::variable && ahead.current().fields.empty()) {
      names.push_back(ahead.take().text);
      if (!ahead.skip_symbol(",")) {
        break;
      }
    }
    if (ahead.skip_symbol(":=")) {
      words = ahead;
    } else {
      names.clear();
    }
    LM_TRY(const Expression list, pipeline(words));
    if (list.jinja != kList) {
      return refuse(ErrorCode::unsupported, words.line(),
                    "range over anything but .Messages is not supported");
    }
    blocks_.push_back({true, false, dot_, variables_.size()});
    dot_ = "m" + std::to_string(++n_names_);
    out_ += "{% for " + dot_ + " in " + std::string(kList) + " %}";
    if (!names.empty()) {
      if (names.size() == 2) {
        out_ += "{% set " + declare(names.front(), false) + " = loop.index0 %}";
      }
      variables_.push_back({names.back(), dot_, true});
    }
    return {};
  }

  std::string declare(const std::string& go, bool is_message) {
    variables_.push_back({go, "v" + std::to_string(++n_names_), is_message});
    return variables_.back().jinja;
  }

  Result<Expression> pipeline(Words& words) {
    if (++nesting_ > kMaxNesting) {
      return refuse(ErrorCode::bad_template, words.line(), "nested too deep");
    }
    auto value = words.current().kind == Word::Kind::name ? call(words) : operand(words);
    --nesting_;
    if (value && words.at_symbol("|")) {
      return refuse(ErrorCode::unsupported, words.line(), "pipelines with '|' are not supported");
    }
    return value;
  }

  static bool begins_operand(const Words& words) {
    const Word::Kind kind = words.current().kind;
    return kind != Word::Kind::end && (kind != Word::Kind::symbol || words.at_symbol("("));
  }

  Result<Expression> call(Words& words) {
    const std::string name = words.take().text;
    if (name == "true" || name == "false") {
      return Expression{name};
    }
    std::vector<Expression> arguments;
    while (begins_operand(words)) {
      LM_TRY(Expression argument, operand(words));
      if (argument.jinja.size() > kMaxOperandBytes) {
        return refuse(ErrorCode::bad_template, words.line(), "an expression is too long");
      }
      arguments.push_back(std::move(argument));
    }
    const auto join = [&](std::string_view op) {
      std::string jinja = "(";
      for (std::size_t i = 0; i < arguments.size(); ++i) {
        jinja += (i > 0 ? " " + std::string(op) + " " : "") + arguments[i].jinja;
      }
      return jinja + ")";
    };
    const std::size_t n = arguments.size();
    if ((name == "and" || name == "or") && n >= 1) {
      return Expression{join(name)};
    }
    if (name == "not" && n == 1) {
      return Expression{"(not " + arguments[0].jinja + ")"};
    }
    if (name == "len" && n == 1) {
      return Expression{"(" + arguments[0].jinja + ")|length"};
    }
    if (name == "slice" && (n == 2 || n == 3)) {
      return Expression{arguments[0].jinja + "[" + arguments[1].jinja + ":" +
                        (n == 3 ? arguments[2].jinja : "") + "]"};
    }
    if (name == "eq" && n >= 2) {  // equal to any of the others
      std::string jinja = "(";
      for (std::size_t i = 1; i < n; ++i) {
        jinja += (i > 1 ? " or " : "") + arguments[0].jinja + " == " + arguments[i].jinja;
      }
      return Expression{jinja + ")"};
    }
    constexpr std::pair<std::string_view, std::string_view> kComparisons[] = {
        {"ne", "!="}, {"lt", "<"}, {"le", "<="}, {"gt", ">"}, {"ge", ">="}};
    for (const auto& [go, jinja] : kComparisons) {
      if (name == go && n == 2) {
        return Expression{join(jinja)};
      }
    }
    return refuse(ErrorCode::unsupported, words.line(),
                  "'" + name + "' with " + std::to_string(n) + " arguments is not supported");
  }

  Result<Expression> operand(Words& words) {
    const Word word = words.take();
    switch (word.kind) {
      case Word::Kind::text:
        return Expression{in_quotes(word.text), true};
      case Word::Kind::integer:
        return Expression{word.text};
      case Word::Kind::field:
        return dot_.empty() ? root_field(word, words.line())
                            : message_field(dot_, word, words.line());
      case Word::Kind::variable:
        return variable(word, words.line());
      case Word::Kind::name:
        if (word.text == "true" || word.text == "false") {
          return Expression{word.text};
        }
        break;
      case Word::Kind::symbol:
        if (word.text == "(") {
          LM_TRY(Expression inner, pipeline(words));
          if (!words.skip_symbol(")")) {
            return refuse(ErrorCode::bad_template, words.line(), "')' is missing");
          }
          return inner;
        }
        break;
      case Word::Kind::end:
        break;
    }
    return refuse(ErrorCode::bad_template, words.line(),
                  "a value is expected" + (word.text.empty() ? "" : ", not '" + word.text + "'"));
  }

  Result<Expression> variable(const Word& word, std::uint32_t line) {
    if (word.text == "$") {
      return root_field(word, line);
    }
    const auto found = std::find_if(variables_.rbegin(), variables_.rend(),
                                    [&](const Variable& known) { return known.go == word.text; });
    if (found == variables_.rend()) {
      return refuse(ErrorCode::bad_template, line, "undefined variable '" + word.text + "'");
    }
    if (found->is_message) {
      return message_field(found->jinja, word, line);
    }
    if (!word.fields.empty()) {
      return refuse(ErrorCode::unsupported, line,
                    "fields of '" + word.text + "' are not supported");
    }
    return Expression{found->jinja};
  }

  static Result<Expression> message_field(const std::string& message, const Word& word,
                                          std::uint32_t line) {
    if (word.fields.size() == 1 && (word.fields[0] == "Role" || word.fields[0] == "Content")) {
      return Expression{message + (word.fields[0] == "Role" ? ".role" : ".content"), true};
    }
    return unknown_field(word, line);
  }

  Result<Expression> root_field(const Word& word, std::uint32_t line) const {
    if (word.fields.size() != 1) {
      return unknown_field(word, line);
    }
    const std::string& name = word.fields[0];
    if (name == "System") {
      return Expression{"system", true};
    }
    if (name == "Prompt" || name == "Response") {
      const bool response = name == "Response";
      return Expression{per_turn_ ? (response ? "response" : "prompt") : "''", true, response};
    }
    if (name == "Suffix") {
      return Expression{"''", true};
    }
    if (name == "Messages") {
      return Expression{std::string(kList)};
    }
    return unknown_field(word, line);
  }

  static std::unexpected<Error> unknown_field(const Word& word, std::uint32_t line) {
    std::string spelt = word.text;
    for (const std::string& field : word.fields) {
      spelt += "." + field;
    }
    return refuse(ErrorCode::unsupported, line, "'" + spelt + "' is not supported");
  }

  static constexpr std::string_view kList = "ns.list";

  const std::vector<Piece>& pieces_;
  const bool per_turn_, cut_;
  std::string out_, dot_;
  std::vector<Block> blocks_;
  std::vector<Variable> variables_;
  int nesting_ = 0, n_names_ = 0;
  bool printed_response_ = false;
};

// Messages of one role in a row become one; tool results stay apart.
constexpr std::string_view kCollate =
    "{% set ns = namespace(list=[], system='', prompt='', response='') %}"
    "{% for m in messages %}"
    "{% if ns.list and m.role != 'tool' and ns.list[-1].role == m.role %}"
    "{% set _ = ns.list.append({'role': m.role, 'content': ns.list.pop().content ~ '\\n\\n' ~ "
    "m.content}) %}"
    "{% else %}{% set _ = ns.list.append({'role': m.role, 'content': m.content}) %}{% endif %}"
    "{% endfor %}";

// What is gathered of a turn is rendered when a message comes that belongs to the next one.
constexpr std::string_view kTurns =
    "{% for m in ns.list %}"
    "{% if m.role == 'system' and (ns.prompt or ns.response) or m.role == 'user' and ns.response %}"
    "{{ turn(ns.system, ns.prompt, ns.response) }}"
    "{% set ns.system = '' %}{% set ns.prompt = '' %}{% set ns.response = '' %}"
    "{% endif %}"
    "{% if m.role == 'system' %}{% set ns.system = m.content %}"
    "{% elif m.role == 'user' %}{% set ns.prompt = m.content %}"
    "{% elif m.role == 'assistant' %}{% set ns.response = m.content %}{% endif %}"
    "{% endfor %}"
    "{{ last_turn(ns.system, ns.prompt, ns.response) }}";

constexpr std::string_view kAllSystem =
    "{% set system = ns.list|selectattr('role', 'equalto', "
    "'system')|map(attribute='content')|join('\\n\\n') %}";

bool mentions_messages(const std::vector<Piece>& pieces) {
  return std::ranges::any_of(
      pieces, [](const Piece& piece) { return piece.action && piece.text.contains(".Messages"); });
}

}  // namespace

Result<std::string> translate_go_template(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return refuse(ErrorCode::bad_template, 1, "the source has more than 1 MiB");
  }
  LM_TRY(std::vector<Piece> pieces, cut_into_pieces(source));
  if (mentions_messages(pieces)) {
    LM_TRY(const std::string body, Translator(pieces, false, false).run());
    return std::string(kCollate) + std::string(kAllSystem) + body;
  }
  Translator whole(pieces, true, false);
  LM_TRY(std::string turn, whole.run());
  if (!whole.printed_response()) {
    pieces.push_back({true, pieces.empty() ? 1 : pieces.back().line, ".Response"});
    LM_TRY(turn, Translator(pieces, true, false).run());
  }
  LM_TRY(const std::string last, Translator(pieces, true, true).run());
  return "{% macro turn(system, prompt, response) %}" + turn + "{% endmacro %}" +
         "{% macro last_turn(system, prompt, response) %}" + last + "{% endmacro %}" +
         std::string(kCollate) + std::string(kTurns);
}

bool is_go_template(std::string_view text) {
  for (std::size_t at = text.find("{{"); at != std::string_view::npos;
       at = text.find("{{", at + 2)) {
    std::string_view inside = text.substr(at + 2, 64);
    if (inside.starts_with('-')) {
      inside.remove_prefix(1);
    }
    inside = trimmed(inside);
    for (const std::string_view word :
         {"if ", "range ", "end", "else", "with ", "define ", "block "}) {
      if (inside.starts_with(word) &&
          (word != "end" || trimmed(inside.substr(3)).starts_with('}') ||
           trimmed(inside.substr(3)).starts_with('-'))) {
        return true;
      }
    }
    if (inside.starts_with('.') || inside.starts_with('$')) {
      return true;
    }
  }
  return false;
}

}  // namespace lm
