#include "runtime/tokenizer/pattern_program.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {
namespace {

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxNodes = 1024;
constexpr int kMaxRepeats = 64;
constexpr int kUnbounded = -1;

struct Syntax {
  enum class Kind { set, sequence, alternatives, repeat, ahead, not_ahead };
  Kind kind = Kind::sequence;
  std::uint16_t set = 0;
  int min = 0;
  int max = 0;
  bool greedy = true;
  std::vector<Syntax> children;
};

/// Adds what differs from the set's ASCII letters by case only; U+017F folds to s and U+212A to k.
void ignore_case(CodeSet& set) {
  CodeSet more;
  for (char32_t lower = 'a'; lower <= 'z'; ++lower) {
    const char32_t upper = lower - 'a' + 'A';
    if (set.contains(lower) || set.contains(upper)) {
      more.add(CodeSet::single(lower));
      more.add(CodeSet::single(upper));
      if (lower == 's') {
        more.add(CodeSet::single(0x17F));
      } else if (lower == 'k') {
        more.add(CodeSet::single(0x212A));
      }
    }
  }
  set.add(more);
}

class Parser {
 public:
  Parser(std::string_view expression, std::vector<CodeSet>& sets)
      : text_(expression), sets_(sets) {}

  Result<Syntax> parse() {
    LM_TRY(Syntax syntax, alternatives(0, false));
    if (at_ != text_.size()) {
      return bad("')' without '('");
    }
    return syntax;
  }

