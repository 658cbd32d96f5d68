#include "runtime/grammar/gbnf.h"

#include <algorithm>
#include <deque>

#include <fmt/core.h>

#include "runtime/grammar/gbnf_parser.h"

namespace lm::grammar {
namespace {

using Piece = GbnfPiece;
using Node = GbnfExpander::Node;

/// Rules named in a piece, each as often as it is.
void rules_in(const Piece& piece, std::vector<std::uint32_t>& out) {
  if (piece.kind == Piece::Kind::rule) {
    out.push_back(piece.rule);
  }
  for (const Piece& part : piece.of) {
    rules_in(part, out);
  }
}

class Compiler {
 public:
  Compiler(const GbnfRules& rules, RegexPool& pool, Lexer& lexer)
      : rules_(rules), pool_(pool), lexer_(lexer), regular_(rules.rules.size(), kNotRegular) {}

  Result<std::uint32_t> compile() {
    find_regular();
    find_nullable();
    LM_CHECK(refuse_left_recursion());
    find_productive();
    if (!productive_[rules_.root]) {
      return fail(ErrorCode::bad_value, "grammar", "has a rule 'root' that can never end");
    }
    // Rules first, so that bodies can name them.
    nodes.resize(rules_.rules.size());
    for (std::uint32_t i = 0; i < rules_.rules.size(); ++i) {
      if (productive_[i]) {
        nodes[i] = Node(nodes_of(rules_.rules[i].body, regular_[i]));
      }
    }
    return rules_.root;
  }

  std::vector<Node> nodes;

 private:
  static constexpr NodeId kNotRegular = 0xFFFFFFFF;

  /// Rules from which no rule is reached that recurs are regular: they are made one after the
  /// other, callees first.
  void find_regular() {
    const std::size_t n = rules_.rules.size();
    std::vector<std::size_t> open(n);
    std::vector<std::vector<std::uint32_t>> callers(n);
    std::deque<std::uint32_t> ready;
    for (std::uint32_t i = 0; i < n; ++i) {
      std::vector<std::uint32_t> called;
      rules_in(rules_.rules[i].body, called);
      open[i] = called.size();
      for (const std::uint32_t callee : called) {
        callers[callee].push_back(i);
      }
      if (called.empty()) {
        ready.push_back(i);
      }
    }
    while (!ready.empty()) {
      const std::uint32_t rule = ready.front();
      ready.pop_front();
      regular_[rule] = regex(rules_.rules[rule].body);
      for (const std::uint32_t caller : callers[rule]) {
        if (--open[caller] == 0) {
          ready.push_back(caller);
        }
      }
    }
  }

  bool is_regular(const Piece& piece) const {
    if (piece.kind == Piece::Kind::rule) {
      return regular_[piece.rule] != kNotRegular;
    }
    return std::all_of(piece.of.begin(), piece.of.end(),
                       [&](const Piece& part) { return is_regular(part); });
  }

  NodeId regex(const Piece& piece) {
    switch (piece.kind) {
      case Piece::Kind::set:
        return pool_.set(piece.set);
      case Piece::Kind::literal:
        return pool_.literal(piece.literal);
      case Piece::Kind::rule:
        return regular_[piece.rule];
      case Piece::Kind::repeat:
        return pool_.repeat(regex(piece.of[0]), piece.least, piece.most);
      case Piece::Kind::choice: {
        std::vector<NodeId> of;
        for (const Piece& part : piece.of) {
          of.push_back(regex(part));
        }
        return pool_.alt(std::move(of));
      }
      case Piece::Kind::sequence: {
        NodeId out = RegexPool::kEmpty;
        for (std::size_t i = piece.of.size(); i-- > 0;) {
          out = pool_.concat(regex(piece.of[i]), out);
        }
        return out;
      }
    }
    return RegexPool::kNone;
  }

  bool nullable(const Piece& piece) const {
    const auto part_nullable = [&](const Piece& part) { return nullable(part); };
    switch (piece.kind) {
      case Piece::Kind::set:
        return false;
      case Piece::Kind::literal:
        return piece.literal.empty();
      case Piece::Kind::rule:
        return nullable_[piece.rule];
      case Piece::Kind::repeat:
        return piece.least == 0 || nullable(piece.of[0]);
      case Piece::Kind::choice:
        return std::any_of(piece.of.begin(), piece.of.end(), part_nullable);
      case Piece::Kind::sequence:
        return std::all_of(piece.of.begin(), piece.of.end(), part_nullable);
    }
    return false;
  }

