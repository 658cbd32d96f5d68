#include "runtime/grammar/gbnf_parser.h"

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/core.h>

#include "runtime/grammar/regex.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::grammar {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<GbnfRules> parse() {
    skip_space(true);
    while (more()) {
      LM_CHECK(rule());
      skip_space(true);
    }
    for (const GbnfRules::Rule& rule : out_.rules) {
      if (rule.line == 0) {
        return fail(ErrorCode::missing, "grammar",
                    fmt::format("uses the rule '{}', which it does not define", rule.name));
      }
    }
    const auto root = numbers_.find("root");
    if (root == numbers_.end()) {
      return fail(ErrorCode::missing, "grammar", "has no rule 'root'", "begin with: root ::= ...");
    }
    out_.root = root->second;
    return std::move(out_);
  }

 private:
  using Kind = GbnfPiece::Kind;

  std::unexpected<Error> bad(const std::string& what, ErrorCode code = ErrorCode::bad_value) const {
    return fail(code, fmt::format("grammar, line {}", line_), what);
  }
  bool more() const { return at_ < text_.size(); }
  bool take(std::string_view wanted) {
    if (!text_.substr(at_).starts_with(wanted)) {
      return false;
    }
    at_ += wanted.size();
    return true;
  }
  void skip_space(bool lines) {
    for (; more(); ++at_) {
      const char c = text_[at_];
      if (c == '#') {
        while (more() && text_[at_] != '\n' && text_[at_] != '\r') {
          ++at_;
        }
        if (!more() || !lines) {
          return;
        }
      }
      if (text_[at_] == '\n' || text_[at_] == '\r') {
        if (!lines) {
          return;
        }
        line_ += text_[at_] == '\n' ? 1 : 0;
      } else if (c != ' ' && c != '\t' && c != '#') {
        return;
      }
    }
  }
  std::string_view name() {
    const std::size_t first = at_;
    while (more() &&
           ((text_[at_] >= 'a' && text_[at_] <= 'z') || (text_[at_] >= 'A' && text_[at_] <= 'Z') ||
            (text_[at_] >= '0' && text_[at_] <= '9') || text_[at_] == '-' || text_[at_] == '_')) {
      ++at_;
    }
    return text_.substr(first, at_ - first);
  }
  std::uint32_t number_of(std::string_view rule) {
    const auto [at, fresh] =
        numbers_.try_emplace(std::string(rule), static_cast<std::uint32_t>(out_.rules.size()));
    if (fresh) {
      out_.rules.push_back({std::string(rule), {}, 0});
    }
    return at->second;
  }

  Result<void> rule() {
    const std::string_view word = name();
    if (word.empty()) {
      return bad("expected the name of a rule");
    }
    const std::uint32_t number = number_of(word);
    const std::uint32_t line = line_;
    skip_space(false);
    if (!take("::=")) {
      return bad(fmt::format("expected '::=' after '{}'", word));
    }
    if (out_.rules[number].line != 0) {
      return bad(fmt::format("defines '{}' again", word), ErrorCode::duplicate);
    }
    skip_space(true);
    LM_TRY(GbnfPiece body, choice(0));
    out_.rules[number].body = std::move(body);
    out_.rules[number].line = line;
    if (more() && text_[at_] != '\n' && text_[at_] != '\r') {
      return bad(fmt::format("has an unexpected '{}'", text_.substr(at_, 1)));
    }
    return {};
  }

  Result<GbnfPiece> choice(int depth) {
    if (depth > kMaxDepth) {
      return bad("is nested more than 64 deep", ErrorCode::limit_exceeded);
    }
    GbnfPiece out;
    out.kind = Kind::choice;
    while (true) {
      LM_TRY(GbnfPiece next, sequence(depth));
      out.of.push_back(std::move(next));
      skip_space(depth > 0);
      if (!take("|")) {
        break;
      }
      skip_space(true);
    }
    return out.of.size() == 1 ? std::move(out.of[0]) : std::move(out);
  }

  Result<GbnfPiece> sequence(int depth) {
    GbnfPiece out;
    while (true) {
      skip_space(depth > 0);
      if (!more() || text_[at_] == '|' || text_[at_] == ')' || text_[at_] == '\n' ||
          text_[at_] == '\r') {
        return out;
      }
      LM_TRY(GbnfPiece piece, element(depth));
      skip_space(depth > 0);
      LM_CHECK(repetition(piece));
      out.of.push_back(std::move(piece));
    }
  }

  Result<void> repetition(GbnfPiece& piece) {
    std::uint64_t least = 0, most = kUnbounded;
    if (take("*")) {
    } else if (take("+")) {
      least = 1;
    } else if (take("?")) {
      most = 1;
    } else if (take("{")) {
      skip_space(true);
      std::optional<std::uint64_t> low = integer();
      skip_space(true);
      std::optional<std::uint64_t> high = low;
      if (take(",")) {
        skip_space(true);
        high = integer();
        skip_space(true);
        high = high ? high : kUnbounded;
        low = low ? low : 0;
      }
      if (!low || !take("}") || *low > *high) {
        return bad("has a repetition that is not {n}, {n,} or {n,m}");
      }
      if (*low > kMaxRepetition || (*high > kMaxRepetition && *high != kUnbounded)) {
        return bad("repeats more than 65536 times", ErrorCode::limit_exceeded);
      }
      least = *low;
      most = *high;
    } else {
      return {};
    }
    GbnfPiece repeat;
    repeat.kind = Kind::repeat;
    repeat.least = static_cast<std::uint32_t>(least);
    repeat.most = static_cast<std::uint32_t>(most);
    repeat.of.push_back(std::move(piece));
    piece = std::move(repeat);
    return {};
  }

  std::optional<std::uint64_t> integer() {
    const std::size_t first = at_;
    std::uint64_t value = 0;
    while (more() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(text_[at_++] - '0'),
                                      kUnbounded - 1);
    }
    return at_ > first ? std::optional(value) : std::nullopt;
  }

  Result<GbnfPiece> element(int depth) {
    GbnfPiece out;
    if (take("(")) {
      LM_TRY(out, choice(depth + 1));
      if (!take(")")) {
        return bad("has a '(' without ')'");
      }
      return out;
    }
    if (take("\"")) {
      out.kind = Kind::literal;
      while (!take("\"")) {
        LM_TRY(const char32_t c, character("string"));
        out.literal.push_back(c);
      }
      return out;
    }
    if (take(".")) {
      out.kind = Kind::set;
      out.set = tokenizer::CodeSet::range(0, kCodeEnd - 1);
      return out;
    }
    if (take("[")) {
      return set();
    }
    const std::string_view word = name();
    if (word.empty()) {
      return bad(fmt::format("has an unexpected '{}'", text_.substr(at_, 1)));
    }
    out.kind = Kind::rule;
    out.rule = number_of(word);
    return out;
  }

  Result<GbnfPiece> set() {
    GbnfPiece out;
    out.kind = Kind::set;
    const bool inverted = take("^");
    while (!take("]")) {
      LM_TRY(const char32_t first, character("set"));
      char32_t last = first;
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        ++at_;
        LM_TRY(last, character("set"));
      }
      if (last < first) {
        return bad("has a range whose end is below its beginning");
      }
      out.set.add(tokenizer::CodeSet::range(first, last));
    }
    if (inverted) {
      out.set.invert();
    }
    return out;
  }

  /// A character of a string or set, escapes read.
  Result<char32_t> character(const char* of) {
    if (!more() || text_[at_] == '\n') {
      return bad(fmt::format("has a {} without end", of));
    }
    if (!take("\\")) {
      const utf8::Character c = utf8::decode(text_, at_);
      at_ += c.bytes;
      return c.code_point;
    }
    const char escape = more() ? text_[at_++] : ' ';
    switch (escape) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<char32_t>(escape);
      default:
        return bad("has an unknown escape");
    }
  }

  Result<char32_t> hex(int digits) {
    std::uint64_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = more() ? text_[at_] : ' ';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) {
        return bad("has an escape without its hexadecimal digits");
      }
      value = value * 16 + static_cast<std::uint64_t>(digit);
      ++at_;
    }
    if (value >= kCodeEnd) {
      return bad("has an escape that is no code point");
    }
    return static_cast<char32_t>(value);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  GbnfRules out_;
  std::map<std::string, std::uint32_t, std::less<>> numbers_;
};

}  // namespace

Result<GbnfRules> parse_gbnf(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return fail(ErrorCode::limit_exceeded, "grammar", "is longer than 1 MiB");
  }
  return Parser(source).parse();
}

}  // namespace lm::grammar
