#include "runtime/tokenizer/pattern.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include <fmt/core.h>

#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {
namespace {

using Kind = PatternProgram::Kind;

constexpr std::uint16_t kEndState = 0;     ///< the state at the end of a text
constexpr std::uint16_t kInside = 0xFFFF;  ///< this byte begins no character
constexpr std::size_t kMaxStates = 20'000;
constexpr std::size_t kMaxClasses = 255;

}  // namespace

/// Makes the tables of a pattern.
class Pattern::Builder {
 public:
  explicit Builder(Pattern& pattern) : p_(pattern) {}

  bool build() { return build_classes() && build_states(); }

 private:
  using Bits = std::vector<std::uint64_t>;
  struct BitsHash {
    std::size_t operator()(const Bits& bits) const {
      std::uint64_t hash = 0;
      for (const std::uint64_t word : bits) {
        hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
        hash ^= hash >> 29;
      }
      return hash;
    }
  };

  /// Two characters are of one class when the same sets contain them.
  bool build_classes() {
    const std::vector<CodeSet>& sets = p_.program_.sets;
    struct Bound {
      char32_t at;
      std::size_t set;
    };
    std::vector<Bound> bounds;
    for (std::size_t i = 0; i < sets.size(); ++i) {
      for (const CodeSet::Range& range : sets[i].ranges()) {
        bounds.push_back({range.first, i});
        bounds.push_back({range.end, i});
      }
    }
    std::sort(bounds.begin(), bounds.end(),
              [](const Bound& a, const Bound& b) { return a.at < b.at; });

    std::map<std::vector<bool>, std::uint8_t> class_of_members;
    std::vector<bool> members(sets.size());
    std::size_t i = 0;
    for (char32_t at = 0; at < unicode::kEnd;) {
      for (; i < bounds.size() && bounds[i].at == at; ++i) {
        members[bounds[i].set] = !members[bounds[i].set];
      }
      const auto [known, is_new] =
          class_of_members.try_emplace(members, static_cast<std::uint8_t>(class_of_members.size()));
      if (is_new) {
        if (class_of_members.size() > kMaxClasses) {
          return false;
        }
        members_.push_back(members);
      }
      p_.class_first_.push_back(at);
      p_.class_at_.push_back(known->second);
      at = i < bounds.size() ? bounds[i].at : unicode::kEnd;
    }
    p_.n_classes_ = members_.size();
    for (char32_t c = 0; c < p_.ascii_class_.size(); ++c) {
      p_.ascii_class_[c] = p_.class_of(c);
    }
    return true;
  }

  bool build_states() {
    p_.words_ = (p_.program_.nodes.size() + 63) / 64;
    Bits bits(p_.words_);
    finish(bits);
    state_of(bits);
    Bits behind(p_.words_);
    for (std::size_t state = 0; state < p_.n_states_; ++state) {
      for (std::size_t c = 0; c < p_.n_classes_; ++c) {
        const auto from = p_.reaching_.begin() + static_cast<std::ptrdiff_t>(state * p_.words_);
        std::copy_n(from, p_.words_, behind.begin());
        read_character(behind, members_[c], bits);
        finish(bits);
        p_.before_[state * p_.n_classes_ + c] = state_of(bits);
        if (p_.n_states_ > kMaxStates) {
          return false;
        }
      }
    }
    return true;
  }

  /// Sets the bits of `character` nodes at a character that is in the sets `members`.
  void read_character(const Bits& behind, const std::vector<bool>& members, Bits& bits) const {
    std::fill(bits.begin(), bits.end(), 0);
    for (std::size_t id = 0; id < p_.program_.nodes.size(); ++id) {
      const PatternProgram::Node& node = p_.program_.nodes[id];
      if (node.kind == Kind::character && members[node.set] && test(behind, node.next)) {
        bits[id / 64] |= 1ull << (id % 64);
      }
    }
  }