  template <class Holds>
  void fixpoint(std::vector<bool>& of, const Holds& holds) {
    for (bool changed = true; changed && pool_.budget().tick(1024);) {
      changed = false;
      for (std::uint32_t i = 0; i < rules_.rules.size(); ++i) {
        if (!of[i] && holds(i)) {
          of[i] = changed = true;
        }
      }
    }
  }

  void find_nullable() {
    nullable_.assign(rules_.rules.size(), false);
    fixpoint(nullable_, [&](std::uint32_t i) {
      return regular_[i] != kNotRegular ? pool_.nullable(regular_[i])
                                        : nullable(rules_.rules[i].body);
    });
  }

  bool productive(const Piece& piece) const {
    switch (piece.kind) {
      case Piece::Kind::set:
        return !piece.set.empty();
      case Piece::Kind::literal:
        return true;
      case Piece::Kind::rule:
        return productive_[piece.rule];
      case Piece::Kind::repeat:
        return piece.least == 0 || productive(piece.of[0]);
      case Piece::Kind::choice:
        return std::any_of(piece.of.begin(), piece.of.end(),
                           [&](const Piece& part) { return productive(part); });
      case Piece::Kind::sequence:
        return std::all_of(piece.of.begin(), piece.of.end(),
                           [&](const Piece& part) { return productive(part); });
    }
    return false;
  }

  void find_productive() {
    productive_.assign(rules_.rules.size(), false);
    fixpoint(productive_, [&](std::uint32_t i) { return productive(rules_.rules[i].body); });
  }

  /// Rules that can stand at the very beginning of a piece.
  void leftmost(const Piece& piece, std::vector<std::uint32_t>& out) const {
    if (piece.kind == Piece::Kind::rule && regular_[piece.rule] == kNotRegular) {
      out.push_back(piece.rule);
    }
    for (const Piece& part : piece.of) {
      leftmost(part, out);
      if (piece.kind == Piece::Kind::sequence && !nullable(part)) {
        return;
      }
    }
  }

  Result<void> refuse_left_recursion() {
    enum class Mark : std::uint8_t { fresh, open, done };
    std::vector<Mark> marks(rules_.rules.size(), Mark::fresh);
    struct Visit {
      std::uint32_t rule;
      std::vector<std::uint32_t> next;
    };
    for (std::uint32_t first = 0; first < rules_.rules.size(); ++first) {
      std::vector<Visit> path;
      const auto enter = [&](std::uint32_t rule) {
        marks[rule] = Mark::open;
        path.push_back({rule, {}});
        leftmost(rules_.rules[rule].body, path.back().next);
      };
      if (marks[first] == Mark::fresh && regular_[first] == kNotRegular) {
        enter(first);
      }
      while (!path.empty()) {
        Visit& at = path.back();
        if (at.next.empty()) {
          marks[at.rule] = Mark::done;
          path.pop_back();
          continue;
        }
        const std::uint32_t next = at.next.back();
        at.next.pop_back();
        if (marks[next] == Mark::open) {
          return fail(ErrorCode::unsupported,
                      fmt::format("grammar, line {}", rules_.rules[next].line),
                      fmt::format("the rule '{}' is left-recursive", rules_.rules[next].name),
                      "write the recursion on the right, or as a repetition");
        }
        if (marks[next] == Mark::fresh) {
          enter(next);
        }
      }
    }
    return {};
  }

