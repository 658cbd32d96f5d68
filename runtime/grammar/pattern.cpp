// A tree first, then the language from right to left: every piece gets the language of what follows
// it, so that an anchor or a look-ahead is an intersection with that.
#include "runtime/grammar/pattern.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "runtime/grammar/pattern_classes.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::grammar {
namespace {

struct Piece {
  enum class Kind : std::uint8_t { set, sequence, choice, repeat, begin, end, ahead, not_ahead };
  Kind kind = Kind::sequence;
  CodeSet set = {};
  std::vector<Piece> of = {};
  std::uint32_t least = 0, most = 0;
  bool positional = false;  ///< holds an anchor or look-ahead
  bool nullable = true;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Piece> parse() {
    LM_TRY(Piece all, choice(0));
    if (at_ < text_.size()) {
      return bad("has an unmatched ')'");
    }
    return all;
  }

 private:
  std::unexpected<Error> bad(const std::string& what, ErrorCode code = ErrorCode::bad_value) const {
    return fail(code, "pattern", fmt::format("{} at byte {}", what, at_));
  }
  bool more() const { return at_ < text_.size(); }
  bool take(std::string_view wanted) {
    if (!text_.substr(at_).starts_with(wanted)) {
      return false;
    }
    at_ += wanted.size();
    return true;
  }

  Result<Piece> choice(int depth) {
    if (depth > kMaxDepth) {
      return bad("is nested more than 64 deep", ErrorCode::limit_exceeded);
    }
    Piece out{Piece::Kind::choice};
    out.nullable = false;
    do {
      LM_TRY(Piece next, sequence(depth));
      out.positional |= next.positional;
      out.nullable |= next.nullable;
      out.of.push_back(std::move(next));
    } while (take("|"));
    return out.of.size() == 1 ? std::move(out.of[0]) : std::move(out);
  }

  Result<Piece> sequence(int depth) {
    Piece out{Piece::Kind::sequence};
    while (more() && text_[at_] != '|' && text_[at_] != ')') {
      LM_TRY(Piece next, quantified(depth));
      out.positional |= next.positional;
      out.nullable &= next.nullable;
      out.of.push_back(std::move(next));
    }
    return out;
  }

  Result<Piece> quantified(int depth) {
    LM_TRY(Piece piece, atom(depth));
    std::uint32_t least = 0, most = kUnbounded;
    if (take("*")) {
    } else if (take("+")) {
      least = 1;
    } else if (take("?")) {
      most = 1;
    } else {
      LM_TRY(const bool braces, counts(least, most));
      if (!braces) {
        return piece;
      }
    }
    take("?");  // lazy: the same language
    if (more() && (text_[at_] == '*' || text_[at_] == '+' || text_[at_] == '?')) {
      return bad("has nothing to repeat");
    }
    if (piece.kind >= Piece::Kind::begin) {
      return bad("repeats an anchor or look-ahead", ErrorCode::unsupported);
    }
    Piece out{Piece::Kind::repeat};
    out.positional = piece.positional;
    out.nullable = piece.nullable || least == 0;
    out.least = least;
    out.most = most;
    out.of.push_back(std::move(piece));
    return out;
  }

  /// {n}, {n,}, {n,m}; anything else beginning with a brace is text.
  Result<bool> counts(std::uint32_t& least, std::uint32_t& most) {
    const std::size_t begin = at_;
    const auto number = [&]() -> std::optional<std::uint64_t> {
      const std::size_t first = at_;
      std::uint64_t value = 0;
      while (more() && text_[at_] >= '0' && text_[at_] <= '9') {
        value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(text_[at_++] - '0'),
                                        kUnbounded);
      }
      return at_ > first ? std::optional(value) : std::nullopt;
    };
    if (!take("{")) {
      return false;
    }
    const std::optional<std::uint64_t> low = number();
    std::optional<std::uint64_t> high = low;
    if (low && take(",")) {
      high = number();
      if (!high) {
        high = kUnbounded;
      }
    }
    if (!low || !take("}")) {
      at_ = begin;
      return false;
    }
    if (*low > *high) {
      return bad("has a repetition whose least is above its most");
    }
    if (*low > kMaxRepetition || (*high > kMaxRepetition && *high != kUnbounded)) {
      return bad("repeats more than 65536 times", ErrorCode::limit_exceeded);
    }
    least = static_cast<std::uint32_t>(*low);
    most = static_cast<std::uint32_t>(*high);
    return true;
  }

  Result<Piece> atom(int depth) {
    if (take("(")) {
      return group(depth);
    }
    if (take("^")) {
      Piece out{Piece::Kind::begin};
      out.positional = true;
      return out;
    }
    if (take("$")) {
      Piece out{Piece::Kind::end};
      out.positional = true;
      return out;
    }
    Piece out{Piece::Kind::set};
    out.nullable = false;
    if (take(".")) {
      for (const char32_t c : {U'\n', U'\r', char32_t{0x2028}, char32_t{0x2029}}) {
        out.set.add(CodeSet::single(c));
      }
      out.set.invert();
      return out;
    }
    if (take("*") || take("+") || take("?")) {
      return bad("has nothing to repeat");
    }
    ClassReader reader(text_, at_);
    Result<CodeSet> set = take("[") ? reader.bracket() : reader.single();
    if (!set) {
      return bad(set.error().problem, set.error().code);
    }
    out.set = std::move(*set);
    return out;
  }

