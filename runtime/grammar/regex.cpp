#include "runtime/grammar/regex.h"

#include <algorithm>

#include "runtime/tokenizer/utf8.h"

namespace lm::grammar {
namespace {

std::uint32_t mixed(std::uint32_t hash, std::uint32_t value) {
  std::uint64_t x = (std::uint64_t{hash} << 32 | value) * 0x9E3779B97F4A7C15u;
  x ^= x >> 29;
  return static_cast<std::uint32_t>(x ^ x >> 32);
}

constexpr std::uint16_t kMaxHeight = 2'000;

template <class T>
std::uint32_t index(const std::vector<T>& v) {
  return static_cast<std::uint32_t>(v.size());
}

}  // namespace

std::size_t RegexPool::NodeHash::operator()(const Node& n) const {
  std::uint32_t hash = static_cast<std::uint32_t>(n.kind);
  for (const std::uint32_t value : {n.a, n.b, n.least, n.most}) {
    hash = mixed(hash, value);
  }
  return hash;
}

std::size_t RegexPool::ListHash::operator()(const std::vector<NodeId>& list) const {
  std::uint32_t hash = 0;
  for (const NodeId id : list) {
    hash = mixed(hash, id);
  }
  return hash;
}

RegexPool::RegexPool(Budget& budget) : budget_(budget) {
  nodes_.push_back({Kind::none, false, false});
  nodes_.push_back({Kind::empty, true, false});
  nodes_.push_back({Kind::complement, true, false, 0, kNone});
}

NodeId RegexPool::intern(const Node& node) {
  if (node.height > kMaxHeight) {
    budget_.spend("is nested too deep");
    return kNone;
  }
  const auto [at, fresh] = ids_.try_emplace(node, index(nodes_));
  if (fresh) {
    if (!budget_.memory(sizeof(Node) * 4)) {
      ids_.erase(at);
      return kNone;
    }
    nodes_.push_back(node);
    nodes_.back().divides = any_part_divides(node);
  }
  return at->second;
}

bool RegexPool::any_part_divides(const Node& node) const {
  switch (node.kind) {
    case Kind::multiple:
      return true;
    case Kind::concat:
      return nodes_[node.a].divides || nodes_[node.b].divides;
    case Kind::complement:
    case Kind::repeat:
      return nodes_[node.a].divides;
    case Kind::alt:
    case Kind::both:
      return std::ranges::any_of(list(node), [&](NodeId part) { return nodes_[part].divides; });
    default:
      return false;
  }
}

NodeId RegexPool::set(const CodeSet& set) {
  if (set.empty()) {
    return kNone;
  }
  std::vector<char32_t> key;
  for (const CodeSet::Range& range : set.ranges()) {
    key.push_back(range.first);
    key.push_back(range.end);
  }
  const auto [at, fresh] = set_ids_.try_emplace(std::move(key), index(sets_));
  if (fresh) {
    budget_.memory(set.ranges().size() * 16 + 64);
    sets_.push_back(set);
  }
  return intern({Kind::set, false, false, 0, at->second});
}

NodeId RegexPool::literal(std::u32string_view text) {
  NodeId out = kEmpty;
  for (std::size_t i = text.size(); i-- > 0;) {
    out = concat(set(CodeSet::single(text[i])), out);
  }
  return out;
}

NodeId RegexPool::literal_utf8(std::string_view text) {
  std::u32string decoded;
  for (std::size_t i = 0; i < text.size();) {
    const utf8::Character c = utf8::decode(text, i);
    decoded.push_back(c.code_point);
    i += c.bytes;
  }
  return literal(decoded);
}

NodeId RegexPool::concat(NodeId a, NodeId b) {
  if (a == kNone || b == kNone) {
    return kNone;
  }
  if (a == kEmpty) {
    return b;
  }
  if (b == kEmpty) {
    return a;
  }
  if (a == kAll && b == kAll) {
    return kAll;
  }
  const Node& first = nodes_[a];
  const Node& second = nodes_[b];
  const int height = first.nullable ? std::max(first.height, second.height) : first.height;
  return intern({Kind::concat, first.nullable && second.nullable, first.search || second.search,
                 static_cast<std::uint16_t>(height + 1), a, b});
}

NodeId RegexPool::list_node(Kind kind, std::vector<NodeId> of) {
  bool null = kind == Kind::both;
  bool search = kind == Kind::both;
  int height = 0;
  for (const NodeId id : of) {
    height = std::max<int>(height, nodes_[id].height);
    null = kind == Kind::both ? null && nullable(id) : null || nullable(id);
    search = search || nodes_[id].search;
  }
  const auto bytes = of.size() * 8 + 64;
  const auto [at, fresh] = list_ids_.try_emplace(std::move(of), index(lists_));
  if (fresh) {
    budget_.memory(bytes);
    lists_.push_back(at->first);
  }
  return intern({kind, null, search, static_cast<std::uint16_t>(height + 1), at->second});
}

NodeId RegexPool::alt(std::vector<NodeId> of) {
  std::vector<NodeId> flat;
  std::optional<CodeSet> merged;
  NodeId only_set = kNone;
  for (const NodeId id : of) {
    const Node& n = nodes_[id];
    if (id == kAll) {
      return kAll;
    }
    if (n.kind == Kind::alt) {
      flat.insert(flat.end(), list(n).begin(), list(n).end());
    } else if (n.kind == Kind::set && only_set == kNone) {
      only_set = id;
    } else if (n.kind == Kind::set && id != only_set) {
      if (!merged) {
        merged = sets_[nodes_[only_set].a];
      }
      merged->add(sets_[n.a]);
    } else if (id != kNone && n.kind != Kind::set) {
      flat.push_back(id);
    }
  }
  if (only_set != kNone) {
    flat.push_back(merged ? set(*merged) : only_set);
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  const bool other_null = std::any_of(flat.begin(), flat.end(),
                                      [&](NodeId id) { return id != kEmpty && nullable(id); });
  if (other_null) {
    std::erase(flat, kEmpty);
  }
  budget_.tick(flat.size());
  if (flat.empty()) {
    return kNone;
  }
  return flat.size() == 1 ? flat[0] : list_node(Kind::alt, std::move(flat));
}

NodeId RegexPool::both(std::vector<NodeId> of) {
  std::vector<NodeId> flat;
  for (const NodeId id : of) {
    const Node& n = nodes_[id];
    if (id == kNone) {
      return kNone;
    }
    if (n.kind == Kind::both) {
      flat.insert(flat.end(), list(n).begin(), list(n).end());
    } else if (id != kAll) {
      flat.push_back(id);
    }
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  budget_.tick(flat.size());
  if (flat.empty()) {
    return kAll;
  }
  for (const NodeId id : flat) {
    if (id == kEmpty) {
      const bool all_null =
          std::all_of(flat.begin(), flat.end(), [&](NodeId other) { return nullable(other); });
      return all_null ? kEmpty : kNone;
    }
    const Node& n = nodes_[id];
    if (n.kind == Kind::complement && std::binary_search(flat.begin(), flat.end(), n.a)) {
      return kNone;
    }
  }
  return flat.size() == 1 ? flat[0] : list_node(Kind::both, std::move(flat));
}

NodeId RegexPool::complement(NodeId a) {
  if (a == kNone) {
    return kAll;
  }
  if (nodes_[a].kind == Kind::complement) {
    return nodes_[a].a;
  }
  return intern(
      {Kind::complement, !nullable(a), true, static_cast<std::uint16_t>(nodes_[a].height + 1), a});
}

NodeId RegexPool::repeat(NodeId a, std::uint32_t least, std::uint32_t most) {
  if (most == 0 || a == kEmpty) {
    return kEmpty;
  }
  if (a == kNone) {
    return least == 0 ? kEmpty : kNone;
  }
  if (nullable(a)) {
    least = 0;
  }
  if (least == 1 && most == 1) {
    return a;
  }
  const Node& n = nodes_[a];
  if (most == kUnbounded && least == 0) {
    if (a == kAll || (n.kind == Kind::repeat && n.least <= 1 && n.most == kUnbounded)) {
      return n.kind == Kind::repeat ? repeat(n.a, 0, kUnbounded) : a;
    }
    if (n.kind == Kind::set && sets_[n.a].ranges().size() == 1 &&
        sets_[n.a].ranges()[0] == CodeSet::Range{0, kCodeEnd}) {
      return kAll;
    }
  }
  return intern({Kind::repeat, least == 0, n.search, static_cast<std::uint16_t>(n.height + 1), a, 0,
                 least, most});
}

NodeId RegexPool::any_of(std::vector<std::u32string> words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  if (words.empty()) {
    return kNone;
  }
  std::uint64_t bytes = 0;
  for (const std::u32string& word : words) {
    bytes += word.size() * 4 + 40;
  }
  if (!budget_.memory(bytes)) {
    return kNone;
  }
  const auto end = static_cast<std::uint32_t>(words.size());
  word_lists_.push_back(std::move(words));
  return trie_node({index(word_lists_) - 1, 0, end, 0});
}

NodeId RegexPool::trie_node(const Trie& trie) {
  const std::vector<std::u32string>& words = word_lists_[trie.words];
  const bool null = words[trie.first].size() == trie.depth;
  if (null && trie.end == trie.first + 1) {
    return kEmpty;
  }
  const auto [at, fresh] = trie_ids_.try_emplace(trie, kNone);
  if (fresh) {
    tries_.push_back(trie);
    at->second = intern({Kind::trie, null, false, 0, index(tries_) - 1});
  }
  return at->second;
}

NodeId RegexPool::compare(Relation relation, const Decimal& bound) {
  for (std::uint32_t i = 0; i < comparisons_.size(); ++i) {
    if (comparisons_[i].relation == relation && comparisons_[i].bound == bound) {
      return compare_node(i, {});
    }
  }
  comparisons_.push_back({relation, bound});
  return compare_node(index(comparisons_) - 1, {});
}

NodeId RegexPool::compare_node(std::uint32_t comparison, const CompareState& state) {
  const auto [at, fresh] = compare_ids_.try_emplace({comparison, state}, kNone);
  if (fresh) {
    compare_states_.push_back(state);
    at->second = intern({Kind::compare, holds(comparisons_[comparison], state), true, 0, comparison,
                         index(compare_states_) - 1});
  }
  return at->second;
}

NodeId RegexPool::multiple_of(std::uint64_t modulus, std::uint32_t scale) {
  multiples_.push_back({modulus, scale});
  return multiple_node(index(multiples_) - 1, {});
}

NodeId RegexPool::multiple_node(std::uint32_t multiple, const MultipleState& state) {
  const auto [at, fresh] = multiple_ids_.try_emplace({multiple, state}, kNone);
  if (fresh) {
    multiple_states_.push_back(state);
    at->second = intern({Kind::multiple, holds(multiples_[multiple], state), true, 0, multiple,
                         index(multiple_states_) - 1});
  }
  return at->second;
}

NodeId RegexPool::derivative(NodeId id, char32_t c) {
  if (id == kNone || id == kEmpty) {
    return kNone;
  }
  if (id == kAll) {
    return kAll;
  }
  if (nodes_[id].kind == Kind::set) {
    return sets_[nodes_[id].a].contains(c) ? kEmpty : kNone;
  }
  const std::uint64_t key = std::uint64_t{id} << 21 | c;
  if (const auto known = derivatives_.find(key); known != derivatives_.end()) {
    return known->second;
  }
  if (!budget_.tick() || !budget_.memory(48)) {
    return kNone;
  }
  const NodeId out = compute_derivative(id, c);
  derivatives_.emplace(key, out);
  return out;
}

NodeId RegexPool::compute_derivative(NodeId id, char32_t c) {
  const Node n = nodes_[id];
  switch (n.kind) {
    case Kind::none:
    case Kind::empty:
    case Kind::set:
      return kNone;
    case Kind::concat: {
      const NodeId first = concat(derivative(n.a, c), n.b);
      return nullable(n.a) ? alt({first, derivative(n.b, c)}) : first;
    }
    case Kind::alt:
    case Kind::both: {
      const std::vector<NodeId> of = lists_[n.a];
      std::vector<NodeId> out;
      out.reserve(of.size());
      for (const NodeId part : of) {
        out.push_back(derivative(part, c));
        if (n.kind == Kind::both && out.back() == kNone) {
          return kNone;
        }
      }
      return n.kind == Kind::alt ? alt(std::move(out)) : both(std::move(out));
    }
    case Kind::complement:
      return complement(derivative(n.a, c));
    case Kind::repeat: {
      const std::uint32_t least = n.least > 0 ? n.least - 1 : 0;
      const std::uint32_t most = n.most == kUnbounded ? kUnbounded : n.most - 1;
      return concat(derivative(n.a, c), repeat(n.a, least, most));
    }
    case Kind::trie: {
      const Trie trie = tries_[n.a];
      const std::vector<std::u32string>& words = word_lists_[trie.words];
      const auto first = words.begin() + trie.first;
      const auto end = words.begin() + trie.end;
      const auto before = [&](const std::u32string& word, char32_t wanted) {
        return word.size() == trie.depth || word[trie.depth] < wanted;
      };
      const auto low = std::lower_bound(first, end, c, before);
      const auto high = std::lower_bound(low, end, c + 1, before);
      if (low == high) {
        return kNone;
      }
      return trie_node({trie.words, static_cast<std::uint32_t>(low - words.begin()),
                        static_cast<std::uint32_t>(high - words.begin()), trie.depth + 1});
    }
    case Kind::compare: {
      CompareState state = compare_states_[n.b];
      return read(comparisons_[n.a], state, c) ? compare_node(n.a, state) : kNone;
    }
    case Kind::multiple: {
      MultipleState state = multiple_states_[n.b];
      return read(multiples_[n.a], state, c) ? multiple_node(n.a, state) : kNone;
    }
  }
  return kNone;
}

bool RegexPool::matches(NodeId id, std::u32string_view text) {
  for (const char32_t c : text) {
    id = derivative(id, c);
  }
  return nullable(id);
}

bool RegexPool::counted_set(NodeId id, std::uint32_t& least, std::uint32_t& most,
                            NodeId& element) const {
  const Node& n = nodes_[id];
  if (n.kind != Kind::repeat || nodes_[n.a].kind != Kind::set) {
    return false;
  }
  least = n.least;
  most = n.most;
  element = n.a;
  return true;
}

}  // namespace lm::grammar
