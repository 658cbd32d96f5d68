/// Regular languages over code points with intersection and complement, matched by derivatives
/// (Brzozowski 1964; Owens, Reppy and Turon 2009): a state of the automaton is an expression, and
/// reading a character turns it into another one. Nothing backtracks and nothing is built before it
/// is needed.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/grammar/budget.h"
#include "runtime/grammar/decimal.h"
#include "runtime/tokenizer/code_set.h"

namespace lm::grammar {

using NodeId = std::uint32_t;
using tokenizer::CodeSet;
constexpr std::uint32_t kUnbounded = 0xFFFFFFFF;
constexpr char32_t kCodeEnd = 0x110000;

/// Expressions, each kept once: equal expressions have equal ids. The constructors simplify, so
/// that the derivatives of one expression are finitely many.
class RegexPool {
 public:
  explicit RegexPool(Budget& budget);

  static constexpr NodeId kNone = 0;   ///< the empty language
  static constexpr NodeId kEmpty = 1;  ///< only the empty string
  static constexpr NodeId kAll = 2;    ///< every string

  NodeId set(const CodeSet& set);
  NodeId literal(std::u32string_view text);
  NodeId literal_utf8(std::string_view text);
  NodeId concat(NodeId a, NodeId b);
  NodeId alt(std::vector<NodeId> of);
  NodeId both(std::vector<NodeId> of);  ///< intersection
  NodeId complement(NodeId a);
  NodeId without(NodeId a, NodeId b) { return both({a, complement(b)}); }
  /// `most` kUnbounded: no limit.
  NodeId repeat(NodeId a, std::uint32_t least, std::uint32_t most);
  NodeId optional(NodeId a) { return repeat(a, 0, 1); }
  NodeId star(NodeId a) { return repeat(a, 0, kUnbounded); }
  /// One of many strings, kept as a trie.
  NodeId any_of(std::vector<std::u32string> words);
  /// Decimal texts (no exponent) whose value is in `relation` to `bound`. Texts that are not
  /// well-formed numbers may be in it too: intersect with the syntax.
  NodeId compare(Relation relation, const Decimal& bound);
  /// Decimal texts (no exponent) whose value is a multiple of `modulus` / 10^`scale`.
  NodeId multiple_of(std::uint64_t modulus, std::uint32_t scale);

  bool nullable(NodeId id) const { return nodes_[id].nullable; }
  NodeId derivative(NodeId id, char32_t c);
  /// Does the language hold any string at all? Exact; searches the automaton when the expression
  /// has intersections, complements or numbers in it. Over budget: false.
  bool live(NodeId id);
  bool matches(NodeId id, std::u32string_view text);
  /// How many strings the language holds; kNoCount when they are more than `limit`, or when that
  /// would take long to tell.
  static constexpr std::uint64_t kNoCount = 0xFFFFFFFFFFFFFFFF;
  std::uint64_t count(NodeId id, std::uint64_t limit);
  /// Code points at which the derivative may change, ascending, 0 first: between two neighbours it
  /// is one expression.
  std::vector<char32_t> boundaries(NodeId id);

  /// Is divisibility looked at anywhere in it?
  bool divides(NodeId id) const { return nodes_[id].divides; }

  /// When `id` is C{least,most} for a set C: reads the counts. Used to treat long counted strings
  /// as one state.
  bool counted_set(NodeId id, std::uint32_t& least, std::uint32_t& most, NodeId& element) const;

  Budget& budget() { return budget_; }

 private:
  enum class Kind : std::uint8_t {
    none,
    empty,
    set,
    concat,
    alt,
    both,
    complement,
    repeat,
    trie,
    compare,
    multiple
  };
  struct Node {
    Kind kind;
    bool nullable;
    bool search;               ///< `live` needs a search
    std::uint16_t height = 0;  ///< calls that a derivative takes
    std::uint32_t a = 0, b = 0, least = 0, most = 0;
    bool divides = false;  ///< follows from the rest
    bool operator==(const Node&) const = default;
  };
  struct NodeHash {
    std::size_t operator()(const Node& n) const;
  };
  struct ListHash {
    std::size_t operator()(const std::vector<NodeId>& list) const;
  };
  /// Words sorted; those of [first, end) share their first `depth` characters.
  struct Trie {
    std::uint32_t words, first, end, depth;
    auto operator<=>(const Trie&) const = default;
  };

  NodeId intern(const Node& node);
  bool any_part_divides(const Node& node) const;
  NodeId list_node(Kind kind, std::vector<NodeId> of);
  NodeId trie_node(const Trie& trie);
  NodeId compare_node(std::uint32_t comparison, const CompareState& state);
  NodeId multiple_node(std::uint32_t multiple, const MultipleState& state);
  std::span<const NodeId> list(const Node& n) const { return lists_[n.a]; }
  NodeId compute_derivative(NodeId id, char32_t c);
  void collect_boundaries(NodeId id, std::vector<char32_t>& out);
  std::uint64_t count(NodeId id, std::uint64_t limit,
                      std::unordered_map<NodeId, std::uint64_t>& known);

  Budget& budget_;
  std::vector<Node> nodes_;
  std::unordered_map<Node, NodeId, NodeHash> ids_;
  std::vector<std::vector<NodeId>> lists_;
  std::unordered_map<std::vector<NodeId>, std::uint32_t, ListHash> list_ids_;
  std::vector<CodeSet> sets_;
  std::map<std::vector<char32_t>, std::uint32_t> set_ids_;
  std::vector<std::vector<std::u32string>> word_lists_;
  std::vector<Trie> tries_;
  std::map<Trie, NodeId> trie_ids_;
  std::vector<Comparison> comparisons_;
  std::vector<CompareState> compare_states_;
  std::map<std::pair<std::uint32_t, CompareState>, NodeId> compare_ids_;
  std::vector<Multiple> multiples_;
  std::vector<MultipleState> multiple_states_;
  std::map<std::pair<std::uint32_t, MultipleState>, NodeId> multiple_ids_;
  std::unordered_map<std::uint64_t, NodeId> derivatives_;
  std::unordered_map<NodeId, bool> live_;
};

}  // namespace lm::grammar