  /// Sets the bits of the other nodes, which follow from those.
  void finish(Bits& bits) const {
    for (const std::uint16_t id : p_.program_.evaluation_order) {
      const PatternProgram::Node& node = p_.program_.nodes[id];
      bool reaches = true;
      switch (node.kind) {
        case Kind::accept:
        case Kind::character:
          break;
        case Kind::split:
          reaches = test(bits, node.next) || test(bits, node.other);
          break;
        case Kind::ahead:
          reaches = test(bits, node.next) && test(bits, node.other);
          break;
        case Kind::not_ahead:
          reaches = test(bits, node.next) && !test(bits, node.other);
          break;
      }
      bits[id / 64] |= std::uint64_t{reaches} << (id % 64);
    }
  }

  static bool test(const Bits& bits, std::size_t id) {
    return (bits[id / 64] >> (id % 64) & 1) != 0;
  }

  std::uint16_t state_of(const Bits& bits) {
    const auto [known, is_new] =
        states_.try_emplace(bits, static_cast<std::uint16_t>(p_.n_states_));
    if (is_new) {
      ++p_.n_states_;
      p_.reaching_.insert(p_.reaching_.end(), bits.begin(), bits.end());
      p_.before_.resize(p_.before_.size() + p_.n_classes_);
    }
    return known->second;
  }

  Pattern& p_;
  std::vector<std::vector<bool>> members_;  ///< per class: the sets that contain its characters
  std::unordered_map<Bits, std::uint16_t, BitsHash> states_;
};

Result<Pattern> Pattern::compile(std::string_view expression) {
  Pattern pattern;
  LM_TRY(pattern.program_, compile_pattern(expression));
  if (!Builder(pattern).build()) {
    return fail(ErrorCode::limit_exceeded, "pre-tokenizer",
                "expression needs too large an automaton");
  }
  return pattern;
}

std::uint8_t Pattern::class_of(char32_t code_point) const {
  const auto above = std::upper_bound(class_first_.begin(), class_first_.end(), code_point);
  return class_at_[static_cast<std::size_t>(above - class_first_.begin()) - 1];
}

void Pattern::scan_back(std::string_view text, Scratch& scratch) const {
  std::vector<std::uint16_t>& states = scratch.states;
  if (states.size() < text.size() + 1) {
    states.resize(text.size() + 1);
  }
  std::uint16_t state = kEndState;
  states[text.size()] = state;
  for (std::size_t end = text.size(); end > 0;) {
    std::size_t begin = end - 1;
    std::uint8_t cls = 0;
    if (const auto byte = static_cast<unsigned char>(text[begin]); byte < 0x80) {
      cls = ascii_class_[byte];
    } else {
      const utf8::Character c = utf8::decode_before(text, end);
      begin = end - c.bytes;
      cls = class_of(c.code_point);
      std::fill(states.begin() + static_cast<std::ptrdiff_t>(begin) + 1,
                states.begin() + static_cast<std::ptrdiff_t>(end), kInside);
    }
    state = before_[state * n_classes_ + cls];
    states[begin] = state;
    end = begin;
    ++scratch.steps;
  }
}

/// The end of the match that begins at `from`, where one is known to exist.
std::size_t Pattern::match_end(std::size_t from, std::size_t size, Scratch& scratch) const {
  const std::uint16_t* states = scratch.states.data();
  std::size_t at = from;
  std::uint16_t id = program_.start;
  std::uint64_t steps = 1;
  for (; program_.nodes[id].kind != Kind::accept; ++steps) {
    const PatternProgram::Node& node = program_.nodes[id];
    if (node.kind == Kind::character) {
      do {
        ++at;
      } while (at < size && states[at] == kInside);
    }
    id = node.kind == Kind::split && !reaches_match(states[at], node.next) ? node.other : node.next;
  }
  scratch.steps += steps;
  return at;
}

void Pattern::split(std::string_view text, std::size_t base, std::vector<std::size_t>& ends,
                    Scratch& scratch) const {
  scan_back(text, scratch);
  const std::vector<std::uint16_t>& states = scratch.states;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    ++scratch.steps;
    if (states[at] == kInside || !reaches_match(states[at], program_.start)) {
      ++at;
      continue;
    }
    const std::size_t end = match_end(at, text.size(), scratch);
    if (at > done) {
      ends.push_back(base + at);
    }
    if (end > at) {
      ends.push_back(base + end);
    }
    done = end;
    at = std::max(end, at + 1);
  }
  if (text.size() > done) {
    ends.push_back(base + text.size());
  }
}

}  // namespace lm::tokenizer
