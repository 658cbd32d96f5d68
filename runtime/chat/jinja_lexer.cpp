#include "runtime/chat/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "runtime/chat/jinja_escape.h"
#include "runtime/chat/jinja_unicode.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

using Kind = LexToken::Kind;

constexpr std::array<std::string_view, 6> kLongOperators = {"//", "**", "==", "!=", ">=", "<="};
constexpr std::string_view kShortOperators = "+-/*%~[](){}><=.:|,;";

std::string normalise_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      i += i + 1 < source.size() && source[i + 1] == '\n' ? 1 : 0;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) {
    out.pop_back();
  }
  return out;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::size_t strip_right(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const auto [code_point, bytes] = utf8::decode_before(text, end);
    if (!is_space(code_point)) {
      break;
    }
    end -= bytes;
  }
  return end;
}

class Lexer {
 public:
  Lexer(Budget& budget, std::string source, const LexOptions& options)
      : budget_(budget), source_(std::move(source)), options_(options) {}

  Eval<std::vector<LexToken>> run() {
    while (at_ < source_.size()) {
      LM_CHECK(root());
    }
    add(Kind::end, {});
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }

  void add(Kind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text), 0, 0}); }

  std::unexpected<std::unique_ptr<Failure>> fail(std::string message) {
    budget_.line = line_;
    return budget_.fail(std::move(message));
  }

  void advance(std::size_t bytes) {
    line_ += static_cast<std::uint32_t>(std::ranges::count(rest().substr(0, bytes), '\n'));
    at_ += bytes;
    line_starts_ = bytes > 0 && source_[at_ - 1] == '\n';
  }

  std::size_t spaces(std::size_t from) const {
    std::size_t at = from;
    while (at < source_.size()) {
      const auto [code_point, bytes] = utf8::decode(source_, at);
      if (!is_space(code_point)) {
        break;
      }
      at += bytes;
    }
    return at - from;
  }

  /// Text up to the next tag, the tag's opening, and for comments and raw blocks all of them.
  Eval<void> root() {
    std::size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        add(Kind::data, std::string(rest()));
        advance(rest().size());
        return {};
      }
      const char next = source_[tag + 1];
      if (next == '{' || next == '%' || next == '#') {
        break;
      }
    }
    const char type = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    add_text_before(tag, has_sign ? sign : '\0', type != '{');
    advance(tag - at_ + 2 + (has_sign ? 1 : 0));
    if (type == '#') {
      return comment();
    }
    if (type == '%') {
      if (const std::size_t bytes = raw_tag(at_, "raw", false)) {
        advance(bytes);
        return raw();
      }
    }
    add(type == '{' ? Kind::variable_begin : Kind::block_begin, {});
    return inside(type == '{');
  }

  void add_text_before(std::size_t tag, char sign, bool block) {
    std::string_view text = rest().substr(0, tag - at_);
    if (sign == '-') {
      text = text.substr(0, strip_right(text));
    } else if (sign != '+' && options_.lstrip_blocks && block) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starts_) && begin + spaces(at_ + begin) >= text.size()) {
        text = text.substr(0, begin);
      }
    }
    if (!text.empty()) {
      add(Kind::data, std::string(text));
    }
  }

  Eval<void> comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) {
      return fail("a comment is not closed; '#}' is missing");
    }
    const bool strip = end > at_ && source_[end - 1] == '-';
    const bool keep = end > at_ && source_[end - 1] == '+';
    advance(end - at_ + 2);
    skip_after_block(strip, keep);
    return {};
  }

  void skip_after_block(bool strip, bool keep) {
    if (strip) {
      const std::size_t bytes = spaces(at_);
      if (bytes > 0) {
        advance(bytes);
      }
    } else if (!keep && options_.trim_blocks && rest().starts_with('\n')) {
      advance(1);
    }
  }

  /// Bytes of `raw %}` behind the opening of a block, 0 when it is another block.
  std::size_t raw_tag(std::size_t from, std::string_view word, bool may_keep) const {
    std::size_t at = from + spaces(from);
    if (!std::string_view(source_).substr(at).starts_with(word)) {
      return 0;
    }
    at += word.size();
    at += spaces(at);
    const std::string_view tail = std::string_view(source_).substr(at);
    if (tail.starts_with("-%}")) {
      at += 3;
      return at + spaces(at) - from;
    }
    if (may_keep && tail.starts_with("+%}")) {
      return at + 3 - from;
    }
    if (!tail.starts_with("%}")) {
      return 0;
    }
    at += 2;
    const bool trims =
        may_keep && options_.trim_blocks && at < source_.size() && source_[at] == '\n';
    return at + (trims ? 1 : 0) - from;
  }

  Eval<void> raw() {
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      const bool has_sign = sign == '-' || sign == '+';
      const std::size_t after = tag + 2 + (has_sign ? 1 : 0);
      if (const std::size_t bytes = raw_tag(after, "endraw", true)) {
        add_text_before(tag, has_sign ? sign : '\0', true);
        advance(after + bytes - at_);
        return {};
      }
    }
    return fail("a raw block is not closed; '{% endraw %}' is missing");
  }

  /// Tokens up to the end of the tag.
  Eval<void> inside(bool variable) {
    std::string open;
    while (true) {
      const std::size_t blank = spaces(at_);
      if (blank > 0) {
        advance(blank);
      }
      if (at_ >= source_.size()) {
        return {};  // the parser says what is missing
      }
      if (open.empty() && end_of_tag(variable)) {
        return {};
      }
      LM_CHECK(token(open));
    }
  }

  bool end_of_tag(bool variable) {
    const std::string_view closing = variable ? "}}" : "%}";
    const bool strip = rest().starts_with('-') && rest().substr(1).starts_with(closing);
    const bool keep = !variable && rest().starts_with('+') && rest().substr(1).starts_with(closing);
    if (!strip && !keep && !rest().starts_with(closing)) {
      return false;
    }
    add(variable ? Kind::variable_end : Kind::block_end, {});
    advance(strip || keep ? 3 : 2);
    skip_after_block(strip, keep || variable);
    return true;
  }

  Eval<void> token(std::string& open) {
    const char c = source_[at_];
    if (is_digit(c)) {
      return number();
    }
    const auto [code_point, bytes] = utf8::decode(source_, at_);
    if (begins_name(code_point)) {
      std::size_t end = at_ + bytes;
      while (end < source_.size()) {
        const auto next = utf8::decode(source_, end);
        if (!continues_name(next.code_point)) {
          break;
        }
        end += next.bytes;
      }
      add(Kind::name, source_.substr(at_, end - at_));
      advance(end - at_);
      return {};
    }
    if (c == '\'' || c == '"') {
      return string(c);
    }
    for (const std::string_view op : kLongOperators) {
      if (rest().starts_with(op)) {
        add(Kind::op, std::string(op));
        advance(op.size());
        return {};
      }
    }
    if (!kShortOperators.contains(c)) {
      return fail("unexpected character '" + source_.substr(at_, bytes) + "'");
    }
    LM_CHECK(balance(open, c));
    add(Kind::op, std::string(1, c));
    advance(1);
    return {};
  }

  Eval<void> balance(std::string& open, char c) {
    constexpr std::string_view kOpening = "([{";
    constexpr std::string_view kClosing = ")]}";
    if (const auto which = kOpening.find(c); which != std::string_view::npos) {
      open += kClosing[which];
    } else if (kClosing.contains(c)) {
      if (open.empty()) {
        return fail(std::string("unexpected '") + c + "'");
      }
      if (open.back() != c) {
        return fail(std::string("unexpected '") + c + "', expected '" + open.back() + "'");
      }
      open.pop_back();
    }
    return {};
  }

  /// End of digits in `from…`, single underscores between them allowed.
  template <class IsDigit>
  std::size_t digits(std::size_t from, IsDigit is) const {
    std::size_t at = from;
    while (at < source_.size()) {
      const bool under = source_[at] == '_' && at > from;
      const std::size_t digit = at + (under ? 1 : 0);
      if (digit >= source_.size() || !is(source_[digit])) {
        break;
      }
      at = digit + 1;
    }
    return at;
  }

  Eval<void> number() {
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    std::size_t end = digits(at_, is_digit);
    bool real = false;
    if (!after_dot) {
      if (end < source_.size() && source_[end] == '.') {
        const std::size_t fraction = digits(end + 1, is_digit);
        if (fraction > end + 1) {
          real = true;
          end = fraction;
        }
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        const bool sign =
            end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
        const std::size_t from = end + (sign ? 2 : 1);
        const std::size_t exponent = digits(from, is_digit);
        if (exponent > from) {
          real = true;
          end = exponent;
        }
      }
    }
    if (real) {
      return add_real(end);
    }
    return integer();
  }

  Eval<void> add_real(std::size_t end) {
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    LexToken token{Kind::real, line_, text, 0, 0};
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), token.real);
    if (parsed.ec == std::errc::result_out_of_range) {
      token.real = text.contains('-') ? 0.0 : std::numeric_limits<double>::infinity();
    }
    tokens_.push_back(std::move(token));
    advance(end - at_);
    return {};
  }

  Eval<void> integer() {
    int base = 10;
    std::size_t from = at_;
    std::size_t end = 0;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char marker = static_cast<char>(source_[at_ + 1] | 0x20);
      base = marker == 'x' ? 16 : (marker == 'o' ? 8 : (marker == 'b' ? 2 : 10));
    }
    if (base != 10) {
      from = at_ + 2;
      end = digits(from, [base](char c) {
        const char small = static_cast<char>(c | 0x20);
        const int value =
            is_digit(c) ? c - '0' : (small >= 'a' && small <= 'f' ? small - 'a' + 10 : 99);
        return value < base;
      });
    }
    if (base == 10 || end == from) {
      base = 10;
      from = at_;
      const bool zero = source_[at_] == '0';
      end = digits(from, [zero](char c) { return zero ? c == '0' : is_digit(c); });
    }
    std::string text = source_.substr(from, end - from);
    std::erase(text, '_');
    LexToken token{Kind::integer, line_, text, 0, 0};
    const auto parsed =
        std::from_chars(text.data(), text.data() + text.size(), token.integer, base);
    if (parsed.ec != std::errc()) {
      return fail("the integer " + text + " does not fit 64 bits");
    }
    tokens_.push_back(std::move(token));
    advance(end - at_);
    return {};
  }

  Eval<void> string(char quote) {
    std::string text;
    std::size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] != '\\') {
        text += source_[at++];
        continue;
      }
      if (at + 1 >= source_.size()) {
        break;
      }
      const std::size_t bytes = read_escape(std::string_view(source_).substr(at), text);
      at += bytes;
      if (bytes == 0) {
        return fail("malformed escape in a string");
      }
    }
    if (at >= source_.size()) {
      return fail("a string is not closed");
    }
    add(Kind::string, std::move(text));
    advance(at + 1 - at_);
    return {};
  }

  Budget& budget_;
  const std::string source_;
  const LexOptions options_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  bool line_starts_ = true;
  std::vector<LexToken> tokens_;
};

}  // namespace

Eval<std::vector<LexToken>> tokenize(Budget& budget, std::string_view source,
                                     const LexOptions& options) {
  return Lexer(budget, normalise_newlines(source), options).run();
}

std::string describe(const LexToken& token) {
  switch (token.kind) {
    case Kind::data:
      return "text";
    case Kind::variable_begin:
      return "'{{'";
    case Kind::variable_end:
      return "'}}'";
    case Kind::block_begin:
      return "'{%'";
    case Kind::block_end:
      return "'%}'";
    case Kind::end:
      return "the end of the template";
    case Kind::string:
      return "a string";
    default:
      return "'" + token.text + "'";
  }
}

}  // namespace lm::jinja
