#include "runtime/grammar/lexer.h"

#include <algorithm>

namespace lm::grammar {
namespace {

constexpr std::uint32_t kNoChars = 0;
constexpr std::uint32_t kMixed = 0xFFFFFFFF;
constexpr char32_t kHighSurrogate = 0xD800, kLowSurrogate = 0xDC00, kSurrogateEnd = 0xE000;

bool surrogate(char32_t c) {
  return c >= kHighSurrogate && c < kSurrogateEnd;
}

int hex_digit(int byte) {
  if (byte >= '0' && byte <= '9') {
    return byte - '0';
  }
  const int lower = byte | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

Lexer::Lexer(RegexPool& pool) : pool_(pool) {
  chars_.push_back({{}, kNotAccepting, true, {{0, kNoChars}}});
  states_.emplace_back();
}

std::uint32_t Lexer::chars_of(std::vector<Tagged> of) {
  std::erase_if(of, [&](const Tagged& t) { return !pool_.live(t.language); });
  if (of.empty()) {
    return kNoChars;
  }
  std::sort(of.begin(), of.end());
  const auto [at, fresh] =
      chars_ids_.try_emplace(std::move(of), static_cast<std::uint32_t>(chars_.size()));
  if (fresh) {
    pool_.budget().memory(at->first.size() * 24 + 160);
    Chars chars;
    chars.of = at->first;
    for (const Tagged& t : chars.of) {
      if (chars.accepts == kNotAccepting && pool_.nullable(t.language)) {
        chars.accepts = t.tag;
      }
    }
    chars_.push_back(std::move(chars));
  }
  return at->second;
}

void Lexer::expand(std::uint32_t id) {
  if (chars_[id].expanded) {
    return;
  }
  chars_[id].expanded = true;
  const std::vector<Tagged> of = chars_[id].of;
  std::vector<char32_t> bounds = {0, kHighSurrogate, kSurrogateEnd};
  for (const Tagged& t : of) {
    const std::vector<char32_t> more = pool_.boundaries(t.language);
    bounds.insert(bounds.end(), more.begin(), more.end());
  }
  std::sort(bounds.begin(), bounds.end());
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
  std::vector<std::pair<char32_t, std::uint32_t>> steps;
  std::vector<Tagged> next;
  for (const char32_t c : bounds) {
    if (c >= kCodeEnd) {
      break;
    }
    next.clear();
    if (!surrogate(c)) {
      for (const Tagged& t : of) {
        if (const NodeId language = pool_.derivative(t.language, c); language != RegexPool::kNone) {
          next.push_back({t.tag, language});
        }
      }
    }
    const std::uint32_t target = chars_of(next);
    if (steps.empty() || steps.back().second != target) {
      steps.emplace_back(c, target);
    }
  }
  pool_.budget().memory(steps.size() * sizeof(steps[0]));
  chars_[id].steps = std::move(steps);
}

std::uint32_t Lexer::step(std::uint32_t chars, char32_t c) {
  expand(chars);
  const auto& steps = chars_[chars].steps;
  const auto above = std::upper_bound(
      steps.begin(), steps.end(), c, [](char32_t value, const auto& s) { return value < s.first; });
  return above == steps.begin() ? kNoChars : std::prev(above)->second;
}

std::uint32_t Lexer::common_step(std::uint32_t chars, char32_t first, char32_t end,
                                 bool& any_live) {
  expand(chars);
  const auto& steps = chars_[chars].steps;
  auto at = std::upper_bound(steps.begin(), steps.end(), first,
                             [](char32_t value, const auto& s) { return value < s.first; });
  if (at != steps.begin()) {
    --at;
  }
  const std::uint32_t target = at->second;
  std::uint32_t out = target;
  for (; at != steps.end() && at->first < end; ++at) {
    any_live = any_live || at->second != kNoChars;
    if (at->second != target) {
      out = kMixed;
    }
  }
  return out;
}

ByteState Lexer::intern(const State& state) {
  const auto [at, fresh] = state_ids_.try_emplace(state, static_cast<ByteState>(states_.size()));
  if (fresh) {
    if (!pool_.budget().memory(sizeof(Info) + 96)) {
      state_ids_.erase(at);
      return kDead;
    }
    Info info;
    info.state = state;
    if (state.place == Place::text) {
      info.accepts = chars_[state.chars].accepts;
    } else if (state.place == Place::end) {
      info.accepts = static_cast<std::int32_t>(state.bits);
    }
    states_.push_back(info);
  }
  return at->second;
}

ByteState Lexer::text(NodeId language) {
  const std::uint32_t chars = chars_of({{0, language}});
  return chars == kNoChars ? kDead : intern({Place::text, false, 0, chars, 0});
}

ByteState Lexer::bytes(const std::string& bytes) {
  if (bytes.empty() || bytes.size() > 255) {
    return kDead;
  }
  const auto known = std::find(byte_strings_.begin(), byte_strings_.end(), bytes);
  const auto number = static_cast<std::uint32_t>(known - byte_strings_.begin());
  if (known == byte_strings_.end()) {
    byte_strings_.push_back(bytes);
  }
  return intern({Place::bytes, false, 0, 0, number});
}

ByteState Lexer::json_string(std::vector<Tagged> of) {
  const std::uint32_t chars = chars_of(std::move(of));
  return chars == kNoChars ? kDead : intern({Place::quote, false, 0, chars, 0});
}

const std::array<ByteState, 256>& Lexer::row(ByteState state) {
  if (states_[state].row == nullptr) {
    std::array<ByteState, 256> fresh{};
    if (pool_.budget().memory(sizeof(fresh))) {
      fill(State(states_[state].state), fresh);
    }
    rows_.push_back(fresh);
    states_[state].row = &rows_.back();
  }
  return *states_[state].row;
}

bool Lexer::goes_on(ByteState state) {
  if (states_[state].goes_on < 0) {
    const auto& bytes = row(state);
    const bool any =
        std::any_of(bytes.begin(), bytes.end(), [](ByteState next) { return next != kDead; });
    states_[state].goes_on = any ? 1 : 0;
  }
  return states_[state].goes_on > 0;
}

ByteState Lexer::after_character(Place unit, std::uint32_t chars) {
  if (chars == kNoChars) {
    return kDead;
  }
  const bool in_text = unit == Place::text || unit == Place::utf8;
  return intern({in_text ? Place::text : Place::inside, false, 0, chars, 0});
}

void Lexer::fill(const State& s, std::array<ByteState, 256>& row) {
  switch (s.place) {
    case Place::dead:
    case Place::end:
      return;
    case Place::bytes: {
      const std::string& text = byte_strings_[s.bits];
      const auto read = static_cast<std::uint8_t>(s.left + 1);
      row[static_cast<std::uint8_t>(text[s.left])] =
          read == text.size() ? intern({Place::end, false, 0, 0, 0})
                              : intern({Place::bytes, false, read, 0, s.bits});
      return;
    }
    case Place::quote:
      row['"'] = intern({Place::inside, false, 0, s.chars, 0});
      return;
    case Place::text:
      for (std::size_t byte = 0; byte < 0x80; ++byte) {
        row[byte] = after_character(s.place, step(s.chars, static_cast<char32_t>(byte)));
      }
      fill_lead_bytes(s, Place::utf8, row);
      return;
    case Place::inside: {
      bool any = false;
      for (std::size_t byte = 0x20; byte < 0x80; ++byte) {
        if (byte != '"' && byte != '\\') {
          row[byte] = after_character(s.place, step(s.chars, static_cast<char32_t>(byte)));
        }
      }
      fill_lead_bytes(s, Place::string_utf8, row);
      common_step(s.chars, 0, kCodeEnd, any);
      const State escape{Place::escape, false, 0, s.chars, 0};
      if (any && plain_escapes_) {  // they can't spell every character
        std::array<ByteState, 256> behind{};
        fill_escape(escape, behind);
        any =
            std::any_of(behind.begin(), behind.end(), [](ByteState next) { return next != kDead; });
      }
      if (any) {
        row['\\'] = intern(escape);
      }
      if (const std::int32_t tag = chars_[s.chars].accepts; tag != kNotAccepting) {
        row['"'] = intern({Place::end, false, 0, 0, static_cast<std::uint32_t>(tag)});
      }
      return;
    }
    case Place::utf8:
    case Place::string_utf8:
      fill_continuation(s, row);
      return;
    case Place::escape:
      fill_escape(s, row);
      return;
    case Place::hex:
    case Place::low_hex:
      fill_hex(s, row);
      return;
    case Place::low_escape:
      row['\\'] = intern({Place::low_u, s.settled, 0, s.chars, s.bits});
      return;
    case Place::low_u:
      row['u'] = intern({Place::low_hex, s.settled, 4, s.chars, s.bits << 16});
      return;
  }
}

/// `bits` so far of a UTF-8 sequence with `left` bytes to come; kDead when nothing can come.
ByteState Lexer::partial(Place place, std::uint32_t chars, bool settled, std::uint32_t bits,
                         std::uint8_t left) {
  if (settled) {
    return intern({place, true, left, chars, 0});
  }
  const int shift = 6 * left;
  char32_t first = bits << shift;
  char32_t end = (bits + 1) << shift;
  // Overlong forms, surrogates and what lies behind the last code point do not count.
  const bool overlong = bits == 0 && left >= 2;
  const bool cut = overlong || (first < kSurrogateEnd && end > kHighSurrogate) || end > kCodeEnd;
  if (overlong) {
    first = left == 2 ? 0x800 : 0x10000;
  }
  end = std::min(end, kCodeEnd);
  bool any = false;
  const std::uint32_t common = common_step(chars, first, end, any);
  if (!any) {
    return kDead;
  }
  if (common != kMixed && !cut) {
    return intern({place, true, left, common, 0});
  }
  return intern({place, false, left, chars, bits});
}

void Lexer::fill_lead_bytes(const State& s, Place partial_place, std::array<ByteState, 256>& row) {
  for (std::uint32_t byte = 0xC2; byte <= 0xF4; ++byte) {
    const std::uint8_t left = byte < 0xE0 ? 1 : (byte < 0xF0 ? 2 : 3);
    row[byte] = partial(partial_place, s.chars, false, byte & (0x3Fu >> left), left);
  }
}

void Lexer::fill_continuation(const State& s, std::array<ByteState, 256>& row) {
  for (std::uint32_t byte = 0x80; byte < 0xC0; ++byte) {
    const auto left = static_cast<std::uint8_t>(s.left - 1);
    if (s.settled) {
      row[byte] =
          left == 0 ? after_character(s.place, s.chars) : partial(s.place, s.chars, true, 0, left);
      continue;
    }
    const std::uint32_t bits = s.bits << 6 | (byte & 0x3F);
    const char32_t end = (bits + 1) << (6 * left);
    const bool overlong =
        s.bits == 0 && ((s.left == 2 && end <= 0x800) || (s.left == 3 && end <= 0x10000));
    if (overlong || bits << (6 * left) >= kCodeEnd) {
      continue;
    }
    row[byte] = left == 0 ? after_character(s.place, step(s.chars, bits))
                          : partial(s.place, s.chars, false, bits, left);
  }
}

void Lexer::fill_escape(const State& s, std::array<ByteState, 256>& row) {
  constexpr std::pair<char, char32_t> kShort[] = {{'"', U'"'},  {'\\', U'\\'}, {'/', U'/'},
                                                  {'b', 0x08},  {'f', 0x0C},   {'n', U'\n'},
                                                  {'r', U'\r'}, {'t', U'\t'}};
  for (const auto& [byte, c] : kShort) {
    if (!plain_escapes_ || (byte != '/' && byte != 'b' && byte != 'f')) {
      row[static_cast<std::size_t>(byte)] = after_character(s.place, step(s.chars, c));
    }
  }
  if (plain_escapes_) {
    return;
  }
  row['u'] = intern({Place::hex, false, 4, s.chars, 0});
}

void Lexer::fill_hex(const State& s, std::array<ByteState, 256>& row) {
  const bool low = s.place == Place::low_hex;
  for (int byte = 0; byte < 256; ++byte) {
    const int digit = hex_digit(byte);
    if (digit < 0) {
      continue;
    }
    ByteState& out = row[static_cast<std::size_t>(byte)];
    const auto left = static_cast<std::uint8_t>(s.left - 1);
    const int shift = 4 * left;
    // The code units that are still possible after this digit.
    const std::uint32_t high = s.bits >> 16;  // a high surrogate, in low_hex
    const std::uint32_t bits = (s.bits & 0xFFFF) << 4 | static_cast<std::uint32_t>(digit);
    std::uint32_t first = bits << shift;
    std::uint32_t end = (bits + 1) << shift;
    if (low) {
      first = std::max<std::uint32_t>(first, kLowSurrogate);
      end = std::min<std::uint32_t>(end, kSurrogateEnd);
      if (first >= end) {
        continue;
      }
      const char32_t base = 0x10000 + ((high - kHighSurrogate) << 10);
      const char32_t code_first = base + (first - kLowSurrogate);
      const char32_t code_end = base + (end - kLowSurrogate);
      bool any = false;
      common_step(s.chars, code_first, code_end, any);
      if (any) {
        out = left == 0 ? after_character(s.place, step(s.chars, code_first))
                        : intern({Place::low_hex, false, left, s.chars, high << 16 | bits});
      }
      continue;
    }
    if (s.settled) {
      out = left == 0 ? after_character(s.place, s.chars)
                      : intern({Place::hex, true, left, s.chars, 0});
      continue;
    }
    bool any = false;
    const std::uint32_t common = common_step(s.chars, first, end, any);
    const bool has_high = first < kLowSurrogate && end > kHighSurrogate;
    const bool has_surrogate = first < kSurrogateEnd && end > kHighSurrogate;
    if (left == 0) {
      if (has_high) {
        const char32_t base = 0x10000 + ((bits - kHighSurrogate) << 10);
        common_step(s.chars, base, base + 0x400, any);
        out = any ? intern({Place::low_escape, false, 0, s.chars, bits}) : kDead;
      } else if (!has_surrogate) {
        out = after_character(s.place, step(s.chars, bits));
      }
      continue;
    }
    if (has_high) {
      const char32_t from = std::max<std::uint32_t>(first, kHighSurrogate) - kHighSurrogate;
      const char32_t to = std::min<std::uint32_t>(end, kLowSurrogate) - kHighSurrogate;
      common_step(s.chars, 0x10000 + (from << 10), 0x10000 + (to << 10), any);
    }
    if (!any) {
      continue;
    }
    out = common != kMixed && !has_surrogate ? intern({Place::hex, true, left, common, 0})
                                             : intern({Place::hex, false, left, s.chars, bits});
  }
}

ByteState Lexer::alike(ByteState state, std::uint32_t bytes) {
  const State s = states_[state].state;
  if (s.place != Place::inside || s.chars == kNoChars || chars_[s.chars].of.size() != 1) {
    return state;
  }
  const Tagged t = chars_[s.chars].of[0];
  std::uint32_t least = 0, most = 0;
  NodeId element = RegexPool::kNone;
  if (!pool_.counted_set(t.language, least, most, element)) {
    return state;
  }
  const std::uint32_t near_least = std::min(least, bytes + 1);
  const std::uint32_t near_most = most >= bytes ? kUnbounded : most;
  if (near_least == least && near_most == most) {
    return state;
  }
  const std::uint32_t chars = chars_of({{t.tag, pool_.repeat(element, near_least, near_most)}});
  return intern({Place::inside, false, 0, chars, 0});
}

}  // namespace lm::grammar
