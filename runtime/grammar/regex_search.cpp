// Searches in the automaton of an expression: is there a string at all, how many are there.
#include <algorithm>
#include <deque>

#include "runtime/grammar/regex.h"

namespace lm::grammar {

std::vector<char32_t> RegexPool::boundaries(NodeId id) {
  std::vector<char32_t> out = {0};
  collect_boundaries(id, out);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void RegexPool::collect_boundaries(NodeId id, std::vector<char32_t>& out) {
  const Node& n = nodes_[id];
  switch (n.kind) {
    case Kind::none:
    case Kind::empty:
      return;
    case Kind::set:
      for (const CodeSet::Range& range : sets_[n.a].ranges()) {
        out.push_back(range.first);
        out.push_back(range.end);
      }
      return;
    case Kind::concat:
      collect_boundaries(n.a, out);
      if (nullable(n.a)) {
        collect_boundaries(n.b, out);
      }
      return;
    case Kind::alt:
    case Kind::both:
      for (const NodeId part : list(n)) {
        collect_boundaries(part, out);
      }
      return;
    case Kind::complement:
    case Kind::repeat:
      collect_boundaries(n.a, out);
      return;
    case Kind::trie: {
      const Trie& trie = tries_[n.a];
      const std::vector<std::u32string>& words = word_lists_[trie.words];
      char32_t last = kCodeEnd;
      for (std::uint32_t i = trie.first; i < trie.end; ++i) {
        if (words[i].size() > trie.depth && words[i][trie.depth] != last) {
          last = words[i][trie.depth];
          out.push_back(last);
          out.push_back(last + 1);
        }
      }
      budget_.tick(trie.end - trie.first);
      return;
    }
    case Kind::compare:
    case Kind::multiple:
      for (char32_t c = U'-'; c <= U'9' + 1; ++c) {
        out.push_back(c);
      }
      return;
  }
}

bool RegexPool::live(NodeId id) {
  if (!nodes_[id].search) {
    return id != kNone;
  }
  if (const auto known = live_.find(id); known != live_.end()) {
    return known->second;
  }
  // Breadth first until a state that accepts, or that is known to lead to one.
  std::deque<NodeId> queue = {id};
  std::unordered_map<NodeId, NodeId> parent = {{id, id}};
  while (!queue.empty() && !budget_.spent()) {
    const NodeId at = queue.front();
    queue.pop_front();
    if (!budget_.state()) {
      break;
    }
    const auto known = live_.find(at);
    if (nullable(at) || !nodes_[at].search || (known != live_.end() && known->second)) {
      for (NodeId step = at;; step = parent[step]) {
        live_[step] = true;
        if (step == id) {
          return true;
        }
      }
    }
    if (known != live_.end()) {
      continue;
    }
    NodeId last = kNone;
    for (const char32_t c : boundaries(at)) {
      if (c >= kCodeEnd) {
        break;
      }
      const NodeId next = derivative(at, c);
      if (next != kNone && next != last && parent.try_emplace(next, at).second) {
        queue.push_back(next);
        budget_.memory(32);
      }
      last = next;
    }
  }
  if (budget_.spent()) {
    return false;
  }
  for (const auto& [dead, from] : parent) {
    live_[dead] = false;
  }
  return false;
}

namespace {
constexpr std::size_t kMaxCountedStates = 2'000;
}  // namespace

std::uint64_t RegexPool::count(NodeId id, std::uint64_t limit) {
  if (!live(id)) {
    return 0;
  }
  std::unordered_map<NodeId, std::uint64_t> known;  // kNoCount also while a state is being counted
  const std::uint64_t n = count(id, limit, known);
  return budget_.spent() ? kNoCount : n;
}

std::uint64_t RegexPool::count(NodeId id, std::uint64_t limit,
                               std::unordered_map<NodeId, std::uint64_t>& known) {
  const auto [at, fresh] = known.try_emplace(id, kNoCount);
  if (!fresh) {
    return at->second;  // a loop that a string leads out of: endlessly many
  }
  if (known.size() > kMaxCountedStates || !budget_.state()) {
    return kNoCount;
  }
  std::uint64_t total = nullable(id) ? 1 : 0;
  const std::vector<char32_t> bounds = boundaries(id);
  for (std::size_t i = 0; i < bounds.size() && bounds[i] < kCodeEnd; ++i) {
    const NodeId next = derivative(id, bounds[i]);
    if (!live(next)) {
      continue;
    }
    const std::uint64_t below = count(next, limit, known);
    const char32_t end = i + 1 < bounds.size() ? std::min(bounds[i + 1], kCodeEnd) : kCodeEnd;
    if (below == kNoCount || (end - bounds[i]) > limit || below > limit) {
      return kNoCount;
    }
    total += below * (end - bounds[i]);
    if (total > limit) {
      return kNoCount;
    }
  }
  return known[id] = total;
}

}  // namespace lm::grammar