 private:
  std::unexpected<Error> bad(std::string_view problem) const {
    return fail(ErrorCode::bad_value, "pre-tokenizer",
                fmt::format("expression, byte {}: {}", at_, problem));
  }
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) {
      return false;
    }
    at_ += token.size();
    return true;
  }
  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }

  char32_t take_character() {
    const utf8::Character c = utf8::decode(text_, at_);
    at_ += c.bytes;
    return c.code_point;
  }

  std::uint16_t index_of(CodeSet set) {
    const auto known = std::find(sets_.begin(), sets_.end(), set);
    if (known != sets_.end()) {
      return static_cast<std::uint16_t>(known - sets_.begin());
    }
    sets_.push_back(std::move(set));
    return static_cast<std::uint16_t>(sets_.size() - 1);
  }
  Syntax set_syntax(CodeSet set) {
    Syntax syntax;
    syntax.kind = Syntax::Kind::set;
    syntax.set = index_of(std::move(set));
    return syntax;
  }

  Result<Syntax> alternatives(int depth, bool any_case) {
    if (depth > kMaxDepth) {
      return bad("groups are nested too deep");
    }
    Syntax all;
    all.kind = Syntax::Kind::alternatives;
    do {
      Syntax sequence;
      while (at_ < text_.size() && !next_is('|') && !next_is(')')) {
        LM_TRY(Syntax atom, quantified(depth, any_case));
        sequence.children.push_back(std::move(atom));
      }
      all.children.push_back(std::move(sequence));
    } while (take("|"));
    return all;
  }

  Result<Syntax> quantified(int depth, bool any_case) {
    LM_TRY(Syntax one, atom(depth, any_case));
    Syntax repeat;
    repeat.kind = Syntax::Kind::repeat;
    if (take("?")) {
      repeat.max = 1;
    } else if (take("*")) {
      repeat.max = kUnbounded;
    } else if (take("+")) {
      repeat.min = 1;
      repeat.max = kUnbounded;
    } else if (take("{")) {
      LM_TRY(repeat.min, number());
      repeat.max = repeat.min;
      if (take(",")) {
        LM_TRY(repeat.max, number());
      }
      if (!take("}") || repeat.max < repeat.min) {
        return bad("not a quantifier {n} or {n,m}");
      }
    } else {
      return one;
    }
    repeat.greedy = !take("?");
    if (next_is('+')) {
      return bad("possessive quantifiers are not supported");
    }
    repeat.children.push_back(std::move(one));
    return repeat;
  }

  Result<int> number() {
    int value = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && value <= kMaxRepeats) {
      value = value * 10 + (text_[at_++] - '0');
    }
    if (at_ == begin || value > kMaxRepeats) {
      return bad("expected a number of repetitions");
    }
    return value;
  }

  Result<Syntax> atom(int depth, bool any_case) {
    if (take("(")) {
      return group(depth, any_case);
    }
    if (take("$")) {
      Syntax no_more;
      no_more.kind = Syntax::Kind::not_ahead;
      no_more.children.push_back(set_syntax(CodeSet::range(0, unicode::kEnd - 1)));
      return no_more;
    }
    CodeSet set;
    if (take("[")) {
      LM_TRY(set, character_class());
    } else if (take("\\")) {
      LM_TRY(set, escape());
    } else if (std::string_view("?*+{}.^").find(text_[at_]) != std::string_view::npos) {
      return bad("unexpected operator");
    } else {
      set = CodeSet::single(take_character());
    }
    if (any_case) {
      ignore_case(set);
    }
    return set_syntax(std::move(set));
  }

  Result<Syntax> group(int depth, bool any_case) {
    std::optional<Syntax::Kind> assertion;
    if (take("?=")) {
      assertion = Syntax::Kind::ahead;
    } else if (take("?!")) {
      assertion = Syntax::Kind::not_ahead;
    } else if (take("?i:")) {
      any_case = true;
    } else if (!take("?:") && next_is('?')) {
      return bad("unknown kind of group");
    }
    LM_TRY(Syntax inner, alternatives(depth + 1, any_case));
    if (!take(")")) {
      return bad("'(' without ')'");
    }
    if (!assertion) {
      return inner;
    }
    Syntax ahead;
    ahead.kind = *assertion;
    ahead.children.push_back(std::move(inner));
    return ahead;
  }

  /// Behind the backslash.
  Result<CodeSet> escape() {
    if (at_ == text_.size()) {
      return bad("expression ends with a backslash");
    }
    const char c = text_[at_++];
    switch (c) {
      case 's':
        return CodeSet::white_space();
      case 'S': {
        CodeSet set = CodeSet::white_space();
        set.invert();
        return set;
      }
      case 'd':
        return *CodeSet::property("Nd");
      case 'r':
        return CodeSet::single('\r');
      case 'n':
        return CodeSet::single('\n');
      case 't':
        return CodeSet::single('\t');
      case 'p':
      case 'x':
        return braced(c);
      default:
        break;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
        (c >= 'A' && c <= 'Z')) {
      return bad("unknown escape");
    }
    return CodeSet::single(byte);
  }

  /// `{L}` of \p{L}, `{4e00}` of \x{4e00}.
  Result<CodeSet> braced(char kind) {
    const std::size_t close = text_.find('}', at_);
    if (!take("{") || close == std::string_view::npos) {
      return bad("expected '{' after \\p or \\x");
    }
    const std::string_view name = text_.substr(at_, close - at_);
    if (kind == 'p') {
      const std::optional<CodeSet> set = CodeSet::property(name);
      if (!set) {
        return bad("unknown property");
      }
      at_ = close + 1;
      return *set;
    }
    char32_t code_point = 0;
    for (const char digit : name) {
      const std::size_t value = std::string_view("0123456789abcdef").find(digit);
      if (value == std::string_view::npos || code_point > 0xFFFFF) {
        return bad("expected a code point in lower-case hexadecimal");
      }
      code_point = code_point * 16 + static_cast<char32_t>(value);
    }
    if (name.empty() || code_point >= unicode::kEnd) {
      return bad("not a code point");
    }
    at_ = close + 1;
    return CodeSet::single(code_point);
  }

  /// Behind '['.
  Result<CodeSet> character_class() {
    const bool inverted = take("^");
    CodeSet all;
    while (!next_is(']')) {
      if (at_ == text_.size()) {
        return bad("'[' without ']'");
      }
      LM_TRY(CodeSet item, class_item());
      if (next_is('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        LM_TRY(const CodeSet last, class_item());
        const bool singles = is_single(item) && is_single(last);
        if (!singles || last.ranges()[0].first < item.ranges()[0].first) {
          return bad("not a range");
        }
        item = CodeSet::range(item.ranges()[0].first, last.ranges()[0].first);
      }
      all.add(item);
    }
    ++at_;
    if (inverted) {
      all.invert();
    }
    return all;
  }
  Result<CodeSet> class_item() {
    if (take("\\")) {
      return escape();
    }
    if (at_ == text_.size()) {
      return bad("'[' without ']'");
    }
    return CodeSet::single(take_character());
  }
  static bool is_single(const CodeSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].first + 1 == set.ranges()[0].end;
  }

  std::string_view text_;
  std::vector<CodeSet>& sets_;
  std::size_t at_ = 0;
};