  Node nodes_of(const Piece& piece, NodeId known_regular = kNotRegular) {
    Node out;
    if (known_regular != kNotRegular || is_regular(piece)) {
      out.kind = Node::Kind::lexeme;
      out.lexeme = lexer_.text(known_regular != kNotRegular ? known_regular : regex(piece));
      return out;
    }
    switch (piece.kind) {
      case Piece::Kind::rule:
        out.kind = Node::Kind::sequence;
        out.of = {piece.rule};
        return out;
      case Piece::Kind::repeat:
        out.kind = Node::Kind::repeat;
        out.least = piece.least;
        out.most = productive(piece.of[0]) ? piece.most : 0;
        out.of = {node(piece.of[0])};
        return out;
      case Piece::Kind::choice:
        out.kind = Node::Kind::choice;
        for (const Piece& part : piece.of) {
          if (productive(part)) {
            out.of.push_back(node(part));
          }
        }
        return out;
      default:
        out.kind = Node::Kind::sequence;
        // Neighbours that are regular become one lexeme.
        for (std::size_t i = 0; i < piece.of.size();) {
          std::size_t end = i;
          while (end < piece.of.size() && is_regular(piece.of[end])) {
            ++end;
          }
          if (end > i) {
            Piece run;
            run.of.assign(piece.of.begin() + static_cast<std::ptrdiff_t>(i),
                          piece.of.begin() + static_cast<std::ptrdiff_t>(end));
            out.of.push_back(node(run));
            i = end;
          } else {
            out.of.push_back(node(piece.of[i++]));
          }
        }
        return out;
    }
  }

  std::uint32_t node(const Piece& piece) {
    if (piece.kind == Piece::Kind::rule) {
      return piece.rule;
    }
    Node made = nodes_of(piece);
    pool_.budget().memory(sizeof(Node) + made.of.size() * 4);
    nodes.push_back(std::move(made));
    return static_cast<std::uint32_t>(nodes.size() - 1);
  }

  const GbnfRules& rules_;
  RegexPool& pool_;
  Lexer& lexer_;
  std::vector<NodeId> regular_;
  std::vector<bool> nullable_, productive_;
};

}  // namespace

Result<std::unique_ptr<GbnfExpander>> GbnfExpander::compile(std::string_view source,
                                                            RegexPool& pool, Lexer& lexer) {
  LM_TRY(const GbnfRules rules, parse_gbnf(source));
  Compiler compiler(rules, pool, lexer);
  LM_TRY(const std::uint32_t root, compiler.compile());
  if (pool.budget().spent()) {
    return fail(ErrorCode::limit_exceeded, "grammar", pool.budget().why(), "simplify the grammar");
  }
  return std::unique_ptr<GbnfExpander>(new GbnfExpander(std::move(compiler.nodes), root));
}

StackId GbnfExpander::document(Machine& machine) {
  return machine.push(start, root_, 0, 0);
}

void GbnfExpander::expand(Machine& machine, const Frame& frame, std::int32_t /*tag*/,
                          std::uint32_t /*text*/, std::vector<StackId>& out) {
  const Node& node = nodes_[frame.a];
  const auto sequence_from = [&](std::size_t i) {
    if (i >= node.of.size()) {
      out.push_back(frame.parent);
      return;
    }
    // The last piece needs no frame to come back to, so right recursion stays flat.
    const StackId rest =
        i + 1 == node.of.size()
            ? frame.parent
            : machine.push(in_sequence, frame.a, static_cast<std::uint32_t>(i + 1), frame.parent);
    out.push_back(machine.push(start, node.of[i], 0, rest));
  };
  const auto repeat_from = [&](std::uint32_t count) {
    if (count >= node.least) {
      out.push_back(frame.parent);
    }
    if (count < node.most) {
      const std::uint32_t next =
          node.most == kUnbounded ? std::min(count + 1, node.least) : count + 1;
      out.push_back(
          machine.push(start, node.of[0], 0, machine.push(in_repeat, frame.a, next, frame.parent)));
    }
  };
  if (frame.kind == in_sequence) {
    sequence_from(frame.b);
    return;
  }
  if (frame.kind == in_repeat) {
    repeat_from(frame.b);
    return;
  }
  switch (node.kind) {
    case Node::Kind::never:
      return;
    case Node::Kind::lexeme:
      machine.push_lexeme(node.lexeme, frame.parent, out);
      return;
    case Node::Kind::sequence:
      sequence_from(0);
      return;
    case Node::Kind::choice:
      for (const std::uint32_t part : node.of) {
        out.push_back(machine.push(start, part, 0, frame.parent));
      }
      return;
    case Node::Kind::repeat:
      repeat_from(0);
      return;
  }
}

}  // namespace lm::grammar