  Result<Piece> group(int depth) {
    Piece::Kind kind = Piece::Kind::sequence;
    if (take("?=")) {
      kind = Piece::Kind::ahead;
    } else if (take("?!")) {
      kind = Piece::Kind::not_ahead;
    } else if (take("?<=") || take("?<!")) {
      return bad("looks behind", ErrorCode::unsupported);
    } else if (take("?<")) {
      while (more() && text_[at_] != '>') {
        ++at_;
      }
      if (!take(">")) {
        return bad("has a group name without end");
      }
    } else if (!take("?:") && text_.substr(at_).starts_with("?")) {
      return bad("has an unknown kind of group");
    }
    LM_TRY(Piece inside, choice(depth + 1));
    if (!take(")")) {
      return bad("has an unmatched '('");
    }
    if (kind == Piece::Kind::sequence) {
      return inside;
    }
    Piece out{kind};
    out.positional = true;
    out.of.push_back(std::move(inside));
    return out;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// Builds languages. `first`: nothing has been read yet, so `^` holds.
class Builder {
 public:
  explicit Builder(RegexPool& pool) : pool_(pool) {}

  /// A piece without anchors and look-ahead.
  NodeId plain(const Piece& p) {
    switch (p.kind) {
      case Piece::Kind::set:
        return pool_.set(p.set);
      case Piece::Kind::repeat:
        return pool_.repeat(plain(p.of[0]), p.least, p.most);
      case Piece::Kind::choice: {
        std::vector<NodeId> of;
        for (const Piece& part : p.of) {
          of.push_back(plain(part));
        }
        return pool_.alt(std::move(of));
      }
      default: {
        NodeId out = RegexPool::kEmpty;
        for (std::size_t i = p.of.size(); i-- > 0;) {
          out = pool_.concat(plain(p.of[i]), out);
        }
        return out;
      }
    }
  }

  /// The piece followed by `rest`.
  NodeId before(const Piece& p, NodeId rest, bool first) {
    if (!p.positional) {
      return pool_.concat(plain(p), rest);
    }
    switch (p.kind) {
      case Piece::Kind::begin:
        return first ? rest : RegexPool::kNone;
      case Piece::Kind::end:
        return pool_.both({rest, RegexPool::kEmpty});
      case Piece::Kind::ahead:
        return pool_.both({rest, before(p.of[0], RegexPool::kAll, first)});
      case Piece::Kind::not_ahead:
        return pool_.without(rest, before(p.of[0], RegexPool::kAll, first));
      case Piece::Kind::choice: {
        std::vector<NodeId> of;
        for (const Piece& part : p.of) {
          of.push_back(before(part, rest, first));
        }
        return pool_.alt(std::move(of));
      }
      case Piece::Kind::repeat:
        // Once or never; more often only where the body has no position in it.
        if (p.most == 1) {
          const NodeId once = before(p.of[0], rest, first);
          return p.least == 0 ? pool_.alt({once, rest}) : once;
        }
        unsupported = true;
        return RegexPool::kNone;
      default:
        return sequence_before(p, rest, first);
    }
  }

  bool unsupported = false;

 private:
  NodeId sequence_before(const Piece& p, NodeId rest, bool first) {
    // Only what stands before every piece that takes a character is still at the beginning.
    std::vector<bool> at_first(p.of.size());
    bool still = first;
    for (std::size_t i = 0; i < p.of.size(); ++i) {
      at_first[i] = still;
      const bool zero_width = p.of[i].kind >= Piece::Kind::begin;
      if (still && !zero_width && p.of[i].nullable) {
        // May or may not take one: whatever is positional behind it would need both.
        for (std::size_t j = i + 1; j < p.of.size(); ++j) {
          unsupported = unsupported || holds_begin(p.of[j]);
        }
      }
      still = still && zero_width;
    }
    for (std::size_t i = p.of.size(); i-- > 0;) {
      rest = before(p.of[i], rest, at_first[i]);
    }
    return rest;
  }
  bool holds_begin(const Piece& p) {
    if (p.kind == Piece::Kind::begin) {
      return true;
    }
    for (const Piece& part : p.of) {
      if (part.positional && holds_begin(part)) {
        return true;
      }
    }
    return false;
  }

  RegexPool& pool_;
};

}  // namespace

Result<NodeId> compile_pattern(RegexPool& pool, std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return fail(ErrorCode::limit_exceeded, "pattern", "is longer than 16 KiB");
  }
  LM_TRY(const Piece tree, Parser(pattern).parse());
  Builder builder(pool);
  NodeId out = builder.before(tree, RegexPool::kAll, true);
  CodeSet any = CodeSet::range(0, kCodeEnd - 1);
  const NodeId later = builder.before(tree, RegexPool::kAll, false);
  out = pool.alt({out, pool.concat(pool.set(any), pool.concat(RegexPool::kAll, later))});
  if (builder.unsupported) {
    return fail(ErrorCode::unsupported, "pattern", "has '^' or look-ahead in a place lm can't use");
  }
  return out;
}

}  // namespace lm::grammar