/// Writes nodes from the end to the beginning: each piece is told where to go on.
class Emitter {
 public:
  explicit Emitter(PatternProgram& program) : program_(program) {}

  bool too_large() const { return too_large_; }

  std::uint16_t emit(const Syntax& syntax, std::uint16_t next) {
    switch (syntax.kind) {
      case Syntax::Kind::set:
        return add({PatternProgram::Kind::character, next, 0, syntax.set});
      case Syntax::Kind::sequence:
        for (std::size_t i = syntax.children.size(); i > 0; --i) {
          next = emit(syntax.children[i - 1], next);
        }
        return next;
      case Syntax::Kind::alternatives: {
        std::uint16_t entry = emit(syntax.children.back(), next);
        for (std::size_t i = syntax.children.size() - 1; i > 0; --i) {
          const std::uint16_t preferred = emit(syntax.children[i - 1], next);
          entry = add({PatternProgram::Kind::split, preferred, entry, 0});
        }
        return entry;
      }
      case Syntax::Kind::repeat:
        return repeat(syntax, next);
      case Syntax::Kind::ahead:
      case Syntax::Kind::not_ahead: {
        const auto kind = syntax.kind == Syntax::Kind::ahead ? PatternProgram::Kind::ahead
                                                             : PatternProgram::Kind::not_ahead;
        const std::uint16_t inner = emit(syntax.children[0], add({}));
        return add({kind, next, inner, 0});
      }
    }
    return next;
  }

 private:
  std::uint16_t add(PatternProgram::Node node) {
    if (program_.nodes.size() >= kMaxNodes) {
      too_large_ = true;
      return 0;
    }
    program_.nodes.push_back(node);
    return static_cast<std::uint16_t>(program_.nodes.size() - 1);
  }
  std::uint16_t choice(bool greedy, std::uint16_t again, std::uint16_t leave) {
    return add({PatternProgram::Kind::split, greedy ? again : leave, greedy ? leave : again, 0});
  }

  std::uint16_t repeat(const Syntax& syntax, std::uint16_t next) {
    const Syntax& one = syntax.children[0];
    std::uint16_t entry = next;
    if (syntax.max == kUnbounded) {
      const std::uint16_t loop = choice(syntax.greedy, 0, next);
      const std::uint16_t body = emit(one, loop);
      (syntax.greedy ? program_.nodes[loop].next : program_.nodes[loop].other) = body;
      entry = loop;
    } else {
      for (int i = syntax.min; i < syntax.max && !too_large_; ++i) {
        entry = choice(syntax.greedy, emit(one, entry), next);
      }
    }
    for (int i = 0; i < syntax.min && !too_large_; ++i) {
      entry = emit(one, entry);
    }
    return entry;
  }

  PatternProgram& program_;
  bool too_large_ = false;
};

/// Depth-first order over ways that read nothing; false when there is a circle.
class Orderer {
 public:
  explicit Orderer(PatternProgram& program)
      : program_(program), state_(program.nodes.size(), State::unseen) {}

  bool visit(std::uint16_t id) {
    const PatternProgram::Node& node = program_.nodes[id];
    if (node.kind == PatternProgram::Kind::character || state_[id] == State::done) {
      return true;
    }
    if (state_[id] == State::open) {
      return false;
    }
    state_[id] = State::open;
    if (node.kind != PatternProgram::Kind::accept && (!visit(node.next) || !visit(node.other))) {
      return false;
    }
    state_[id] = State::done;
    program_.evaluation_order.push_back(id);
    return true;
  }

 private:
  enum class State : std::uint8_t { unseen, open, done };
  PatternProgram& program_;
  std::vector<State> state_;
};

}  // namespace

Result<PatternProgram> compile_pattern(std::string_view expression) {
  PatternProgram program;
  LM_TRY(const Syntax syntax, Parser(expression, program.sets).parse());
  Emitter emitter(program);
  program.nodes.push_back({});
  program.start = emitter.emit(syntax, 0);
  if (emitter.too_large()) {
    return fail(ErrorCode::limit_exceeded, "pre-tokenizer",
                fmt::format("expression needs more than {} states", kMaxNodes));
  }
  Orderer orderer(program);
  for (std::size_t id = 0; id < program.nodes.size(); ++id) {
    if (!orderer.visit(static_cast<std::uint16_t>(id))) {
      return fail(ErrorCode::bad_value, "pre-tokenizer",
                  "expression repeats something that may be empty");
    }
  }
  return program;
}

}  // namespace lm::tokenizer
